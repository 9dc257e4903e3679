//! `compositeTools`: tools made of steps, or run by a component.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

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

/// One step of a composite tool.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Step")]
pub struct StepConfig {
    /// Name of the step, unique within the tool. The inner step of a loop may do without.
    #[serde(default)]
    pub id: String,
    /// Absent: `tool`.
    #[serde(rename = "type")]
    pub kind: Option<StepType>,
    /// The tool to call: its advertised name, or `backend.name`.
    #[schemars(extend("format" = "tool-reference", "x-expect" = "a tool like `github.create_issue`"))]
    pub tool: Option<String>,
    /// Arguments of the call; text in it may hold templates.
    pub arguments: Option<Map<String, Value>>,
    /// A template that yields true or false; the step is skipped when false.
    pub condition: Option<String>,
    /// Ids of the steps that must be done before.
    #[serde(default)]
    pub depends_on: Vec<String>,
    /// What happens when it fails.
    pub on_error: Option<ErrorHandling>,
    /// What the user is asked, for `elicitation`.
    pub message: Option<String>,
    /// JSON Schema of the answer, for `elicitation`.
    pub schema: Option<Map<String, Value>>,
    /// Longest run of the step.
    pub timeout: Option<GoDuration>,
    /// What happens when the user declines.
    pub on_decline: Option<ElicitationResponse>,
    /// What happens when the user cancels.
    pub on_cancel: Option<ElicitationResponse>,
    /// The step's output when it was skipped, or failed and the workflow goes on.
    pub default_results: Option<Map<String, Value>>,
    /// A template that yields the JSON array to go through, for `forEach`.
    pub collection: Option<String>,
    /// Name of the current element in templates. Absent: `item`.
    pub item_var: Option<String>,
    /// Iterations under way at a time. Absent or 0: 10.
    #[schemars(range(min = 0, max = 50))]
    pub max_parallel: Option<u32>,
    /// Iterations in all; more elements fail the step. Absent or 0: 100.
    #[schemars(range(min = 0, max = 1000))]
    pub max_iterations: Option<u32>,
    /// The step to repeat, for `forEach`: a tool call.
    pub step: Option<Box<StepConfig>>,
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum StepType {
    /// Calls a tool.
    Tool,
    /// Asks the user.
    Elicitation,
    /// Repeats a step for each element of a list.
    ForEach,
}

/// What happens when a step fails.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ErrorHandling {
    /// Absent: `abort`.
    pub action: Option<ErrorAction>,
    /// Tries after the first, for `retry`: 1 to 10.
    #[schemars(range(min = 0, max = 10))]
    #[serde(default)]
    pub retry_count: u32,
    /// Wait before the first of them. Absent or 0: 1 s.
    pub retry_delay: Option<GoDuration>,
}

/// What happens when a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ErrorAction {
    /// The workflow fails.
    Abort,
    /// The workflow goes on; the step's output is its `defaultResults`.
    Continue,
    /// The step is tried again.
    Retry,
}

/// What happens when the user does not answer a question.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ElicitationResponse {
    /// What happens.
    pub action: ElicitationAction,
}

/// What happens when the user does not answer a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ElicitationAction {
    /// The workflow ends here, successfully.
    SkipRemaining,
    /// The workflow fails.
    Abort,
    /// The workflow goes on.
    Continue,
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
