//! Forwards the component's exports to a [`Workflow`].

use std::marker::PhantomData;

use serde_json::{Map, Value};

use super::{Definition, Workflow, WorkflowError};
use crate::{
    bindings::workflow::exports::vmcp::workflow::workflow as wit,
    component::{in_one_line, load_config},
    log,
};

/// The exports of the workflow `W`.
pub struct Exported<W>(PhantomData<W>);

impl<W: Workflow> wit::Guest for Exported<W> {
    fn define(config: String) -> Result<wit::Definition, wit::WorkflowError> {
        log::report_panics();
        Ok(workflow::<W>(&config)?.definition()?.into())
    }

    async fn run(config: String, arguments: String) -> Result<String, wit::WorkflowError> {
        log::report_panics();
        let workflow = workflow::<W>(&config)?;
        let arguments: Map<String, Value> =
            serde_json::from_str(&arguments).map_err(|error| wit::WorkflowError::Arguments(error.to_string()))?;
        let result = workflow.run(arguments).await?.0;
        serde_json::to_string(&result).map_err(|error| wit::WorkflowError::Other(error.to_string()))
    }
}

/// The host has had the config checked before.
fn workflow<W: Workflow>(config: &str) -> Result<W, wit::WorkflowError> {
    load_config(config, |_| Vec::new()).map_err(|problems| wit::WorkflowError::Config(in_one_line(&problems)))
}

impl From<Definition> for wit::Definition {
    fn from(definition: Definition) -> Self {
        Self {
            name: definition.name,
            title: definition.title,
            description: definition.description,
            input_schema: definition.input_schema.to_string(),
            output_schema: definition.output_schema.map(|schema| schema.to_string()).unwrap_or_default(),
            annotations: Value::Object(definition.annotations).to_string(),
            tools: definition.tools,
            config_schema: definition.config_schema.map(|schema| schema.to_string()).unwrap_or_default(),
            wall_time: definition.wall_time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            extra: String::new(),
        }
    }
}

impl From<WorkflowError> for wit::WorkflowError {
    fn from(error: WorkflowError) -> Self {
        match error {
            WorkflowError::Config(message) => Self::Config(message),
            WorkflowError::Arguments(message) => Self::Arguments(message),
            WorkflowError::Failed(message) => Self::Failed(message),
        }
    }
}
