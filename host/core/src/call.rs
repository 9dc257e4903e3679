//! Calls to backends: how they end when they bring no reply.

use std::time::Duration;

use crate::{BoxError, id::BackendId, json::RawJson};

/// What a backend replied. Both are replies: an error of the backend is the client's to see, untouched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The `result`.
    Result(RawJson),
    /// The JSON-RPC `error` object.
    Error(RawJson),
}

/// Why a call brought no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No reply within the time allowed; the call may have had effects.
    #[error("backend `{backend}` did not reply within {after:?}")]
    Timeout { backend: BackendId, after: Duration },
    /// The connection broke before a reply came; the call may have had effects.
    #[error("lost the connection to backend `{backend}`")]
    ConnectionLost { backend: BackendId, source: BoxError },
    /// The backend is not running or cannot be reached; the call was not made.
    #[error("backend `{backend}` is not available: {reason}")]
    Unavailable { backend: BackendId, reason: String },
    /// Too many calls are under way at this backend; the call was not made.
    #[error("backend `{backend}` is busy: {limit} is its {what}, and they are all in use")]
    Busy { backend: BackendId, limit: usize, what: &'static str },
    /// The reply is longer than allowed.
    #[error("the reply of backend `{backend}` is longer than {limit} bytes (`server.replyLimit`)")]
    ReplyTooLarge { backend: BackendId, limit: usize },
    /// The backend answered with something that is no MCP.
    #[error("backend `{backend}` broke the protocol: {what}")]
    Protocol { backend: BackendId, what: String },
    /// The backend asked for credentials that the configuration does not give.
    #[error("backend `{backend}` refused access (HTTP {status})")]
    Refused { backend: BackendId, status: u16 },
}

impl CallError {
    pub fn backend(&self) -> &BackendId {
        match self {
            Self::Timeout { backend, .. }
            | Self::ConnectionLost { backend, .. }
            | Self::Unavailable { backend, .. }
            | Self::Busy { backend, .. }
            | Self::ReplyTooLarge { backend, .. }
            | Self::Protocol { backend, .. }
            | Self::Refused { backend, .. } => backend,
        }
    }

    /// The kind as one word, for `error.data.kind` and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Timeout { .. } => "timeout",
            Self::ConnectionLost { .. } => "connectionLost",
            Self::Unavailable { .. } => "unavailable",
            Self::Busy { .. } => "busy",
            Self::ReplyTooLarge { .. } => "replyTooLarge",
            Self::Protocol { .. } => "protocol",
            Self::Refused { .. } => "refused",
        }
    }
}
