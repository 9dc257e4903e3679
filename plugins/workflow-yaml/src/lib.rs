//! Interprets a workflow that the configuration declares: steps that call tools, ask the user and go through lists.
//!
//! `Workflow::parse` compiles and checks a document, `Workflow::run` runs it in a `World`, its only way to tools, user, time and
//! chance. Nothing here knows where it runs: natively in tests, as a component in the host.
//!
//! From the outside in: `workflow` (compiled document) and `workflow::check`, `steps` (a list of them and its order), `run` (which
//! step starts when) with `pool` and `time`, `step` and below it one file per kind, `argument`, `output` and `typing` (from text
//! to JSON), `context`, `template` and `expression` (what templates and CEL see and do).

mod argument;
mod context;
mod document;
mod duration;
mod expression;
#[cfg(target_family = "wasm")]
mod guest;
mod output;
mod pool;
mod problem;
mod run;
mod step;
mod steps;
mod template;
mod time;
mod typing;
mod workflow;
mod world;

pub use problem::Problem;
pub use run::RunError;
pub use workflow::{Definition, Workflow};
pub use world::{CallError, Elicited, Level, World};
