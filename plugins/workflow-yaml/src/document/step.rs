//! A step as written, whatever its kind.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::GoDuration;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawStep {
    #[serde(default)]
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: Option<KindName>,
    pub(crate) tool: Option<String>,
    pub(crate) arguments: Option<Map<String, Value>>,
    pub(crate) condition: Option<String>,
    pub(crate) depends_on: Option<Vec<String>>,
    pub(crate) on_error: Option<ErrorHandling>,
    pub(crate) message: Option<String>,
    pub(crate) schema: Option<Value>,
    pub(crate) timeout: Option<GoDuration>,
    pub(crate) on_decline: Option<NoAnswer>,
    pub(crate) on_cancel: Option<NoAnswer>,
    pub(crate) default_results: Option<Map<String, Value>>,
    pub(crate) collection: Option<String>,
    pub(crate) item_var: Option<String>,
    pub(crate) max_parallel: Option<usize>,
    pub(crate) max_iterations: Option<usize>,
    pub(crate) step: Option<Value>,
    pub(crate) workflow: Option<String>,
    pub(crate) on: Option<String>,
    pub(crate) cases: Option<Vec<Value>>,
    pub(crate) default: Option<Vec<Value>>,
    #[serde(rename = "while")]
    pub(crate) goes_on: Option<String>,
    pub(crate) steps: Option<Vec<Value>>,
    pub(crate) undo: Option<Value>,
    pub(crate) expression: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCase {
    pub(crate) equals: Value,
    pub(crate) steps: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawUndo {
    pub(crate) tool: String,
    pub(crate) arguments: Option<Map<String, Value>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum KindName {
    Tool,
    Elicitation,
    ForEach,
    Workflow,
    Switch,
    While,
    Transform,
}

impl KindName {
    pub(crate) fn name(self) -> &'static str {
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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ErrorHandling {
    pub(crate) action: Option<ErrorAction>,
    pub(crate) retry_count: Option<u32>,
    pub(crate) retry_delay: Option<GoDuration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ErrorAction {
    Abort,
    Continue,
    Retry,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoAnswer {
    pub(crate) action: NoAnswerAction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoAnswerAction {
    SkipRemaining,
    Abort,
    Continue,
}
