//! `compositeTools`: tools made of steps, or run by a component.

mod step;

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

pub use self::step::{
    ElicitationAction, ElicitationResponse, ErrorAction, ErrorHandling, StepConfig, StepType, SwitchCase, UndoConfig,
};
use super::{
    aggregation::AnnotationOverride,
    plugin::{GrantsConfig, is_address},
};
use crate::value::duration::GoDuration;

/// A tool made of steps (`steps`), or run by a component (`workflow`).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "CompositeTool")]
pub struct CompositeToolConfig {
    /// Name of the tool.
    #[schemars(length(min = 1))]
    pub name: String,
    /// What it does; required with `steps`.
    pub description: Option<String>,
    /// JSON Schema of its arguments, of `type: object`.
    pub parameters: Option<Map<String, Value>>,
    /// Longest run. Absent or 0: 30 minutes.
    pub timeout: Option<GoDuration>,
    /// The steps, at most 100.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub steps: Vec<StepConfig>,
    /// How the result is made of the steps' outputs. Absent: the output of the last step.
    pub output: Option<OutputConfig>,
    /// Hints about what it does. Absent ones follow from its steps.
    pub annotations: Option<AnnotationOverride>,
    /// The component that runs it, in place of `steps`: an entry of `plugins`, or a path with `sha256` beside it.
    #[schemars(length(min = 1))]
    pub workflow: Option<String>,
    /// Handed to that component; to templates of `steps` it is `.config`.
    pub config: Option<Map<String, Value>>,
    /// JSON Schema of `config`, of `type: object`: what a tool made of `steps` leaves to those who run it.
    pub config_schema: Option<Map<String, Value>>,
    /// SHA-256 of the component when `workflow` is a path.
    #[schemars(extend("format" = "sha256", "x-expect" = "64 hexadecimal digits"))]
    pub sha256: Option<String>,
    /// What it may reach.
    pub grants: Option<GrantsConfig>,
    /// The whole entry as written, which its interpreter reads.
    #[serde(skip)]
    pub document: Map<String, Value>,
}

impl CompositeToolConfig {
    /// Whether `workflow` is the path of a component, or its address, and no name.
    pub fn names_file(&self) -> bool {
        let is_file = |workflow: &String| workflow.contains('/') || workflow.to_ascii_lowercase().ends_with(".wasm");
        self.workflow.as_ref().is_some_and(is_file)
    }

    /// Makes the path of a component relative to `base`; names and addresses stay.
    pub(crate) fn rebase(&mut self, base: &Path) {
        let names_file = self.names_file();
        if let Some(workflow) = &mut self.workflow
            && names_file
            && !is_address(workflow)
        {
            *workflow = base.join(&*workflow).to_string_lossy().into_owned();
        }
    }
}

/// A composite tool kept in Kubernetes; without an operator it has no effect.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CompositeToolRef {
    /// Name of the resource.
    #[schemars(length(min = 1))]
    pub name: String,
}

/// How the result is made of the steps' outputs.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Output")]
pub struct OutputConfig {
    /// The parts of the result, by name.
    #[serde(default)]
    pub properties: indexmap::IndexMap<String, OutputProperty>,
    /// Parts that must be there.
    #[serde(default)]
    pub required: Vec<String>,
}

/// One part of a result.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutputProperty {
    /// JSON type: `string`, `integer`, `number`, `boolean`, `object` or `array`.
    #[serde(rename = "type")]
    pub kind: JsonType,
    /// What it is.
    #[schemars(length(min = 1))]
    pub description: String,
    /// A template that yields it.
    pub value: Option<String>,
    /// The parts of an object, in place of `value`.
    #[serde(default)]
    pub properties: indexmap::IndexMap<String, OutputProperty>,
    /// Its value when the template fails.
    pub default: Option<Value>,
}

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum JsonType {
    String,
    Integer,
    Number,
    Boolean,
    Object,
    Array,
}

impl JsonType {
    /// As schemas have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Object => "object",
            Self::Array => "array",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Object, Self::Array];
        all.into_iter().find(|kind| kind.name() == name)
    }
}
