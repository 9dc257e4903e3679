//! What clients see of a workflow.

use std::time::Duration;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value};

/// The tool that a workflow is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// The author's name for it; the name in the configuration is the one that counts.
    pub name: String,
    /// Empty for none.
    pub title: String,
    /// What the tool does, for models.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured result, if there is one.
    pub output_schema: Option<Value>,
    /// What the author promises, e.g. `readOnlyHint`. It cannot promise more than the tools that are called.
    pub annotations: Map<String, Value>,
    /// JSON Schema of what the author left open for the config, where that is not the type of the workflow.
    pub config_schema: Option<Value>,
    /// The tools that the workflow calls. It may call no others unless it is granted more.
    pub tools: Vec<String>,
    /// How long a run may take where the host's 30 minutes are not enough, e.g. because it sleeps; waits for a person are not
    /// counted.
    pub wall_time: Option<Duration>,
}

impl Definition {
    /// A tool that takes an `A`, which reads as an object.
    pub fn new<A: JsonSchema>(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), input_schema: schema::<A>(), ..Self::default() }
    }

    /// The same with a structured result that is an `O`.
    #[must_use]
    pub fn gives<O: JsonSchema>(mut self) -> Self {
        self.output_schema = Some(schema::<O>());
        self
    }

    /// The same, calling these tools too.
    #[must_use]
    pub fn calls<const N: usize>(mut self, tools: [&str; N]) -> Self {
        self.tools.extend(tools.map(str::to_owned));
        self
    }

    /// The same with so much time for a run.
    #[must_use]
    pub fn takes_up_to(mut self, time: Duration) -> Self {
        self.wall_time = Some(time);
        self
    }

    /// The same with one more annotation.
    #[must_use]
    pub fn annotated(mut self, hint: &str, value: impl Into<Value>) -> Self {
        self.annotations.insert(hint.to_owned(), value.into());
        self
    }
}

fn schema<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
