//! What a workflow may call in the host: `vmcp:workflow/*`, each to a function of [`World`].

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use vmcp_core::{
    journal::{HostCall, Outcome, Question},
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, World},
};
use wasmtime::component::{Accessor, HasSelf};

use crate::{
    bindings::workflow::vmcp::workflow::{clock, document, interaction, progress, random, tools},
    call::CallState,
    sequencer::{Make, Sequencer},
};

/// What one instance of a workflow reaches.
pub(crate) struct WorkflowState {
    /// Absent while it only says what it is.
    pub(crate) run: Option<RunState>,
    /// What an interpreter interprets.
    pub(crate) document: Option<Arc<str>>,
}

/// One run.
pub(crate) struct RunState {
    /// Absent where there is nothing but the past.
    pub(crate) world: Option<Arc<dyn World>>,
    pub(crate) sequencer: Sequencer,
}

/// Why nothing is reached: the component is asked something that is no run.
const NO_RUN: &str = "only a running workflow reaches the host";

impl CallState {
    fn run(&mut self) -> Option<&mut RunState> {
        self.workflow.as_mut()?.run.as_mut()
    }

    /// What is answered at once; `None` where no run asks, or the answer of its past is another thing.
    fn told<A>(&mut self, question: Question, live: impl FnOnce(&dyn World) -> A) -> Option<A>
    where
        A: Serialize + DeserializeOwned,
    {
        let RunState { world, sequencer } = self.run()?;
        sequencer.tell(question, || world.as_ref().map(|world| live(&**world)))
    }
}

impl tools::Host for CallState {
    fn list(&mut self) -> Vec<tools::ToolInfo> {
        let tools = self.told(Question::Tools, |world| world.tools());
        tools.unwrap_or_default().into_iter().map(info).collect()
    }

    fn describe(&mut self, tool: String) -> Option<tools::ToolInfo> {
        let found = self.told(Question::Tool(tool.clone()), |world| world.tool(&tool));
        found.flatten().map(info)
    }
}

impl<T: Send> tools::HostWithStore<T> for HasSelf<CallState> {
    async fn call(
        accessor: &Accessor<T, Self>,
        tool: String,
        arguments: String,
        options: tools::CallOptions,
    ) -> Result<String, tools::CallError> {
        let arguments =
            json_object(arguments).map_err(|what| tools::CallError::Other(format!("the arguments are {what}")))?;
        let timeout = options.timeout_milliseconds;
        let what = HostCall::Tool { tool: tool.clone(), arguments: arguments.clone(), timeout };
        let call = move |number, world: &dyn World| {
            let call = world.call(number, tool, arguments, timeout.map(Duration::from_millis));
            async move { Outcome::Called(call.await) }
        };
        match outcome(accessor, what, call).await {
            Some(Outcome::Called(Ok(result))) => Ok(result.as_str().to_owned()),
            Some(Outcome::Called(Err(error))) => Err(call_error(error)),
            _ => Err(tools::CallError::Denied(NO_RUN.into())),
        }
    }
}

impl interaction::Host for CallState {}

impl<T: Send> interaction::HostWithStore<T> for HasSelf<CallState> {
    async fn elicit(
        accessor: &Accessor<T, Self>,
        message: String,
        schema: String,
        timeout: Option<u64>,
    ) -> Result<interaction::Elicited, interaction::InteractionError> {
        let schema = json_object(schema)
            .map_err(|what| interaction::InteractionError::Other(format!("the schema is {what}")))?;
        let what = HostCall::Elicit { message: message.clone(), schema: schema.clone(), timeout };
        let ask = move |number, world: &dyn World| {
            let answer = world.elicit(number, message, schema, timeout.map(Duration::from_millis));
            async move { Outcome::Elicited(answer.await) }
        };
        match outcome(accessor, what, ask).await {
            Some(Outcome::Elicited(Ok(elicited))) => Ok(match elicited {
                Elicited::Accepted(answer) => interaction::Elicited::Accepted(answer.as_str().to_owned()),
                Elicited::Declined => interaction::Elicited::Declined,
                Elicited::Cancelled => interaction::Elicited::Cancelled,
                Elicited::TimedOut => interaction::Elicited::TimedOut,
            }),
            Some(Outcome::Elicited(Err(error))) => Err(interaction_error(&error)),
            _ => Err(interaction::InteractionError::Unsupported(NO_RUN.into())),
        }
    }

