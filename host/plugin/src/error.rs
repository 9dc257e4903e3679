//! Why a component could not be loaded or did not answer. Every variant names the component.

use vmcp_core::{BoxError, extension::ComponentConfigProblem};

use crate::limits::Limit;

/// Why a component could not be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// This machine or build cannot run components at all.
    #[error("the WebAssembly engine could not be set up")]
    Engine { source: BoxError },
    /// The bytes are neither a component nor a core module.
    #[error("component `{component}` ({origin}) is no WebAssembly file: it begins with {begins}")]
    NotWasm { component: String, origin: String, begins: String },
    /// The bytes are a core module, the older and lower-level format.
    #[error("component `{component}` ({origin}) is a core WebAssembly module, not a component")]
    CoreModule { component: String, origin: String },
    /// The file is larger than what the host compiles.
    #[error("component `{component}` ({origin}) has {size} bytes, {allowed} are allowed")]
    TooLarge { component: String, origin: String, size: usize, allowed: usize },
    /// The bytes are not the ones the configuration names.
    #[error("component `{component}` ({origin}) has sha256 {actual}, the configuration says {expected}")]
    DigestMismatch { component: String, origin: String, expected: String, actual: String },
    /// The compiler refused the bytes.
    #[error("component `{component}` ({origin}) does not compile")]
    Compile { component: String, origin: String, source: BoxError },
    /// The component wants something that this host does not have.
    #[error("component `{component}` imports {}, which this host does not offer", quoted(.imports))]
    UnknownImport { component: String, imports: Vec<String> },
    /// The component wants another, incompatible version of something that this host has.
    #[error("component `{component}` imports `{import}`, this host offers `{offered}`")]
    IncompatibleImport { component: String, import: String, offered: String },
    /// The component imports WASI, which needs a grant.
    #[error("component `{component}` imports {}, which nothing grants it", quoted(.imports))]
    WasiNotGranted {
        component: String,
        imports: Vec<String>,
        /// The line of the component's entry that would grant what it imports.
        line: String,
    },
    /// A pattern in `grants.wasi` cannot be read.
    #[error("component `{component}`: `{pattern}` in `grants.wasi` is no pattern")]
    BadGrant { component: String, pattern: String, source: BoxError },
    /// The component lacks an interface that it has to export.
    #[error("component `{component}` does not export `{interface}`")]
    MissingExport { component: String, interface: String },
    /// The component exports another, incompatible version of an interface.
    #[error("component `{component}` exports `{export}`, this host accepts `{accepted}`")]
    IncompatibleExport { component: String, export: String, accepted: String },
    /// An import or export has the right name, but other functions or types than the interface.
    #[error("component `{component}` does not fit the interfaces of this host")]
    Mismatch { component: String, source: BoxError },
    /// The component used more than it may, and was stopped.
    #[error("component `{component}` exceeded its limit of {limit} in `{during}`")]
    LimitExceeded { component: String, during: &'static str, limit: Limit },
    /// The component panicked or did something illegal.
    #[error("component `{component}` failed in `{during}`: {}", .said.as_deref().unwrap_or(.trap))]
    Trapped {
        component: String,
        during: &'static str,
        /// What it logged as an error before, usually the panic message.
        said: Option<String>,
        trap: String,
    },
    /// The component answered, but not as its interface asks.
    #[error("component `{component}` gave a wrong answer to `{during}`: {message}")]
    BadReply { component: String, during: &'static str, message: String },
    /// The component does not accept its config.
    #[error("component `{component}` does not accept its config: {}", described(.problems))]
    ConfigRefused { component: String, problems: Vec<ComponentConfigProblem> },
}

impl PluginError {
    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotWasm { .. } => {
                "give the path of a built component, a binary `.wasm` file; text files are built with `wasm-tools parse`".into()
            }
            Self::CoreModule { .. } => "turn it into a component with `wasm-tools component new FILE -o COMPONENT`, or build \
                                        it for `wasm32-wasip2`"
                .into(),
            Self::TooLarge { .. } => "build it with optimisation for size and without debug information".into(),
            Self::DigestMismatch { actual, .. } => {
                format!("if the file is the one you mean, write `sha256: {actual}`")
            }
            Self::UnknownImport { .. } => {
                "`vmcp-host plugin inspect FILE` lists what a component imports; without a grant it may import `vmcp:host/log` only"
                    .into()
            }
            Self::WasiNotGranted { line, .. } => format!("to allow it, add to its entry under `plugins`: {line}"),
            Self::BadGrant { .. } => "write it like `wasi:clocks/*`".into(),
            Self::IncompatibleImport { .. } | Self::IncompatibleExport { .. } => {
                "build the component with the SDK of this host's version, or use a host of the component's".into()
            }
            Self::MissingExport { .. } => "the SDK's register macros export it".into(),
            Self::LimitExceeded { limit, .. } => {
                let key = limit.key()?;
                format!("if the component needs more, raise `limits.{key}` of its entry under `plugins`")
            }
            Self::Trapped { .. } => "the log has the component's backtrace at level debug".into(),
            Self::Engine { .. }
            | Self::Compile { .. }
            | Self::Mismatch { .. }
            | Self::BadReply { .. }
            | Self::ConfigRefused { .. } => return None,
        })
    }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn described(problems: &[ComponentConfigProblem]) -> String {
    let describe = |problem: &ComponentConfigProblem| match problem.pointer.as_str() {
        "" => problem.message.clone(),
        pointer => format!("{pointer}: {}", problem.message),
    };
    problems.iter().map(describe).collect::<Vec<_>>().join("; ")
}
