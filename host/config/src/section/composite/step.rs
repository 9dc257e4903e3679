//! Steps of composite tools.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::value::duration::GoDuration;

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
    /// The composite tool to call, for `workflow`: its name in this configuration.
    #[schemars(extend("format" = "tool-reference", "x-expect" = "a composite tool"))]
    pub workflow: Option<String>,
    /// Arguments of the call; text in it may hold templates.
    pub arguments: Option<Map<String, Value>>,
    /// The call that takes back what a `tool` or `workflow` did, should the run fail later.
    pub undo: Option<UndoConfig>,
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
    /// Iterations in all, of `forEach` and `while`; more fail the step. Absent or 0: 100.
    #[schemars(range(min = 0, max = 1000))]
    pub max_iterations: Option<u32>,
    /// The step to repeat, for `forEach`: of type `tool`, `workflow` or `transform`.
    pub step: Option<Box<StepConfig>>,
    /// A template that yields what the cases are compared with, for `switch`.
    pub on: Option<String>,
    /// The choices of a `switch`.
    pub cases: Option<Vec<SwitchCase>>,
    /// The steps that run when no case equals, for `switch`. Absent: none.
    #[schemars(length(max = 100))]
    pub default: Option<Vec<StepConfig>>,
    /// A template that yields true as long as the steps of a `while` are to run again.
    #[serde(rename = "while")]
    pub goes_on: Option<String>,
    /// The steps of each round of a `while`. They wait only for each other.
    #[schemars(length(max = 100))]
    pub steps: Option<Vec<StepConfig>>,
    /// An expression of CEL whose value is the output of a `transform`.
    pub expression: Option<String>,
}

/// One choice of a `switch`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SwitchCase {
    /// What `on` yields in this case: a text, a number or a boolean.
    pub equals: Value,
    /// The steps of this case. They wait only for each other.
    #[schemars(length(max = 100))]
    pub steps: Vec<StepConfig>,
}

impl SwitchCase {
    /// What `on` has to yield, as text.
    pub fn text(&self) -> String {
        match &self.equals {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The call that takes back what a step did.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Undo")]
pub struct UndoConfig {
    /// The tool to call.
    #[schemars(extend("format" = "tool-reference", "x-expect" = "a tool like `github.delete_issue`"))]
    pub tool: String,
    /// Arguments of the call; templates in it see the output of the step itself too.
    pub arguments: Option<Map<String, Value>>,
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
    /// Calls another composite tool.
    Workflow,
    /// Runs the steps of one case.
    Switch,
    /// Runs steps again as long as a template yields true.
    While,
    /// Computes a value.
    Transform,
}

impl StepType {
    /// As files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Elicitation => "elicitation",
            Self::ForEach => "forEach",
            Self::Workflow => "workflow",
            Self::Switch => "switch",
            Self::While => "while",
            Self::Transform => "transform",
        }
    }
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
