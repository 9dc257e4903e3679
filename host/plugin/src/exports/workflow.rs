//! `vmcp:workflow/workflow` as a [`Workflow`].
//!
//! A run has an instance of its own from beginning to end: of a pool while that has some, since a run may wait for a person, and
//! hold what it has as long. After a run the next instance is made ready, while nobody waits for it.

mod ready;

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use vmcp_core::{
    journal::Divergence,
    json::RawJson,
    workflow::{NewRun, Workflow, WorkflowDefinition, WorkflowError, WorkflowSource},
};
use wasmtime::UpdateDeadline;

use self::ready::Ready;
pub(crate) use self::ready::{Place, ReadyInstances};
use crate::{
    bindings::workflow::{WorkflowExportIndices, exports::vmcp::workflow::workflow as wit},
    call::Callee,
    error::PluginError,
    imports::{
        log::CallLog,
        workflow::{RunState, WorkflowState},
    },
    sequencer::{RunClock, Sequencer},
};

/// The world's name, as `describe` and `check_config` have it.
pub const WORKFLOW: &str = "vmcp:workflow/workflow";
/// The same with the version that this host accepts.
pub(crate) const WORKFLOW_VERSION: &str = "vmcp:workflow/workflow@0.1.0";

/// A component with its config.
pub(crate) struct ComponentWorkflow {
    /// On the engine without a pool.
    pub(crate) plain: Runnable,
    /// On the one with a pool, whose instances are there sooner.
    pub(crate) pooled: Option<Runnable>,
    pub(crate) label: String,
    pub(crate) source: WorkflowSource,
    /// Whether it imports what tells of progress: a component without a use for it does not.
    pub(crate) reports_progress: bool,
    /// By which its instance that is ready is known.
    pub(crate) place: Place,
}

/// The component on one engine.
pub(crate) struct Runnable {
    pub(crate) callee: Callee,
    pub(crate) indices: WorkflowExportIndices,
}

impl Workflow for ComponentWorkflow {
    fn label(&self) -> &str {
        &self.label
    }

    fn definition(&self) -> Result<WorkflowDefinition, WorkflowError> {
        let answer = self.plain.callee.call("define", Some(self.state(None)), async |store, instance| {
            let workflow = self.plain.indices.load(&mut *store, instance)?;
            workflow.vmcp_workflow_workflow().call_define(store, &self.source.config.to_string()).await
        });
        let definition = answer.map_err(|error| self.component_error(error))?.map_err(|error| self.refusal(error))?;
        read_definition(definition).map_err(|message| self.bad_reply("define", message))
    }

    fn source(&self) -> &WorkflowSource {
        &self.source
    }

    fn reports_progress(&self) -> bool {
        self.reports_progress
    }

    fn run(self: Arc<Self>, run: NewRun) -> BoxFuture<'static, Result<RawJson, WorkflowError>> {
        Box::pin(async move {
            let result = self.run_once(run).await?.map_err(|error| self.refusal(error))?;
            read_result(result).map_err(|message| self.bad_reply("run", message))
        })
    }
}

impl ComponentWorkflow {
    fn state(&self, run: Option<RunState>) -> WorkflowState {
        WorkflowState { run, document: self.source.document.clone() }
    }

    async fn run_once(self: &Arc<Self>, run: NewRun) -> Result<Result<String, wit::WorkflowError>, WorkflowError> {
        let NewRun { arguments, world, recorder, past } = run;
        let (sequencer, hand_over) = Sequencer::new(recorder, past, world.is_none());
        let mut ready = self.place.take().unwrap_or_else(|| self.begin());
        let Ready { store, exports, is_pooled, .. } = &mut ready;
        // What it said before was not of this run.
        let log = Arc::new(CallLog::new(self.plain.callee.name.clone()));
        store.data_mut().log = log.clone();
        let clock = Arc::new(RunClock::new(self.plain.callee.allowance.running_time));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback({
            let clock = clock.clone();
            move |_| {
                clock.tick()?;
                Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())))
            }
        });
        let (config, arguments) = (self.source.config.to_string(), arguments.as_str().to_owned());
        let run = async {
            let exports = match exports.take() {
                Some(exports) => exports,
                None => self.instantiate(*is_pooled, store).await?,
            };
            store.data_mut().workflow = Some(self.state(Some(RunState { world, sequencer })));
            let run = async |accessor: &wasmtime::component::Accessor<_>| {
                exports.vmcp_workflow_workflow().call_run(accessor, config, arguments).await
            };
            store.run_concurrent(run).await?
        };
        let answer = hand_over.drive(run, &clock, &self.plain.callee.engine.ticker).await;
        if answer.is_ok() {
            self.make_ready(ready);
        }
        answer.map_err(|error| match error.downcast_ref::<Divergence>() {
            Some(divergence) => {
                WorkflowError::Diverged { workflow: self.label.clone(), divergence: divergence.clone() }
            }
            None => self.component_error(self.plain.callee.explain("run", &log, &error)),
        })
    }

    fn component_error(&self, error: PluginError) -> WorkflowError {
        let workflow = self.label.clone();
        match error {
            PluginError::LimitExceeded { limit, .. } => {
                WorkflowError::OverBudget { workflow, limit: limit.to_string() }
            }
            error => WorkflowError::Component { workflow, source: error.into() },
        }
    }

    fn bad_reply(&self, during: &'static str, message: String) -> WorkflowError {
        let component = self.plain.callee.name.to_string();
        self.component_error(PluginError::BadReply { component, during, message })
    }

    /// What the component itself gives as the reason.
    fn refusal(&self, error: wit::WorkflowError) -> WorkflowError {
        let workflow = self.label.clone();
        match error {
            wit::WorkflowError::Config(message) => WorkflowError::Config { workflow, message },
            wit::WorkflowError::Arguments(message) => WorkflowError::Arguments { workflow, message },
            wit::WorkflowError::Failed(message) | wit::WorkflowError::Other(message) => {
                WorkflowError::Failed { workflow, message }
            }
        }
    }
}

fn read_definition(definition: wit::Definition) -> Result<WorkflowDefinition, String> {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let object = |field: &str, json: String| {
        let json = RawJson::parse(json).map_err(|error| format!("`{field}` is no JSON: {error}"))?;
        if json.as_bytes().starts_with(b"{") { Ok(json) } else { Err(format!("`{field}` is no JSON object")) }
    };
    let annotations = text(definition.annotations).unwrap_or_else(|| "{}".into());
    Ok(WorkflowDefinition {
        name: definition.name,
        title: text(definition.title),
        description: text(definition.description),
        input_schema: object("input-schema", definition.input_schema)?,
        output_schema: text(definition.output_schema).map(|schema| object("output-schema", schema)).transpose()?,
        annotations: object("annotations", annotations)?.to_value().map_err(|error| error.to_string())?,
        config_schema: text(definition.config_schema).map(|schema| object("config-schema", schema)).transpose()?,
        tools: definition.tools,
        wall_time: definition.wall_time.map(Duration::from_millis),
    })
}

/// A tool result has a list of content blocks; what is in them is the component's affair.
fn read_result(result: String) -> Result<RawJson, String> {
    #[derive(serde::Deserialize)]
    struct ToolResult {
        #[serde(rename = "content")]
        _content: Vec<serde::de::IgnoredAny>,
    }
    let result = RawJson::parse(result).map_err(|error| format!("the result is no JSON: {error}"))?;
    let read: Result<ToolResult, _> = result.to_value();
    read.map(|_| result).map_err(|error| format!("the result is no tool result: {error}"))
}
