//! What a workflow may call in the host: `vmcp:workflow/*`, each to a function of [`World`].

use std::{sync::Arc, time::Duration};

use vmcp_core::{
    json::RawJson,
    workflow::{Elicited, InteractionError, ToolCallError, ToolInfo, World},
};
use wasmtime::component::{Accessor, HasSelf};

use crate::{
    bindings::workflow::vmcp::workflow::{clock, document, interaction, progress, random, tools},
    call::CallState,
    sequencer::{Outcome, Sequencer},
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
    pub(crate) world: Arc<dyn World>,
    pub(crate) sequencer: Sequencer,
}

/// Why nothing is reached: the component is asked something that is no run.
const NO_RUN: &str = "only a running workflow reaches the host";

impl CallState {
    fn run(&mut self) -> Option<&mut RunState> {
        self.workflow.as_mut()?.run.as_mut()
    }

    fn world(&mut self) -> Option<&Arc<dyn World>> {
        Some(&self.run()?.world)
    }
}

impl tools::Host for CallState {
    fn list(&mut self) -> Vec<tools::ToolInfo> {
        self.world().map(|world| world.tools().into_iter().map(info).collect()).unwrap_or_default()
    }

    fn describe(&mut self, tool: String) -> Option<tools::ToolInfo> {
        self.world()?.tool(&tool).map(info)
    }
}

impl<T: Send> tools::HostWithStore<T> for HasSelf<CallState> {
    async fn call(
        accessor: &Accessor<T, Self>,
        tool: String,
        arguments: String,
        options: tools::CallOptions,
    ) -> Result<String, tools::CallError> {
        let arguments = json_object(arguments).map_err(|what| tools::CallError::Other(format!("arguments {what}")))?;
        let timeout = options.timeout_milliseconds.map(Duration::from_millis);
        let pending = accessor.with(|mut access| {
            let RunState { world, sequencer } = access.get().run()?;
            let call = world.call(tool, arguments, timeout);
            Some(sequencer.begin(async move { Outcome::Called(call.await) }))
        });
        match pending.ok_or_else(|| tools::CallError::Denied(NO_RUN.into()))?.outcome().await {
            Outcome::Called(Ok(result)) => Ok(result.as_str().to_owned()),
            Outcome::Called(Err(error)) => Err(call_error(error)),
            _ => Err(tools::CallError::Other("the run ended".into())),
        }
    }
}

impl interaction::Host for CallState {}

impl<T: Send> interaction::HostWithStore<T> for HasSelf<CallState> {
    async fn elicit(
        accessor: &Accessor<T, Self>,
        message: String,
        schema: String,
        timeout_milliseconds: Option<u64>,
    ) -> Result<interaction::Elicited, interaction::InteractionError> {
        let schema =
            json_object(schema).map_err(|what| interaction::InteractionError::Other(format!("the schema {what}")))?;
        let pending = accessor.with(|mut access| {
            let RunState { world, sequencer } = access.get().run()?;
            let question = world.elicit(message, schema, timeout_milliseconds.map(Duration::from_millis));
            Some(sequencer.begin(async move { Outcome::Elicited(question.await) }))
        });
        match pending.ok_or_else(|| interaction::InteractionError::Unsupported(NO_RUN.into()))?.outcome().await {
            Outcome::Elicited(Ok(elicited)) => Ok(match elicited {
                Elicited::Accepted(answer) => interaction::Elicited::Accepted(answer.as_str().to_owned()),
                Elicited::Declined => interaction::Elicited::Declined,
                Elicited::Cancelled => interaction::Elicited::Cancelled,
                Elicited::TimedOut => interaction::Elicited::TimedOut,
            }),
            Outcome::Elicited(Err(error)) => Err(interaction_error(error)),
            _ => Err(interaction::InteractionError::Other("the run ended".into())),
        }
    }

    async fn sample(
        accessor: &Accessor<T, Self>,
        request: String,
        timeout_milliseconds: Option<u64>,
    ) -> Result<String, interaction::InteractionError> {
        let request =
            json_object(request).map_err(|what| interaction::InteractionError::Other(format!("the request {what}")))?;
        let pending = accessor.with(|mut access| {
            let RunState { world, sequencer } = access.get().run()?;
            let question = world.sample(request, timeout_milliseconds.map(Duration::from_millis));
            Some(sequencer.begin(async move { Outcome::Sampled(question.await) }))
        });
        match pending.ok_or_else(|| interaction::InteractionError::Unsupported(NO_RUN.into()))?.outcome().await {
            Outcome::Sampled(Ok(result)) => Ok(result.as_str().to_owned()),
            Outcome::Sampled(Err(error)) => Err(interaction_error(error)),
            _ => Err(interaction::InteractionError::Other("the run ended".into())),
        }
    }
}

impl progress::Host for CallState {
    fn report(&mut self, done: f64, total: Option<f64>, message: String) {
        if let Some(world) = self.world() {
            world.progress(done, total, message);
        }
    }
}

impl clock::Host for CallState {
    fn now(&mut self) -> u64 {
        self.world().map_or(0, |world| world.now())
    }
}

impl<T: Send> clock::HostWithStore<T> for HasSelf<CallState> {
    async fn sleep(accessor: &Accessor<T, Self>, milliseconds: u64) {
        let pending = accessor.with(|mut access| {
            let RunState { world, sequencer } = access.get().run()?;
            let slept = world.sleep(Duration::from_millis(milliseconds));
            Some(sequencer.begin(async move {
                slept.await;
                Outcome::Slept
            }))
        });
        if let Some(pending) = pending {
            pending.outcome().await;
        }
    }
}

impl random::Host for CallState {
    fn next(&mut self) -> u64 {
        self.world().map_or(0, |world| world.random())
    }
}

impl document::Host for CallState {
    fn get(&mut self) -> String {
        let document = self.workflow.as_ref().and_then(|state| state.document.as_deref());
        document.unwrap_or_default().to_owned()
    }
}

/// `text` as JSON if it is an object; what is wrong with it otherwise.
fn json_object(text: String) -> Result<RawJson, String> {
    let json = RawJson::parse(text).map_err(|error| format!("are no JSON: {error}"))?;
    if json.as_bytes().starts_with(b"{") { Ok(json) } else { Err("are no JSON object".into()) }
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

fn interaction_error(error: InteractionError) -> interaction::InteractionError {
    let message = error.to_string();
    match error {
        InteractionError::Unsupported(_) => interaction::InteractionError::Unsupported(message),
        InteractionError::OverBudget(_) => interaction::InteractionError::OverBudget(message),
        _ => interaction::InteractionError::Other(message),
    }
}
