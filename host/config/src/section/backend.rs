//! `backends`: the MCP servers behind the host.
//!
//! The file keeps transport and address side by side, as the reference format has them; [`BackendEntry`] reads that and
//! [`BackendEntry::into_config`] makes the [`TransportConfig`] of it.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;
use vmcp_core::id::BackendId;

use crate::value::{duration::GoDuration, secret::Secret};

/// Calls that may wait for one backend at a time, unless it says otherwise.
pub(crate) const DEFAULT_MAX_CONCURRENCY: usize = 64;
/// Sessions that may be open to one backend for one identity, unless it says otherwise.
pub(crate) const DEFAULT_MAX_PROCESSES: usize = 4;
/// Longest wait for a backend to start, unless it says otherwise.
pub(crate) const DEFAULT_START_TIMEOUT: GoDuration = GoDuration::from_secs(120);

/// One MCP server behind the host.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// Name in logs, metrics and prefixed tool names.
    pub name: BackendId,
    /// How the host reaches it.
    pub transport: TransportConfig,
    /// Sent with every request of an HTTP transport.
    pub headers: IndexMap<String, Secret>,
    /// Certificates to trust besides the system's.
    pub ca_bundle_path: Option<PathBuf>,
    /// Longest wait for one reply; [`Config::request_timeout`](super::Config::request_timeout) has the one in force.
    pub request_timeout: Option<GoDuration>,
    /// Longest wait for it to start and shake hands.
    pub start_timeout: GoDuration,
    /// An unused session ends after this; absent: never.
    pub idle_timeout: Option<GoDuration>,
    /// Starts on the first call rather than with the host.
    pub lazy: bool,
    /// Calls that may wait for it at a time.
    pub max_concurrency: usize,
    /// Sessions (for stdio: processes) that may be open to it for one identity.
    pub max_processes: usize,
    /// Whether identities share its sessions.
    pub sessions: SessionSharing,
    /// How its resources are named.
    pub resources: ResourceNaming,
    /// What the user keeps with it; conflict resolvers see it.
    pub metadata: IndexMap<String, String>,
}

/// How the host reaches a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum TransportConfig {
    /// A child process that speaks over its standard input and output.
    Stdio {
        command: PathBuf,
        args: Vec<String>,
        /// Set for the child, on top of the few variables every child inherits.
        env: IndexMap<String, Secret>,
        /// Names of variables that the child inherits as they are.
        env_from: Vec<String>,
        /// Working folder; absent: the host's.
        cwd: Option<PathBuf>,
    },
    /// Streamable HTTP.
    StreamableHttp { url: Url },
    /// The older HTTP with Server-Sent Events.
    Sse { url: Url },
}

impl TransportConfig {
    /// As the file writes it: `stdio`, `streamable-http` or `sse`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stdio { .. } => "stdio",
            Self::StreamableHttp { .. } => "streamable-http",
            Self::Sse { .. } => "sse",
        }
    }

    /// The address of an HTTP transport.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Stdio { .. } => None,
            Self::StreamableHttp { url } | Self::Sse { url } => Some(url),
        }
    }
}

/// Whether identities share a backend's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SessionSharing {
    /// One set of sessions for all clients: for servers that keep nothing of a client.
    Shared,
    /// Each identity has sessions of its own.
    #[default]
    PerIdentity,
}

/// How a backend's resources are named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceNaming {
    /// Put in front of every resource URI of this backend, e.g. `work+`: serves two accounts of one server.
    #[schemars(length(min = 1))]
    pub uri_prefix: Option<String>,
}

/// The word of the file for a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TransportKind {
    /// A child process that speaks over its standard input and output.
    Stdio,
    /// Streamable HTTP, what current servers speak.
    StreamableHttp,
    /// The older HTTP with Server-Sent Events.
    Sse,
}

/// What kind of thing a backend is in the reference system; the host treats all alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendType {
    Entry,
}

