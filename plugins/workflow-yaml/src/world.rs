//! What the interpreter reaches: tools, the user, time, chance. The guest fills it by its imports, tests by a fake.
//!
//! There is no other way out of this crate, so a run repeats exactly where its world does.

use std::{fmt, time::Duration};

use serde_json::{Map, Value};

/// Everything outside the interpreter. It runs on one thread, so no future here needs to be `Send`; one that is dropped is a
/// call that nobody waits for any longer.
#[expect(async_fn_in_trait, reason = "one thread runs a workflow, and nobody needs to name the futures")]
pub trait World {
    /// Calls a tool and gives its MCP result: `{content, structuredContent?, isError?}`.
    ///
    /// - `tool`: as the document writes it
    /// - `timeout`: longest wait for the reply; the interpreter stops waiting by itself too
    async fn call(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<Value, CallError>;

    /// JSON Schema of a tool's arguments, also of one that clients do not see. `None`: nothing is known of it.
    fn input_schema(&self, tool: &str) -> Option<Value>;

    /// Asks the user for what `schema` describes, for at most `timeout`.
    async fn elicit(&self, message: &str, schema: &Value, timeout: Duration) -> Elicited;

    async fn sleep(&self, time: Duration);

    /// Milliseconds since 1970 in UTC.
    fn now_millis(&self) -> u64;

    /// Evenly spread over 0 to 1, without 1.
    fn random(&self) -> f64;

    /// `done` of `total` steps have come to an end, the last as `message` says.
    fn progress(&self, done: u32, total: u32, message: &str);

    fn log(&self, level: Level, message: &str);
}

/// How much a message of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// What came of a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Elicited {
    Accepted(Map<String, Value>),
    Declined,
    Cancelled,
    TimedOut,
    /// It could not be asked, e.g. because the client cannot ask.
    Failed(String),
}

/// Why a tool call brought no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallError {
    /// No tool has this name.
    UnknownTool,
    /// The workflow, or whoever runs it, may not call it.
    Denied(String),
    /// Its backend cannot be reached.
    Unavailable(String),
    /// No reply in time; the call may have had effects.
    TimedOut,
    /// Somebody cancelled the call.
    Cancelled,
    Other(String),
}

impl CallError {
    /// Whether another try can do better.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::TimedOut | Self::Other(_) => true,
            Self::UnknownTool | Self::Denied(_) | Self::Cancelled => false,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTool => f.write_str("no tool has this name"),
            Self::Denied(reason) => write!(f, "denied: {reason}"),
            Self::Unavailable(reason) => write!(f, "unavailable: {reason}"),
            Self::TimedOut => f.write_str("no reply in time"),
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for CallError {}
