//! Deciding under which names the capabilities of all backends are advertised.
//!
//! Implement [`ConflictResolver`], register it with [`register_conflict_resolver!`](crate::register_conflict_resolver).
//! The host calls it while it builds a catalog, once per [`Kind`], each time on a fresh instance: there is no state to
//! keep, and equal input must give equal output.

#[cfg(target_arch = "wasm32")]
mod export;
mod name_rule;
mod prefix_format;
mod settle;

use std::{fmt, marker::PhantomData};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::component::ConfigProblem;
use crate::{
    component::{config_schema, load_config},
    export::Worlds,
};
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub use export::Exported;
pub use name_rule::NameRule;
pub use prefix_format::PrefixFormat;
pub use settle::Tie;

/// The exported interface without its version, as `describe` names it.
const WORLD: &str = "vmcp:conflict/conflict-resolver";

/// Decides names. The implementing type is the config itself: its fields are the keys that a user writes under
/// `conflictResolutionConfig`, its JSON Schema is what the host checks them against.
pub trait ConflictResolver: DeserializeOwned + JsonSchema {
    /// One resolution per contender of `request`, in the same order.
    ///
    /// A repeated name or a list of another length refuses the component and leaves the previous catalog in place; an
    /// illegal name hides that one capability.
    ///
    /// # Errors
    /// If no answer can be given; the host then keeps the previous catalog and shows the error.
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError>;

    /// What is wrong with the config beyond what its schema and its types say.
    fn check(&self) -> Vec<ConfigProblem> {
        Vec::new()
    }
}

/// All that is to be named, of one kind.
#[derive(Clone, Debug)]
pub struct Request {
    /// What the contenders are.
    pub kind: Kind,
    /// Which names the host will advertise.
    pub names: NameRule,
    /// All of all backends, sorted by backend and name. Backends that are down take part with what they offered last.
    pub contenders: Vec<Contender>,
}

/// What a backend offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource; its name is its URI.
    Resource,
    /// A resource template; its name is the URI template.
    ResourceTemplate,
}

impl Kind {
    /// Whether the names are addresses: they can be exposed as they are or hidden, never changed.
    pub fn keeps_names(self) -> bool {
        matches!(self, Self::Resource | Self::ResourceTemplate)
    }
}

/// One capability of one backend, after the overrides of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contender {
    /// The backend's name as the configuration has it.
    pub backend: String,
    /// The backend's name made of `[A-Za-z0-9_-]` only; unique among the backends.
    pub slug: String,
    /// The name to decide about: the backend's own, or the one an override gave.
    pub name: String,
    /// The name by which the backend knows it.
    pub original_name: String,
    /// Title for people.
    pub title: Option<String>,
    /// What it does, in the backend's words.
    pub description: Option<String>,
    /// The annotations as JSON text; empty when there are none.
    pub annotations: String,
    /// Equal digests take equal arguments.
    pub schema_digest: String,
    /// `metadata` of the backend in the configuration, a JSON object as text.
    pub backend_metadata: String,
    /// JSON text with what later hosts say beyond the fields above; empty when there is nothing.
    pub extra: String,
}

impl Contender {
    /// A contender of `backend` that is named `name`; all else is empty. For unit tests.
    pub fn new(backend: impl Into<String>, name: impl Into<String>) -> Self {
        let (backend, name) = (backend.into(), name.into());
        let slug = NameRule::Strict.replace_illegal(&backend);
        Self { slug, original_name: name.clone(), backend, name, ..Self::default() }
    }
}

/// What is to happen with one contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// The decision.
    pub decision: Decision,
    /// Why, in a few words for people, e.g. `also offered by jira`. `vmcp-host tools` shows it.
    pub why: String,
}

/// Advertise or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Advertise under this name.
    Expose(String),
    /// Do not advertise.
    Hide,
}

impl Resolution {
    /// Advertise under `name`.
    pub fn expose(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { decision: Decision::Expose(name.into()), why: why.into() }
    }

    /// Do not advertise.
    pub fn hide(why: impl Into<String>) -> Self {
        Self { decision: Decision::Hide, why: why.into() }
    }

    /// The name to advertise, if any.
    pub fn name(&self) -> Option<&str> {
        match &self.decision {
            Decision::Expose(name) => Some(name),
            Decision::Hide => None,
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResolveError {
    /// These names have no unique owner and the component will not choose one. An entry may name the claimants too:
    /// `search (github, jira)`.
    Unresolved(Vec<String>),
    /// The config cannot be used.
    Config(String),
    /// Anything else.
    Other(String),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(names) => write!(f, "no unique owner: {}", names.join(", ")),
            Self::Config(message) | Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ResolveError {}

/// [`ConflictResolver`] as what a component exports.
#[doc(hidden)]
pub struct World<R>(PhantomData<R>);

impl<R: ConflictResolver> Worlds for World<R> {
    fn describe() -> Vec<(&'static str, String)> {
        vec![(WORLD, config_schema::<R>())]
    }

    fn check_config(world: &str, config: &str) -> Option<Vec<ConfigProblem>> {
        (world == WORLD).then(|| load_config(config, R::check).err().unwrap_or_default())
    }
}

/// Makes a [`ConflictResolver`] the component's export; once per crate. Name, version and summary are the crate's
/// `name`, `version` and `description`.
#[macro_export]
macro_rules! register_conflict_resolver {
    ($resolver:ty) => {
        $crate::__register!($crate::conflict::World<$resolver>, conflict: $resolver);
    };
}
