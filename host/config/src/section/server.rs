//! `server`: limits and checks of the side that clients see.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{duration::GoDuration, size::ByteSize};

/// Limits and checks of the side that clients see.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Server")]
pub struct ServerConfig {
    /// Largest request body.
    pub body_limit: ByteSize,
    /// Largest reply of a backend that is passed on.
    pub reply_limit: ByteSize,
    /// Bytes of requests and replies that the whole process holds at a time.
    pub bytes_in_flight: ByteSize,
    /// Longest wait for running calls when the host stops.
    pub shutdown_grace: GoDuration,
    /// How long a call waits for what its client, and the person before it, is asked in its course.
    pub input_timeout: GoDuration,
    /// Values of the `Host` header that are accepted besides the address listened on.
    pub allowed_hosts: Vec<String>,
    /// Values of the `Origin` header that are accepted besides the host's own.
    pub allowed_origins: Vec<String>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            body_limit: ByteSize::from_mib(8),
            reply_limit: ByteSize::from_mib(100),
            bytes_in_flight: ByteSize::from_mib(512),
            shutdown_grace: GoDuration::from_secs(2),
            input_timeout: GoDuration::from_secs(600),
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
        }
    }
}
