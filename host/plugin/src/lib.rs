//! Unstable. WebAssembly components that decide for the host: compiled, checked against what they may import, limited,
//! and adapted to the traits of `vmcp_core`.
//!
//! The only crate that knows wasmtime. A component comes in as bytes with a digest ([`PluginEngine::load`]) and leaves as a
//! trait object; the built-in ones take the same path as a user's file. Every question is put to a fresh instance, so nothing
//! that a component does reaches the next one. Nothing here decides anything: a missing component is an error, never replaced.

mod bindings;
mod cache;
mod call;
mod engine;
mod error;
mod exports;
mod grant;
mod imports;
mod inspect;
mod interface;
mod limits;
mod load;
mod sequencer;
mod ticker;

pub use engine::{EngineOptions, MAX_COMPONENT_BYTES, PluginEngine};
pub use error::PluginError;
pub use exports::{conflict::CONFLICT_RESOLVER, ranking::RANKING_STRATEGY, workflow::WORKFLOW};
pub use grant::Grants;
pub use inspect::{ImportStatus, InspectedImport, InspectedWorkflow, InspectedWorld, Inspection, inspect};
pub use limits::{Limit, Limits};
pub use load::{Component, ComponentSource, digest};
