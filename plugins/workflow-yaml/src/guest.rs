//! The interpreter as a component: the document and the world come through its imports.

use std::{cell::RefCell, rc::Rc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use vmcp_sdk::{
    log,
    workflow::{
        ConfigProblem, Definition, ToolResult, WorkflowError, clock, document,
        interaction::{self, InteractionError},
        progress, random, tools,
    },
};

use crate::{CallError, Elicited, Level, Problem, Workflow, World};

thread_local! {
    /// The document with its config, once it was compiled.
    static COMPILED: RefCell<Option<(Map<String, Value>, Rc<Workflow>)>> = const { RefCell::new(None) };
}

/// The config of a document, which templates read as `.config`.
#[derive(Deserialize, JsonSchema)]
struct Interpreter {
    #[serde(flatten)]
    config: Map<String, Value>,
}

impl Interpreter {
    /// The document compiled, or all that is wrong with it. The config is what templates read as `.config`.
    fn compile(&self) -> Result<Workflow, Vec<ConfigProblem>> {
        let mut document: Value = serde_json::from_str(&document())
            .map_err(|error| vec![ConfigProblem::new("", format!("there is no document to interpret: {error}"))])?;
        if !self.config.is_empty() {
            document["config"] = Value::Object(self.config.clone());
        }
        let problem = |problem: Problem| ConfigProblem::new(problem.pointer, problem.message);
        Workflow::parse(&document).map_err(|problems| problems.into_iter().map(problem).collect())
    }

    /// The same, compiled once: the host may have an instance say what it is before it runs.
    fn workflow(&self) -> Result<Rc<Workflow>, WorkflowError> {
        let compiled = COMPILED.with_borrow(|compiled| {
            compiled.as_ref().filter(|(config, _)| *config == self.config).map(|(_, workflow)| workflow.clone())
        });
        if let Some(workflow) = compiled {
            return Ok(workflow);
        }
        let workflow = self.compile().map_err(|problems| {
            let problem = |problem: &ConfigProblem| format!("{}: {}", problem.pointer, problem.message);
            WorkflowError::Config(problems.iter().map(problem).collect::<Vec<_>>().join("; "))
        })?;
        let workflow = Rc::new(workflow);
        COMPILED.set(Some((self.config.clone(), workflow.clone())));
        Ok(workflow)
    }
}

impl vmcp_sdk::workflow::Workflow for Interpreter {
    fn definition(&self) -> Result<Definition, WorkflowError> {
        let definition = self.workflow()?.definition();
        Ok(Definition {
            name: definition.name,
            title: String::new(),
            description: definition.description,
            input_schema: definition.input_schema,
            output_schema: definition.output_schema,
            annotations: definition.annotations.unwrap_or_default(),
            tools: definition.tools,
            config_schema: definition.config_schema,
            wall_time: Some(definition.wall_time),
        })
    }

    fn check(&self) -> Vec<ConfigProblem> {
        self.compile().err().unwrap_or_default()
    }

    async fn run(&self, arguments: Map<String, Value>) -> Result<ToolResult, WorkflowError> {
        let workflow = self.workflow()?;
        workflow.run(arguments, &Host).await.map(ToolResult).map_err(|error| WorkflowError::Failed(error.to_string()))
    }
}

vmcp_sdk::register_workflow!(Interpreter);

/// The world behind the component's imports.
struct Host;

impl World for Host {
    async fn call(
        &self,
        tool: &str,
        arguments: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<Value, CallError> {
        let result = tools::call_within(tool, arguments, timeout).await;
        result.map(|result| result.0).map_err(|error| match error {
            tools::CallError::UnknownTool(_) => CallError::UnknownTool,
            tools::CallError::Denied(message) => CallError::Denied(message),
            tools::CallError::Unavailable(message) => CallError::Unavailable(message),
            other => CallError::Other(other.to_string()),
        })
    }

    fn input_schema(&self, tool: &str) -> Option<Value> {
        tools::describe(tool).map(|tool| tool.input_schema)
    }

    async fn elicit(&self, message: &str, schema: &Value, timeout: Duration) -> Elicited {
        match interaction::elicit(message, schema, Some(timeout)).await {
            Ok(interaction::Elicited::Accepted(answer)) => Elicited::Accepted(answer),
            Ok(interaction::Elicited::Declined) => Elicited::Declined,
            Ok(interaction::Elicited::Cancelled) => Elicited::Cancelled,
            Ok(interaction::Elicited::TimedOut) => Elicited::TimedOut,
            Ok(other) => Elicited::Failed(format!("{other:?}")),
            Err(InteractionError::Unsupported(message)) => Elicited::Failed(message),
            Err(error) => Elicited::Failed(error.to_string()),
        }
    }

    async fn sleep(&self, time: Duration) {
        clock::sleep(time).await;
    }

    fn now_millis(&self) -> u64 {
        clock::now()
    }

    fn random(&self) -> f64 {
        random::unit()
    }

    fn progress(&self, done: u32, total: u32, message: &str) {
        progress::report(f64::from(done), Some(f64::from(total)), message);
    }

    fn log(&self, level: Level, message: &str) {
        match level {
            Level::Trace => log::trace(message),
            Level::Debug => log::debug(message),
            Level::Info => log::info(message),
            Level::Warn => log::warn(message),
            Level::Error => log::error(message),
        }
    }
}
