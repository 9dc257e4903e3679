//! One run: its calls pass its grant and its budget before anybody makes them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use tracing::warn;
use vmcp_core::{
    catalog::Entry,
    journal::{Event, Outcome},
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, World},
};

use crate::{
    budget::Budget,
    composite::Composite,
    desk::{Awaited, Rests, WaitsFor},
    grant::ToolGrant,
    log::RunLog,
    now,
    runs::TimedEvent,
};

const MIXED_UP: &str = "the call was of another kind when the run was laid aside";
/// A run that sleeps for longer is laid aside meanwhile: taking it up again costs about a millisecond.
const LONG_SLEEP: Duration = Duration::from_secs(5);

/// Makes what a run asks for, under the identity of the client that runs it.
pub trait Outside: Send + Sync {
    /// Calls `tool` through the admission that clients' calls pass.
    fn call(
        &self,
        tool: Arc<Entry>,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>>;

    /// Runs the composite tool `tool`, as the call `number` of this run.
    ///
    /// - `rests`: is to be told whether that run rests
    /// - `began_before`: whether the call was made before this run was taken up
    fn nested(
        &self,
        number: u64,
        tool: Arc<Entry>,
        arguments: RawJson,
        rests: Rests,
        began_before: bool,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>>;

    /// All tools behind the host, those that clients do not see included.
    fn tools(&self) -> Vec<Arc<Entry>>;

    /// One of them, by the name that clients see or by `backend.original-name`.
    fn tool(&self, name: &str) -> Option<Arc<Entry>>;

    /// Asks the client: `method` is one of the protocol.
    fn ask(
        &self,
        number: u64,
        method: &'static str,
        params: RawJson,
        patience: Duration,
    ) -> BoxFuture<'static, Result<Asked, InteractionError>>;

    /// How long a question waits whose asker does not say.
    fn longest_wait(&self) -> Duration;

    fn progress(&self, done: f64, total: Option<f64>, message: String);
}

/// The calls that had no outcome when a run was taken up, with the times at which they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished(HashMap<u64, u64>);

impl Unfinished {
    /// Those of a run that was told `events`.
    pub fn of(events: &[TimedEvent]) -> Self {
        let mut unfinished = HashMap::new();
        for TimedEvent { at, event } in events {
            match event {
                Event::Began { call, .. } => drop(unfinished.insert(*call, *at)),
                Event::Ended { call, .. } | Event::GivenUp { call } => drop(unfinished.remove(call)),
                Event::Told { .. } => {}
            }
        }
        Self(unfinished)
    }

    pub fn contains(&self, call: u64) -> bool {
        self.0.contains_key(&call)
    }

    /// What is left of `time` for a call, from its beginning on; and when that is over.
    fn left(&self, call: u64, time: Duration) -> (Duration, u64) {
        let (now, time) = (now(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let until = self.0.get(&call).copied().unwrap_or(now).saturating_add(time);
        (Duration::from_millis(until.saturating_sub(now)), until)
    }
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
    log: Arc<RunLog>,
    unfinished: Unfinished,
    /// The time at which this process had it first; it goes on evenly from there, whoever sets the clock of the machine.
    clock: (u64, Instant),
    /// Calls that have ended, which stand in for the progress of a workflow that reports none.
    ended: Option<Arc<AtomicU32>>,
}

impl Run {
    /// - `unfinished`: of a run that was begun before
    pub fn new(
        composite: &Composite,
        budget: Arc<Budget>,
        outside: Arc<dyn Outside>,
        log: Arc<RunLog>,
        unfinished: Unfinished,
    ) -> Self {
        let Composite { name, grant, workflow, .. } = composite;
        let ended = (!workflow.reports_progress()).then(Arc::default);
        let clock = (now(), Instant::now());
        Self { label: name.clone(), grant: grant.clone(), budget, outside, log, unfinished, clock, ended }
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

    /// A run within this one; it may rest, and this one with it.
    fn nested(
        &self,
        number: u64,
        tool: Arc<Entry>,
        arguments: RawJson,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        let called = self.log.desk.wait(number, WaitsFor::Run, || {
            let (rests, before) = (Rests::new(&self.log.desk, number), self.unfinished.contains(number));
            Box::pin(self.outside.nested(number, tool, arguments, rests, before).map(Outcome::Called))
        });
        Box::pin(self::called(called))
    }

    /// One that the host made before and does not know the outcome of: whether it may be made once more.
    fn may_be_made(&self, number: u64, tool: &Entry) -> Result<(), ToolCallError> {
        if !self.unfinished.contains(number) || is_repeatable(tool) {
            return Ok(());
        }
        Err(ToolCallError::OutcomeUnknown(format!(
            "the host ended while `{}` was under way: whether it had an effect is unknown, and it is not idempotent",
            tool.name
        )))
    }

    fn ask(
        &self,
        number: u64,
        method: &'static str,
        params: RawJson,
        timeout: Option<Duration>,
        read: impl FnOnce(Result<Asked, InteractionError>) -> Outcome + Send + 'static,
    ) -> Result<Awaited, InteractionError> {
        // One that is told again was counted when it was asked.
        if !self.log.desk.has(number) {
            self.budget.take_question().map_err(InteractionError::OverBudget)?;
        }
        let (left, until) = self.unfinished.left(number, timeout.unwrap_or_else(|| self.outside.longest_wait()));
        Ok(self.log.desk.wait(number, WaitsFor::Until(until), || {
            let asked = self.outside.ask(number, method, params, left);
            let settled = self.log.settled();
            let asked = async move {
                settled.await.map_err(|error| InteractionError::Other(error.to_string()))?;
                asked.await
            };
            Box::pin(asked.map(read))
        }))
    }
}

async fn called(call: Awaited) -> Result<RawJson, ToolCallError> {
    match call.await {
        Outcome::Called(answer) => answer,
        _ => Err(ToolCallError::Other(MIXED_UP.into())),
    }
}

/// Whether calling `tool` twice does no more than calling it once.
fn is_repeatable(tool: &Entry) -> bool {
    #[derive(Default, serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Hints {
        idempotent_hint: Option<bool>,
        read_only_hint: Option<bool>,
    }
    let hints = tool.capability.annotations.as_ref().and_then(|raw| raw.to_value::<Hints>().ok()).unwrap_or_default();
    hints.idempotent_hint == Some(true) || hints.read_only_hint == Some(true)
}

impl World for Run {
    fn call(
        &self,
        number: u64,
        tool: String,
        arguments: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, ToolCallError>> {
        // One that waits already was admitted when it was made.
        if let Some(waiting) = self.log.desk.find(number) {
            return Box::pin(called(waiting));
        }
        let admitted = self.admitted(&tool);
        let call = admitted.and_then(|tool| {
            if tool.backend().is_composite() {
                return Ok(self.nested(number, tool, arguments));
            }
            self.may_be_made(number, &tool)?;
            Ok(self.outside.call(tool, arguments, timeout))
        });
        let (turn, settled) = (self.budget.turn(), self.log.settled());
        let (ended, outside) = (self.ended.clone(), self.outside.clone());
        Box::pin(async move {
            let call = call?;
            let _turn = turn.await;
            // What is not written down must not happen.
            settled.await.map_err(|error| ToolCallError::Unavailable(error.to_string()))?;
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
        number: u64,
        message: String,
        schema: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<Elicited, InteractionError>> {
        let params =
            format!(r#"{{"message":{},"requestedSchema":{}}}"#, RawJson::of(&message).as_str(), schema.as_str());
        let asked = self.ask(number, "elicitation/create", RawJson::from_built(params), timeout, |asked| {
            Outcome::Elicited(match asked {
                Ok(Asked::TimedOut) => Ok(Elicited::TimedOut),
                Ok(Asked::Answered(answer)) => elicited(&answer),
                Err(error) => Err(error),
            })
        });
        Box::pin(async move {
            match asked?.await {
                Outcome::Elicited(elicited) => elicited,
                _ => Err(InteractionError::Other(MIXED_UP.into())),
            }
        })
    }

    fn sample(
        &self,
        number: u64,
        request: RawJson,
        timeout: Option<Duration>,
    ) -> BoxFuture<'static, Result<RawJson, InteractionError>> {
        let asked = self.ask(number, "sampling/createMessage", request, timeout, |asked| {
            Outcome::Sampled(match asked {
                Ok(Asked::Answered(answer)) => Ok(answer),
                Ok(Asked::TimedOut) => Err(InteractionError::Other("the client's model did not answer in time".into())),
                Err(error) => Err(error),
            })
        });
        Box::pin(async move {
            match asked?.await {
                Outcome::Sampled(sampled) => sampled,
                _ => Err(InteractionError::Other(MIXED_UP.into())),
            }
        })
    }

    fn progress(&self, done: f64, total: Option<f64>, message: String) {
        self.outside.progress(done, total, message);
    }

    fn sleep(&self, number: u64, time: Duration) -> BoxFuture<'static, ()> {
        let (left, until) = self.unfinished.left(number, time);
        let sleep = move || tokio::time::sleep(left);
        if left < LONG_SLEEP {
            return Box::pin(sleep());
        }
        let slept = self.log.desk.wait(number, WaitsFor::Until(until), || Box::pin(sleep().map(|()| Outcome::Slept)));
        Box::pin(slept.map(drop))
    }

    fn now(&self) -> u64 {
        let (began, since) = self.clock;
        began.saturating_add(u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX))
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
