//! Where a backend stands, for status pages and `doctor`.

use serde::Serialize;
use vmcp_core::{id::BackendId, json::RawJson};
use vmcp_mcp::{era::Era, object::Object};

use crate::{handshake::BackendInfo, message::BackendState};

/// A backend at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendReport {
    pub name: BackendId,
    /// `idle`, `starting`, `ready`, `failed` or `stopped`.
    pub state: &'static str,
    pub transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<Era>,
    /// Protocol revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// Processes that run for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pids: Vec<u32>,
    /// Times that it was connected anew.
    pub restarts: u64,
    /// Also of an earlier failure that is overcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What to do about the present failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Until the next try, in milliseconds, counted from the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
    /// From the last start to the end of the handshake, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Calls under way.
    pub in_flight: usize,
}

/// What a backend keeps for its reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub(crate) restarts: u64,
    pub(crate) last_error: Option<String>,
    pub(crate) start_ms: Option<u64>,
}

impl BackendReport {
    pub(crate) fn new(
        name: BackendId,
        transport: &'static str,
        state: &BackendState,
        record: Record,
        pids: Vec<u32>,
        in_flight: usize,
    ) -> Self {
        let info = if let BackendState::Ready(info) = state { Some(info.as_ref()) } else { None };
        let (hint, retry_in_ms) = match state {
            BackendState::Failed { hint, retry_in, .. } => (hint.clone(), u64::try_from(retry_in.as_millis()).ok()),
            _ => (None, None),
        };
        Self {
            name,
            state: state.label(),
            transport,
            era: info.map(|info| info.era),
            revision: info.map(|info| info.revision.clone()),
            server_name: info.and_then(|info| said(info, "name")),
            server_version: info.and_then(|info| said(info, "version")),
            pids,
            restarts: record.restarts,
            last_error: record.last_error,
            hint,
            retry_in_ms,
            start_ms: record.start_ms,
            in_flight,
        }
    }
}

fn said(info: &BackendInfo, key: &str) -> Option<String> {
    let server_info: &RawJson = &info.server_info;
    Object::parse_lenient(Some(server_info)).get_string(key)
}