/// One MCP server behind the host.
///
/// Either a process (`command`) or an address (`url`). `transport` may be left out: `command` means `stdio`, `url` means
/// `streamable-http`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Backend")]
pub(crate) struct BackendEntry {
    /// Name in logs, metrics and prefixed tool names: 1 to 253 bytes, no control characters, no `/`. Unique, also after
    /// every character outside `[A-Za-z0-9_-]` became `_`.
    #[schemars(extend("format" = "backend-name", "x-expect" = "a backend name"))]
    pub(crate) name: String,
    /// How the host reaches it.
    pub(crate) transport: Option<TransportKind>,
    /// Address of an HTTP transport, `http://` or `https://`.
    #[schemars(extend("format" = "http-url", "x-expect" = "an address like `https://host/mcp`"))]
    pub(crate) url: Option<String>,
    /// Program to start for `stdio`: looked up on PATH, or relative to this file when it contains a `/`.
    #[schemars(length(min = 1))]
    pub(crate) command: Option<String>,
    /// Arguments of `command`.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// Environment of the process, besides PATH, HOME, USER, LANG and TMPDIR, which every process inherits, and
    /// `VMCP_HOST_CHILD`, by which the host finds its processes again.
    #[serde(default)]
    pub(crate) env: IndexMap<String, Secret>,
    /// Names of environment variables that the process inherits from the host.
    #[serde(default)]
    pub(crate) env_from: Vec<String>,
    /// Working folder of the process, relative to this file; absent: the host's own.
    pub(crate) cwd: Option<PathBuf>,
    /// Headers sent with every request of an HTTP transport.
    #[serde(default)]
    pub(crate) headers: IndexMap<String, Secret>,
    /// PEM file of certificates to trust besides the system's. The reference system wants an absolute path; here it may
    /// also be relative to this file. `..` is refused.
    #[schemars(length(min = 1))]
    pub(crate) ca_bundle_path: Option<PathBuf>,
    /// Longest wait for one reply. `operational.timeouts.perWorkload` beats it; absent: `operational.timeouts.default`.
    pub(crate) request_timeout: Option<GoDuration>,
    /// Longest wait for it to start and shake hands: long, since a first `npx` or `uvx` downloads.
    #[serde(default = "default_start_timeout")]
    pub(crate) start_timeout: GoDuration,
    /// An unused session (for `stdio`: the process) ends after this. Absent: never.
    pub(crate) idle_timeout: Option<GoDuration>,
    /// Starts on the first call rather than with the host. Its tools are those last seen.
    #[serde(default)]
    pub(crate) lazy: bool,
    /// Calls that may wait for it at a time; further ones queue.
    #[serde(default = "default_max_concurrency")]
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) max_concurrency: usize,
    /// Sessions (for `stdio`: processes) open to it for one identity, where a session serves one call at a time.
    #[serde(default = "default_max_processes")]
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) max_processes: usize,
    /// Whether identities share its sessions.
    #[serde(default)]
    pub(crate) sessions: SessionSharing,
    /// How its resources are named.
    #[serde(default)]
    pub(crate) resources: ResourceNaming,
    /// Absent or `entry`; the host treats both alike.
    #[serde(rename = "type")]
    #[expect(dead_code, reason = "part of the reference format, without a meaning here")]
    pub(crate) kind: Option<BackendType>,
    /// Anything to keep with the backend; conflict resolvers see it.
    #[serde(default)]
    pub(crate) metadata: IndexMap<String, String>,
}

fn default_start_timeout() -> GoDuration {
    DEFAULT_START_TIMEOUT
}

fn default_max_concurrency() -> usize {
    DEFAULT_MAX_CONCURRENCY
}

fn default_max_processes() -> usize {
    DEFAULT_MAX_PROCESSES
}

impl BackendEntry {
    /// An entry of which only the name is known.
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            transport: None,
            url: None,
            command: None,
            args: Vec::new(),
            env: IndexMap::new(),
            env_from: Vec::new(),
            cwd: None,
            headers: IndexMap::new(),
            ca_bundle_path: None,
            request_timeout: None,
            start_timeout: DEFAULT_START_TIMEOUT,
            idle_timeout: None,
            lazy: false,
            max_concurrency: DEFAULT_MAX_CONCURRENCY,
            max_processes: DEFAULT_MAX_PROCESSES,
            sessions: SessionSharing::default(),
            resources: ResourceNaming::default(),
            kind: None,
            metadata: IndexMap::new(),
        }
    }

    /// The transport that is meant, written or not.
    pub(crate) fn transport_kind(&self) -> Option<TransportKind> {
        self.transport.or(match (&self.command, &self.url) {
            (Some(_), None) => Some(TransportKind::Stdio),
            (None, Some(_)) => Some(TransportKind::StreamableHttp),
            _ => None,
        })
    }

    /// The typed backend, paths relative to `base`. `None` for an entry that validation refuses.
    pub(crate) fn into_config(self, base: &Path) -> Option<BackendConfig> {
        let name = BackendId::new(&self.name).ok()?;
        let url = || Url::parse(self.url.as_deref()?).ok();
        let rebased = |secrets: IndexMap<String, Secret>| -> IndexMap<String, Secret> {
            let rebase = |(name, mut secret): (String, Secret)| {
                secret.rebase(base);
                (name, secret)
            };
            secrets.into_iter().map(rebase).collect()
        };
        let transport = match self.transport_kind()? {
            TransportKind::StreamableHttp => TransportConfig::StreamableHttp { url: url()? },
            TransportKind::Sse => TransportConfig::Sse { url: url()? },
            TransportKind::Stdio => TransportConfig::Stdio {
                command: program(&self.command?, base),
                args: self.args,
                env: rebased(self.env),
                env_from: self.env_from,
                cwd: self.cwd.map(|cwd| base.join(cwd)),
            },
        };
        Some(BackendConfig {
            name,
            transport,
            headers: rebased(self.headers),
            ca_bundle_path: self.ca_bundle_path.map(|path| base.join(path)),
            request_timeout: self.request_timeout,
            start_timeout: self.start_timeout,
            idle_timeout: self.idle_timeout,
            lazy: self.lazy,
            max_concurrency: self.max_concurrency,
            max_processes: self.max_processes,
            sessions: self.sessions,
            resources: self.resources,
            metadata: self.metadata,
        })
    }
}

/// Headers that the transport sets for each request. Client files carry some of them; they have no effect.
pub(crate) fn is_owned_by_the_transport(header: &str) -> bool {
    let owned = ["accept", "connection", "content-length", "content-type", "host", "transfer-encoding"];
    let header = header.to_lowercase();
    owned.contains(&header.as_str()) || header.starts_with("mcp-")
}

/// A bare name is for PATH to find; anything with a separator is a path.
fn program(command: &str, base: &Path) -> PathBuf {
    if command.contains(std::path::is_separator) { base.join(command) } else { command.into() }
}
