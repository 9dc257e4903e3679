//! What a backend is made from: the resolved configuration of one, and what all of them share.

use std::{path::PathBuf, time::Duration};

use http::HeaderMap;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;
use vmcp_core::{id::BackendId, json::RawJson};

use crate::watcher::Watcher;

/// How the host reaches one backend: what the configuration says, resolved.
#[derive(Clone)]
pub struct BackendSpec {
    pub id: BackendId,
    pub transport: Transport,
    /// Longest wait for a reply, counted anew with every progress notification.
    pub request_timeout: Duration,
    /// Longest wait for the backend to start and shake hands: a first `npx` or `uvx` downloads.
    pub start_timeout: Duration,
    /// A stdio backend without calls for so long is ended; the next call starts it.
    pub idle_timeout: Option<Duration>,
    /// Connect with the first call only.
    pub lazy: bool,
    /// Calls under way at once; more wait in line.
    pub max_concurrency: usize,
    /// Processes per client and capability set, where a process can serve one call at a time only; 64 in all, of which those
    /// that nobody uses give way.
    pub max_processes: usize,
    /// All clients share the backend's sessions, whoever they are.
    pub shared_sessions: bool,
    /// Longest message taken from the backend, in bytes.
    pub reply_limit: usize,
}

/// The way to a backend. It holds credentials, so it has no `Debug`.
#[derive(Clone)]
pub enum Transport {
    Stdio {
        /// A program on `PATH` or a path; `vmcp-host` is this very executable.
        command: String,
        args: Vec<String>,
        /// The environment, beside the few inherited variables that nearly every program needs.
        env: Vec<(String, String)>,
        cwd: Option<PathBuf>,
    },
    StreamableHttp {
        url: Url,
        headers: HeaderMap,
        /// PEM file of certificate authorities to trust beside those of the system.
        ca_bundle: Option<PathBuf>,
    },
    /// The HTTP+SSE transport of 2024-11-05.
    Sse { url: Url, headers: HeaderMap, ca_bundle: Option<PathBuf> },
}

impl Transport {
    /// Whether any configured header goes with every request.
    pub fn sends_credentials(&self) -> bool {
        match self {
            Self::Stdio { .. } => false,
            Self::StreamableHttp { headers, .. } | Self::Sse { headers, .. } => !headers.is_empty(),
        }
    }

    /// The name that the configuration uses.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Stdio { .. } => "stdio",
            Self::StreamableHttp { .. } => "streamable-http",
            Self::Sse { .. } => "sse",
        }
    }
}

/// What all backends share; built once.
pub struct BackendContext {
    /// The `clientInfo` of the host, since the host is the client of every backend.
    pub host_info: RawJson,
    /// Ends the processes when the host cannot; `None` where nothing is started, or in tests.
    pub watcher: Option<Watcher>,
    pub tasks: TaskTracker,
    /// How long a backend waits for an answer of a client.
    pub input_timeout: Duration,
    pub shutdown: CancellationToken,
}
