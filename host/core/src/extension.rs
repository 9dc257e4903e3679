//! One trait per extension point and per component import. Adapters to WebAssembly live in `plugin`; whoever asks for a
//! decision knows only these.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    BoxError,
    capability::{Capability, Kind, NameRule},
    id::BackendId,
};

/// What a component says of itself.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentDescription {
    /// The component's own name; the name in the configuration is the one that counts.
    pub name: String,
    pub version: String,
    /// One sentence.
    pub summary: String,
    pub worlds: Vec<WorldDescription>,
}

/// One world that a component implements.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorldDescription {
    /// E.g. `vmcp:conflict/conflict-resolver`.
    pub world: String,
    /// JSON Schema of the world's config; absent when it takes none.
    pub config_schema: Option<Value>,
}

/// Something a component finds wrong in its config.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentConfigProblem {
    /// JSON pointer into the config.
    pub pointer: String,
    pub message: String,
}

/// Decides under which names the capabilities of all backends are advertised.
pub trait ConflictResolver: Send + Sync {
    /// The name in the configuration and the component's version, e.g. `smart 0.1.0`.
    fn label(&self) -> &str;

    /// One resolution per entry of `request.contenders`, in the same order. Blocking: at most the component's limits.
    fn resolve(&self, request: &ResolveRequest<'_>) -> Result<Vec<Resolution>, ResolveError>;
}

/// What a conflict resolver decides about: all capabilities of one kind, sorted by backend and name.
#[derive(Debug)]
pub struct ResolveRequest<'a> {
    pub kind: Kind,
    pub names: NameRule,
    pub contenders: &'a [Contender],
}

/// One capability and what the configuration says of its backend.
#[derive(Clone, Debug)]
pub struct Contender {
    pub capability: Arc<Capability>,
    /// The backend's slug.
    pub slug: Arc<str>,
    /// `metadata` of the backend in the configuration, as JSON text.
    pub backend_metadata: Arc<str>,
}

impl Contender {
    pub fn backend(&self) -> &BackendId {
        &self.capability.backend
    }
}

/// What a resolver decided about one contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub decision: Decision,
    /// Why, in a few words for people.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    ExposeAs(String),
    /// Do not advertise, for this reason.
    Hide(String),
}

/// Why there are no resolutions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// The resolver will not choose an owner for these names.
    #[error("`{resolver}` leaves names unresolved: {}", .names.join(", "))]
    Unresolved { resolver: String, names: Vec<String> },
    /// The resolver cannot use its config.
    #[error("`{resolver}` cannot use its config: {message}")]
    Config { resolver: String, message: String },
    /// The resolver said something else is wrong.
    #[error("`{resolver}` failed: {message}")]
    Failed { resolver: String, message: String },
    /// The component trapped, ran into a limit, or could not be run at all.
    #[error("`{resolver}` did not answer")]
    Component { resolver: String, source: BoxError },
}
