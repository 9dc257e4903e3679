//! Workflows: one tool to clients, many calls behind it. What one is, and what it may reach of the host while it runs.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    BoxError,
    journal::{Divergence, Event, Recorder},
    json::RawJson,
    with_cause,
};

/// A workflow with its config.
pub trait Workflow: Send + Sync {
    /// The name in the configuration and the component's version, e.g. `triage 0.1.0`.
    fn label(&self) -> &str;

    /// The tool that it is. Blocking: at most the component's limits.
    fn definition(&self) -> Result<WorkflowDefinition, WorkflowError>;

    /// What it is made of.
    fn source(&self) -> &WorkflowSource;

    /// Whether it tells how far it is. Where it does not, somebody else has to.
    fn reports_progress(&self) -> bool;

    /// Runs it once; the result is a tool result as the protocol has it. Dropping the future ends the run and its open calls.
    fn run(self: Arc<Self>, run: NewRun) -> BoxFuture<'static, Result<RawJson, WorkflowError>>;
}

/// What a workflow is made of: from the same, a run that is told the same does the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowSource {
    /// SHA-256 of the component's bytes, hexadecimal.
    pub component: Arc<str>,
    /// JSON text.
    pub config: Arc<str>,
    /// What an interpreter interprets: JSON text.
    pub document: Option<Arc<str>>,
}

/// What a run begins with.
pub struct NewRun {
    /// A JSON object.
    pub arguments: RawJson,
    /// Without one the run has its past alone, and ends with an error where that is over.
    pub world: Option<Arc<dyn World>>,
    /// Takes down what happens.
    pub recorder: Option<Arc<dyn Recorder>>,
    /// What happened before: the run is told that again, and does not reach the world until there is no more of it.
    pub past: Vec<Event>,
}

impl NewRun {
    /// A run without a past that nobody takes down.
    pub fn new(arguments: RawJson, world: Arc<dyn World>) -> Self {
        Self { arguments, world: Some(world), recorder: None, past: Vec::new() }
    }

    /// The run that `past` tells of once more, without a world.
    pub fn again(arguments: RawJson, past: Vec<Event>) -> Self {
        Self { arguments, world: None, recorder: None, past }
    }
}

/// What a workflow is to clients, as it says itself.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkflowDefinition {
    /// The author's name for it; the name in the configuration is the one that counts.
    pub name: String,
    pub title: Option<String>,
    pub description: Option<String>,
    /// JSON Schema of the arguments: an object.
    pub input_schema: RawJson,
    pub output_schema: Option<RawJson>,
    /// What its author promises; a JSON object.
    pub annotations: Value,
    /// JSON Schema of the config that it takes, beyond what its component says.
    pub config_schema: Option<RawJson>,
    /// The tools that it calls, by the names that it calls them by.
    pub tools: Vec<String>,
    /// How long a run may take, where it says so.
    pub wall_time: Option<Duration>,
}

/// Why a workflow did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkflowError {
    /// The workflow cannot use its config.
    #[error("`{workflow}` cannot use its config: {message}")]
    Config { workflow: String, message: String },
    /// The arguments are not what it takes.
    #[error("`{workflow}` cannot use these arguments: {message}")]
    Arguments { workflow: String, message: String },
    /// A step failed; the message names it.
    #[error("`{workflow}` failed: {message}")]
    Failed { workflow: String, message: String },
    /// It did not do again what it did before.
    #[error("`{workflow}` cannot be told again: {divergence}")]
    Diverged { workflow: String, divergence: Divergence },
    /// It used up what it may.
    #[error("`{workflow}` was ended: {limit}")]
    OverBudget { workflow: String, limit: String },
    /// The component trapped, ran into a limit, or could not be run at all.
    #[error("`{workflow}` did not answer")]
    Component { workflow: String, source: BoxError },
}

impl WorkflowError {
    /// What the client is told: the workflow's own words where it has some.
    pub fn for_client(&self) -> String {
        match self {
            Self::Arguments { message, .. } | Self::Failed { message, .. } => message.clone(),
            other => with_cause(other),
        }
    }
}

/// What a running workflow reaches of the host: all that it learns of the outside comes through here.
///
/// The futures belong to nobody: they run on tasks of their own while the workflow computes, and end when they are dropped.
/// Each call has a number of its own within the run, the same each time the run is told again.
pub trait World: Send + Sync {
    /// Calls a tool under the identity of the client and within the grant.
    ///
    /// - `arguments`: a JSON object
    fn call(
        &self,
        number: u64,
        tool: String,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>>;

    /// The tools that it may call, sorted by name.
    fn tools(&self) -> Vec<ToolInfo>;

    /// One tool by a name that [`call`](Self::call) takes.
    fn tool(&self, name: &str) -> Option<ToolInfo>;

    /// Puts a question to the person before the client.
    ///
    /// - `schema`: JSON Schema of the answer
    fn elicit(
        &self,
        number: u64,
        message: String,
        schema: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Elicited, InteractionError>>;

    /// Has the client's model write something.
    ///
    /// - `request`: the `params` of `sampling/createMessage`
    fn sample(
        &self,
        number: u64,
        request: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, InteractionError>>;

    /// Tells the client how far the run is.
    fn progress(&self, done: f64, total: Option<f64>, message: String);

    fn sleep(&self, number: u64, time: Duration) -> BoxFuture<'static, ()>;

    /// Milliseconds since the Unix epoch.
    fn now(&self) -> u64;

    /// 64 random bits.
    fn random(&self) -> u64;
}

/// A tool as a workflow is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolInfo {
    /// The name to call it by.
    pub name: String,
    pub backend: String,
    pub original_name: String,
    pub description: Option<String>,
    pub input_schema: Option<RawJson>,
    pub output_schema: Option<RawJson>,
    pub annotations: Option<RawJson>,
}

/// Why a call of a workflow brought no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ToolCallError {
    #[error("no tool `{0}`")]
    UnknownTool(String),
    #[error("{0}")]
    Denied(String),
    /// The call was not made.
    #[error("{0}")]
    Unavailable(String),
    /// The call was made and may have had effects.
    #[error("{0}")]
    OutcomeUnknown(String),
    /// The JSON-RPC error of the backend.
    #[error("{}", .0.as_str())]
    Refused(RawJson),
    #[error("{0}")]
    OverBudget(String),
    #[error("{0}")]
    Other(String),
}

/// What a person did with a question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Elicited {
    /// The answer: a JSON object.
    Accepted(RawJson),
    Declined,
    Cancelled,
    TimedOut,
}

/// Why a client was not asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum InteractionError {
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    OverBudget(String),
    #[error("{0}")]
    Other(String),
}
