//! One run: its calls pass its grant and its budget before anybody makes them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use tracing::warn;
use vmcp_core::{
    catalog::Entry,
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, World},
};

use crate::{budget::Budget, composite::Composite, grant::ToolGrant};

/// Makes what a run asks for, under the identity of the client that runs it.
pub trait Outside: Send + Sync {
    /// Calls `tool` through the admission that clients' calls pass.
    fn call(
        &self,
        tool: Arc<Entry>,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>>;

    /// All tools behind the host, those that clients do not see included.
    fn tools(&self) -> Vec<Arc<Entry>>;

    /// One of them, by the name that clients see or by `backend.original-name`.
    fn tool(&self, name: &str) -> Option<Arc<Entry>>;

    /// Asks the client: `method` is one of the protocol.
    fn ask(
        &self,
        method: &'static str,
        params: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Asked, InteractionError>>;

    fn progress(&self, done: f64, total: Option<f64>, message: String);
}

/// What came of a question to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The client's result.
    Answered(RawJson),
    TimedOut,
}

/// One run of a workflow.
pub struct Run {
    /// Of the workflow, for the log.
    label: Arc<str>,
    grant: ToolGrant,
    budget: Arc<Budget>,
    outside: Arc<dyn Outside>,
    /// Calls that have ended, which stand in for the progress of a workflow that reports none.
    ended: Option<Arc<AtomicU32>>,
}

impl Run {
    pub fn new(composite: &Composite, budget: Arc<Budget>, outside: Arc<dyn Outside>) -> Self {
        let Composite { name, grant, workflow, .. } = composite;
        let ended = (!workflow.reports_progress()).then(Arc::default);
        Self { label: name.clone(), grant: grant.clone(), budget, outside, ended }
    }

    fn admitted(&self, name: &str) -> Result<Arc<Entry>, ToolCallError> {
        let tool = self.outside.tool(name).ok_or_else(|| ToolCallError::UnknownTool(name.to_owned()))?;
        if !self.grant.covers(&tool) {
            warn!(workflow = &*self.label, tool = name, "denied: its grant does not cover the tool");
            return Err(ToolCallError::Denied(format!("the grant of `{}` does not cover `{name}`", self.label)));
        }
        self.budget.take_call().map_err(ToolCallError::OverBudget)?;
        Ok(tool)
    }
}

impl World for Run {
    fn call(
        &self,
        tool: String,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let call = self.admitted(&tool).map(|tool| self.outside.call(tool, arguments, timeout));
        let (turn, ended, outside) = (self.budget.turn(), self.ended.clone(), self.outside.clone());
        Box::pin(async move {
            let call = call?;
            let _turn = turn.await;
            let answer = call.await;
            if let Some(ended) = ended {
                let done = ended.fetch_add(1, Ordering::Relaxed) + 1;
                outside.progress(f64::from(done), None, format!("called `{tool}`"));
            }
            answer
        })
    }

    fn tools(&self) -> Vec<ToolInfo> {
        let tools = self.outside.tools().into_iter().filter(|tool| self.grant.covers(tool));
        let mut tools: Vec<_> = tools.map(|tool| info(&tool)).collect();
        tools.sort_by(|one, other| one.name.cmp(&other.name));
        tools
    }

    fn tool(&self, name: &str) -> Option<ToolInfo> {
        self.outside.tool(name).map(|tool| info(&tool))
    }

    fn elicit(
        &self,
        message: String,
        schema: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Elicited, InteractionError>> {
        let params =
            format!(r#"{{"message":{},"requestedSchema":{}}}"#, RawJson::of(&message).as_str(), schema.as_str());
        let asked = self
            .budget
            .take_question()
            .map_err(InteractionError::OverBudget)
            .map(|()| self.outside.ask("elicitation/create", RawJson::from_built(params), timeout));
        Box::pin(async move {
            match asked?.await? {
                Asked::TimedOut => Ok(Elicited::TimedOut),
                Asked::Answered(answer) => elicited(&answer),
            }
        })
    }

    fn sample(
        &self,
        request: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, InteractionError>> {
        let asked = self
            .budget
            .take_question()
            .map_err(InteractionError::OverBudget)
            .map(|()| self.outside.ask("sampling/createMessage", request, timeout));
        Box::pin(async move {
            match asked?.await? {
                Asked::Answered(answer) => Ok(answer),
                Asked::TimedOut => Err(InteractionError::Other("the client's model did not answer in time".into())),
            }
        })
    }

    fn progress(&self, done: f64, total: Option<f64>, message: String) {
        self.outside.progress(done, total, message);
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }

    fn random(&self) -> u64 {
        rand::random()
    }
}

/// The tool as the workflow is told of it.
fn info(tool: &Entry) -> ToolInfo {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Definition {
        description: Option<String>,
        input_schema: Option<RawJson>,
        output_schema: Option<RawJson>,
        annotations: Option<RawJson>,
    }
    let Definition { description, input_schema, output_schema, annotations } =
        tool.definition.to_value().unwrap_or_default();
    ToolInfo {
        name: tool.name.to_string(),
        backend: tool.backend().to_string(),
        original_name: tool.capability.original_name.to_string(),
        description,
        input_schema,
        output_schema,
        annotations,
    }
}

/// The answer to an elicitation.
fn elicited(answer: &RawJson) -> Result<Elicited, InteractionError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        action: String,
        content: Option<serde_json::Map<String, serde_json::Value>>,
    }
    let answer: Answer =
        answer.to_value().map_err(|error| InteractionError::Other(format!("the client's answer is none: {error}")))?;
    match answer.action.as_str() {
        "accept" => Ok(Elicited::Accepted(RawJson::of(&answer.content.unwrap_or_default()))),
        "decline" => Ok(Elicited::Declined),
        "cancel" => Ok(Elicited::Cancelled),
        other => Err(InteractionError::Other(format!("the client's answer has the action `{other}`"))),
    }
}
