//! The tools behind the host.

use std::{fmt, time::Duration};

use serde::Serialize;
use serde_json::Value;

use super::ToolResult;

/// A tool behind the host, shown to clients or not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolInfo {
    /// The name to call it by: the one that clients see, else `backend.original-name`.
    pub name: String,
    /// The backend that has it.
    pub backend: String,
    /// Name by which the backend knows it.
    pub original_name: String,
    /// Empty where the backend gives none.
    pub description: String,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured result.
    pub output_schema: Option<Value>,
    /// The tool's annotations.
    pub annotations: Value,
}

/// Why a call brought no result.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum CallError {
    /// No tool has this name.
    UnknownTool(String),
    /// The grant of the workflow or the rights of the caller do not cover the tool.
    Denied(String),
    /// The backend cannot take the call, which was not made.
    Unavailable(String),
    /// The call was made and its reply did not come: it may have had effects.
    OutcomeUnknown(String),
    /// The backend answered with a JSON-RPC error.
    Refused(Value),
    /// The workflow has used up what it may.
    OverBudget(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTool(message)
            | Self::Denied(message)
            | Self::Unavailable(message)
            | Self::OutcomeUnknown(message)
            | Self::OverBudget(message)
            | Self::Other(message) => f.write_str(message),
            Self::Refused(error) => match error["message"].as_str() {
                Some(message) => f.write_str(message),
                None => write!(f, "{error}"),
            },
        }
    }
}

impl std::error::Error for CallError {}

/// Calls a tool by the name that clients see or by `backend.original-name`. A result that says `isError` is a result.
///
/// # Errors
/// If there is no result.
pub async fn call(tool: &str, arguments: &impl Serialize) -> Result<ToolResult, CallError> {
    call_within(tool, arguments, None).await
}

/// The same with a limit to how long the reply may take; without one, the host's own.
///
/// # Errors
/// If there is no result.
pub async fn call_within(
    tool: &str,
    arguments: &impl Serialize,
    timeout: Option<Duration>,
) -> Result<ToolResult, CallError> {
    let arguments = serde_json::to_string(arguments).map_err(|error| CallError::Other(error.to_string()))?;
    imported::call(tool, arguments, timeout).await
}

/// The tools that the workflow may call, sorted by name.
pub fn list() -> Vec<ToolInfo> {
    imported::list()
}

/// One tool by a name that [`call`] takes.
pub fn describe(tool: &str) -> Option<ToolInfo> {
    imported::describe(tool)
}

#[cfg(target_arch = "wasm32")]
mod imported {
    use super::{CallError, Duration, ToolInfo, ToolResult, Value};
    use crate::bindings::workflow::vmcp::workflow::tools as wit;

    pub(super) async fn call(
        tool: &str,
        arguments: String,
        timeout: Option<Duration>,
    ) -> Result<ToolResult, CallError> {
        let timeout_milliseconds = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let options = wit::CallOptions { timeout_milliseconds, extra: String::new() };
        let result = wit::call(tool.to_owned(), arguments, options).await.map_err(CallError::from)?;
        serde_json::from_str(&result).map(ToolResult).map_err(|error| CallError::Other(error.to_string()))
    }

    pub(super) fn list() -> Vec<ToolInfo> {
        wit::list().into_iter().map(ToolInfo::from).collect()
    }

    pub(super) fn describe(tool: &str) -> Option<ToolInfo> {
        wit::describe(tool).map(ToolInfo::from)
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap_or_default()
    }

    impl From<wit::ToolInfo> for ToolInfo {
        fn from(tool: wit::ToolInfo) -> Self {
            Self {
                name: tool.name,
                backend: tool.backend,
                original_name: tool.original_name,
                description: tool.description,
                input_schema: json(&tool.input_schema),
                output_schema: Some(json(&tool.output_schema)).filter(|schema| !schema.is_null()),
                annotations: json(&tool.annotations),
            }
        }
    }

    impl From<wit::CallError> for CallError {
        fn from(error: wit::CallError) -> Self {
            match error {
                wit::CallError::UnknownTool(message) => Self::UnknownTool(message),
                wit::CallError::Denied(message) => Self::Denied(message),
                wit::CallError::Unavailable(message) => Self::Unavailable(message),
                wit::CallError::OutcomeUnknown(message) => Self::OutcomeUnknown(message),
                wit::CallError::Refused(error) => Self::Refused(json(&error)),
                wit::CallError::OverBudget(message) => Self::OverBudget(message),
                wit::CallError::Other(message) => Self::Other(message),
            }
        }
    }
}

/// Without a host there are no tools.
#[cfg(not(target_arch = "wasm32"))]
mod imported {
    use super::{CallError, Duration, ToolInfo, ToolResult};

    pub(super) async fn call(tool: &str, _: String, _: Option<Duration>) -> Result<ToolResult, CallError> {
        Err(CallError::UnknownTool(format!("`{tool}`: there are no tools outside of a host")))
    }

    pub(super) fn list() -> Vec<ToolInfo> {
        Vec::new()
    }

    pub(super) fn describe(_: &str) -> Option<ToolInfo> {
        None
    }
}
