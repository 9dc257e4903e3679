//! One run: its calls pass its grant and its budget before anybody makes them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use tracing::warn;
use vmcp_core::{
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, World},
};

use crate::{budget::Budget, grant::ToolGrant};

/// Makes what a run asks for, under the identity of the client that runs it.
pub trait Outside: Send + Sync {
    /// Calls `tool` through the admission that clients' calls pass.
    fn call(
        &self,
        tool: &ToolInfo,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>>;

    /// All tools behind the host, hidden ones included, sorted by name.
    fn tools(&self) -> Vec<ToolInfo>;

    /// One of them, by the name that clients see or by `backend.original-name`.
    fn tool(&self, name: &str) -> Option<ToolInfo>;

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
    pub label: Arc<str>,
    pub grant: ToolGrant,
    pub budget: Budget,
    pub outside: Arc<dyn Outside>,
}

impl Run {
    fn admitted(&self, name: &str) -> Result<ToolInfo, ToolCallError> {
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
        let call = self.admitted(&tool).map(|tool| self.outside.call(&tool, arguments, timeout));
        let parallel = self.budget.parallel();
        Box::pin(async move {
            let call = call?;
            let _turn = Budget::turn(parallel).await;
            call.await
        })
    }

    fn tools(&self) -> Vec<ToolInfo> {
        self.outside.tools().into_iter().filter(|tool| self.grant.covers(tool)).collect()
    }

    fn tool(&self, name: &str) -> Option<ToolInfo> {
        self.outside.tool(name)
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
