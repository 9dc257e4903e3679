//! A whole workflow: compiled from its document, and checked as far as that goes without its tools.

mod check;

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::{
    document::{self, Document, time_or},
    output::Output,
    problem::{Place, Problem, Problems},
    run::{self, RunError},
    step::Step,
    steps::{MAX_STEPS, Steps},
    template::Reads,
    world::World,
};

/// How much longer the host is to wait than the workflow, which keeps its time itself and says better where it went.
const MARGIN: Duration = Duration::from_mins(1);
/// Longest run of a workflow that says nothing.
const TIMEOUT: Duration = Duration::from_mins(30);

/// A workflow, ready to run any number of times.
pub struct Workflow {
    pub(crate) name: String,
    description: String,
    parameters: Option<Map<String, Value>>,
    annotations: Option<Map<String, Value>>,
    pub(crate) config: Map<String, Value>,
    config_schema: Option<Map<String, Value>>,
    pub(crate) timeout: Duration,
    pub(crate) steps: Steps,
    pub(crate) output: Option<Output>,
    /// Whether anything in it looks at the context, and whether it does at `.workflow`.
    pub(crate) reads_context: bool,
    pub(crate) reads_about: bool,
}

/// What a tool needs to be listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    pub name: String,
    pub description: String,
    pub input_schema: Value,
    /// Absent without `output`: the result is then that of a step, whose schema its tool may know.
    pub output_schema: Option<Value>,
    /// As declared; what the steps' tools say is not in it.
    pub annotations: Option<Map<String, Value>>,
    /// As declared: what whoever runs the document may say under `config`.
    pub config_schema: Option<Value>,
    /// Longest time between its beginning and its end.
    pub wall_time: Duration,
    /// The tools that the steps name, each once, in their order.
    pub tools: Vec<String>,
}

impl Workflow {
    /// Compiles an entry of `compositeTools`, given as JSON.
    ///
    /// The error is every problem that can be found without the tools: keys, limits, templates, what templates read of other
    /// steps, dependencies, and default results that are missing.
    pub fn parse(document: &Value) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let workflow = Self::compile(document, &mut problems);
        workflow.filter(|_| problems.0.is_empty()).ok_or(problems.0)
    }

    fn compile(document: &Value, problems: &mut Problems) -> Option<Self> {
        let root = Place::default();
        let document: Document = document::read(document, &root, problems)?;
        if document.name.is_empty() {
            problems.add(&root.key("name"), "`name` is empty");
        }
        if document.description.is_none() {
            problems.add(&root.key("description"), "`description` is missing");
        }
        if let Some(parameters) = document.parameters.as_ref().filter(|parameters| !parameters.is_empty())
            && parameters.get("type") != Some(&"object".into())
        {
            problems.add(&root.key("parameters").key("type"), "the schema must have `type: object`");
        }
        let steps = compile_steps(&document.steps.unwrap_or_default(), &root.key("steps"), problems);
        let output = document.output.and_then(|output| Output::compile(&output, &root.key("output"), problems));
        let steps = steps?;
        let all = steps.all().into_iter().flat_map(|step| step.reads().into_iter().chain(step.undo_reads()));
        let all: Vec<&Reads> = all.chain(output.iter().flat_map(Output::reads)).collect();
        let reads_context = all.iter().any(|reads| !reads.paths.is_empty());
        let reads_about = all.iter().any(|reads| reads.may_read("workflow"));
        let workflow = Self {
            name: document.name,
            description: document.description.unwrap_or_default(),
            parameters: document.parameters,
            annotations: document.annotations,
            config: with_defaults(document.config.unwrap_or_default(), document.config_schema.as_ref()),
            config_schema: document.config_schema,
            timeout: time_or(document.timeout, TIMEOUT),
            steps,
            output,
            reads_context,
            reads_about,
        };
        check::check(&workflow, problems);
        Some(workflow)
    }

    /// What a tool needs to be listed.
    pub fn definition(&self) -> Definition {
        let mut tools: Vec<String> = Vec::new();
        for tool in self.steps.all().into_iter().flat_map(Step::tools) {
            if !tools.iter().any(|known| known == tool) {
                tools.push(tool.to_owned());
            }
        }
        let parameters = self.parameters.as_ref().filter(|parameters| !parameters.is_empty());
        Definition {
            name: self.name.clone(),
            description: self.description.clone(),
            input_schema: parameters.map_or_else(|| json!({"type": "object"}), |schema| Value::Object(schema.clone())),
            output_schema: self.output.as_ref().map(Output::schema),
            annotations: self.annotations.clone(),
            config_schema: self.config_schema.clone().map(Value::Object),
            tools,
            wall_time: self.timeout + MARGIN,
        }
    }

    /// Runs it and gives an MCP tool result: the output as structured content and as the text of its JSON.
    ///
    /// The error is why the workflow failed, and says which step did. Whatever is under way then is dropped.
    pub async fn run(&self, arguments: Map<String, Value>, world: &impl World) -> Result<Value, RunError> {
        let output = Value::Object(run::run(self, with_defaults(arguments, self.parameters.as_ref()), world).await?);
        let text = serde_json::to_string(&output).expect("a value is JSON");
        Ok(json!({"content": [{"type": "text", "text": text}], "structuredContent": output, "isError": false}))
    }
}

/// The values, and for top-level properties that are missing their defaults.
fn with_defaults(mut values: Map<String, Value>, schema: Option<&Map<String, Value>>) -> Map<String, Value> {
    let properties = schema.and_then(|schema| schema.get("properties")?.as_object());
    for (name, schema) in properties.into_iter().flatten() {
        if let Some(default) = schema.get("default").filter(|_| !values.contains_key(name)) {
            values.insert(name.clone(), default.clone());
        }
    }
    values
}

fn compile_steps(raw: &[Value], place: &Place, problems: &mut Problems) -> Option<Steps> {
    if raw.is_empty() {
        problems.add(place, "`steps` needs at least one step");
    }
    let steps = Steps::compile(raw, place, 0, problems)?;
    let count = steps.all().len();
    if count > MAX_STEPS {
        problems.add(place, format!("{count} steps, those inside others included, are more than {MAX_STEPS}"));
    }
    Some(steps)
}