    async fn sample(
        accessor: &Accessor<T, Self>,
        request: String,
        timeout: Option<u64>,
    ) -> Result<String, interaction::InteractionError> {
        let request = json_object(request)
            .map_err(|what| interaction::InteractionError::Other(format!("the request is {what}")))?;
        let what = HostCall::Sample { request: request.clone(), timeout };
        let ask = move |number, world: &dyn World| {
            let answer = world.sample(number, request, timeout.map(Duration::from_millis));
            async move { Outcome::Sampled(answer.await) }
        };
        match outcome(accessor, what, ask).await {
            Some(Outcome::Sampled(Ok(result))) => Ok(result.as_str().to_owned()),
            Some(Outcome::Sampled(Err(error))) => Err(interaction_error(&error)),
            _ => Err(interaction::InteractionError::Unsupported(NO_RUN.into())),
        }
    }
}

impl progress::Host for CallState {
    fn report(&mut self, done: f64, total: Option<f64>, message: String) {
        if let Some(world) = self.run().and_then(|run| run.world.as_ref()) {
            world.progress(done, total, message);
        }
    }
}

impl clock::Host for CallState {
    fn now(&mut self) -> u64 {
        self.told(Question::Now, |world| world.now()).unwrap_or_default()
    }
}

impl<T: Send> clock::HostWithStore<T> for HasSelf<CallState> {
    async fn sleep(accessor: &Accessor<T, Self>, milliseconds: u64) {
        let sleep = move |number, world: &dyn World| {
            let slept = world.sleep(number, Duration::from_millis(milliseconds));
            async move {
                slept.await;
                Outcome::Slept
            }
        };
        outcome(accessor, HostCall::Sleep(milliseconds), sleep).await;
    }
}

impl random::Host for CallState {
    fn next(&mut self) -> u64 {
        self.told(Question::Random, |world| world.random()).unwrap_or_default()
    }
}

/// What a call of the run comes to; `None` if there is no run, or it ended meanwhile.
///
/// - `make`: begins the call
async fn outcome<T, F>(
    accessor: &Accessor<T, HasSelf<CallState>>,
    what: HostCall,
    make: impl FnOnce(u64, &dyn World) -> F + Send + 'static,
) -> Option<Outcome>
where
    F: Future<Output = Outcome> + Send + 'static,
{
    let pending = accessor.with(|mut access| {
        let RunState { world, sequencer } = access.get().run()?;
        let world = world.clone();
        let make: Make = Box::new(move |number| match world {
            Some(world) => Box::pin(make(number, &*world)),
            None => Box::pin(std::future::pending()),
        });
        Some(sequencer.begin(what, make))
    });
    pending?.outcome().await
}

impl document::Host for CallState {
    fn get(&mut self) -> String {
        let document = self.workflow.as_ref().and_then(|state| state.document.as_deref());
        document.unwrap_or_default().to_owned()
    }
}

/// `text` as JSON if it is an object; what is wrong with it otherwise.
fn json_object(text: String) -> Result<RawJson, String> {
    let json = RawJson::parse(text).map_err(|error| format!("no JSON: {error}"))?;
    if json.as_bytes().starts_with(b"{") { Ok(json) } else { Err("no JSON object".into()) }
}

fn info(tool: ToolInfo) -> tools::ToolInfo {
    let text = |json: Option<RawJson>| json.map(|json| json.as_str().to_owned()).unwrap_or_default();
    tools::ToolInfo {
        name: tool.name,
        backend: tool.backend,
        original_name: tool.original_name,
        description: tool.description.unwrap_or_default(),
        input_schema: text(tool.input_schema),
        output_schema: text(tool.output_schema),
        annotations: text(tool.annotations),
        extra: String::new(),
    }
}

fn call_error(error: ToolCallError) -> tools::CallError {
    let message = error.to_string();
    match error {
        ToolCallError::UnknownTool(_) => tools::CallError::UnknownTool(message),
        ToolCallError::Denied(_) => tools::CallError::Denied(message),
        ToolCallError::Unavailable(_) => tools::CallError::Unavailable(message),
        ToolCallError::OutcomeUnknown(_) => tools::CallError::OutcomeUnknown(message),
        ToolCallError::Refused(error) => tools::CallError::Refused(error.as_str().to_owned()),
        ToolCallError::OverBudget(_) => tools::CallError::OverBudget(message),
        _ => tools::CallError::Other(message),
    }
}

fn interaction_error(error: &InteractionError) -> interaction::InteractionError {
    let message = error.to_string();
    match error {
        InteractionError::Unsupported(_) => interaction::InteractionError::Unsupported(message),
        InteractionError::OverBudget(_) => interaction::InteractionError::OverBudget(message),
        _ => interaction::InteractionError::Other(message),
    }
}
