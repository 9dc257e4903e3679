//! Workflows: one tool to clients, many calls behind it. Needs the crate's feature `workflow`.
//!
//! Implement [`Workflow`], register it with [`register_workflow!`](crate::register_workflow). What a workflow may reach is in
//! the modules beside it: [`tools`], [`interaction`], [`progress`], [`clock`], [`random`]. There is nothing else, no network
//! and no clock of its own, so that a run can be told again from what the host answered.
//!
//! Calls overlap by the usual means: [`join_all`](futures_util::future::join_all) waits for all of them,
//! [`select`](futures_util::future::select) for the first, [`each`] for many with a limit. What is dropped is cancelled.

pub mod clock;
mod definition;
mod each;
#[cfg(target_arch = "wasm32")]
mod export;
pub mod interaction;
pub mod progress;
pub mod random;
mod result;
mod retry;
pub mod tools;

use std::{fmt, future::Future, marker::PhantomData};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub use self::{
    definition::Definition,
    each::each,
    result::ToolResult,
    retry::{Backoff, retry},
};
pub use crate::component::ConfigProblem;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::Exported;

use crate::{
    component::{config_schema, load_config},
    export::Worlds,
};

/// The exported interface without its version, as `describe` names it.
const WORLD: &str = "vmcp:workflow/workflow";

/// A composite tool. The implementing type is the config itself: its fields are the keys that a user writes under `config`,
/// its JSON Schema is what the host checks them against.
pub trait Workflow: DeserializeOwned + JsonSchema + 'static {
    /// The tool that clients see. The host asks when it loads the component, and of an interpreter with a document also each
    /// instance that is to run.
    ///
    /// # Errors
    /// If there is none with this config.
    fn definition(&self) -> Result<Definition, WorkflowError>;

    /// Runs once. [`arguments`] reads the arguments as a type.
    ///
    /// # Errors
    /// If the run does not come to its end; clients see the message.
    fn run(&self, arguments: Map<String, Value>) -> impl Future<Output = Result<ToolResult, WorkflowError>>;

    /// What is wrong with the config beyond what its schema and its types say.
    fn check(&self) -> Vec<ConfigProblem> {
        Vec::new()
    }
}

/// The arguments of a run as a type.
///
/// # Errors
/// [`WorkflowError::Arguments`], which names the argument that does not fit.
pub fn arguments<A: DeserializeOwned>(arguments: Map<String, Value>) -> Result<A, WorkflowError> {
    serde_path_to_error::deserialize(Value::Object(arguments))
        .map_err(|error| WorkflowError::Arguments(error.to_string()))
}

/// The JSON document that an interpreter of workflows interprets; empty where the host gives none.
pub fn document() -> String {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::workflow::vmcp::workflow::document::get();
    #[cfg(not(target_arch = "wasm32"))]
    return String::new();
}

/// Why a workflow did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkflowError {
    /// The config cannot be used.
    Config(String),
    /// The arguments are not what the workflow takes.
    Arguments(String),
    /// A step failed; the message names it.
    Failed(String),
}

impl WorkflowError {
    /// A step that failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }
}

impl fmt::Display for WorkflowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(message) | Self::Arguments(message) | Self::Failed(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for WorkflowError {}

impl From<tools::CallError> for WorkflowError {
    fn from(error: tools::CallError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<interaction::InteractionError> for WorkflowError {
    fn from(error: interaction::InteractionError) -> Self {
        Self::Failed(error.to_string())
    }
}

/// [`Workflow`] as what a component exports.
#[doc(hidden)]
pub struct World<W>(PhantomData<W>);

impl<W: Workflow> Worlds for World<W> {
    fn describe() -> Vec<(&'static str, String)> {
        vec![(WORLD, config_schema::<W>())]
    }

    fn check_config(world: &str, config: &str) -> Option<Vec<ConfigProblem>> {
        (world == WORLD).then(|| load_config(config, W::check).err().unwrap_or_default())
    }
}

/// Makes a [`Workflow`] the component's export; once per crate. Name, version and summary are the crate's `name`, `version`
/// and `description`.
#[macro_export]
macro_rules! register_workflow {
    ($workflow:ty) => {
        $crate::__register!($crate::workflow::World<$workflow>, workflow: $workflow);
    };
}
