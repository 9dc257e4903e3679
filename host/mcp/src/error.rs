//! The JSON-RPC errors that the host itself answers with.

use serde_json::{Value, json};
use vmcp_core::json::RawJson;

use crate::era::Revision;

pub const PARSE_ERROR: i64 = -32700;
pub const INVALID_REQUEST: i64 = -32600;
pub const METHOD_NOT_FOUND: i64 = -32601;
pub const INVALID_PARAMS: i64 = -32602;
pub const INTERNAL_ERROR: i64 = -32603;
/// Legacy revisions only; 2026-07-28 says [`INVALID_PARAMS`].
pub const RESOURCE_NOT_FOUND: i64 = -32002;
pub const HEADER_MISMATCH: i64 = -32020;
pub const MISSING_CLIENT_CAPABILITY: i64 = -32021;
pub const UNSUPPORTED_PROTOCOL_VERSION: i64 = -32022;
/// A backend brought no reply; `data.kind` says why.
pub const BACKEND_FAILED: i64 = -32001;

/// The `error` member of a response that the host authors.
#[derive(Clone, Debug, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Option<Value>,
}

impl RpcError {
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    #[must_use]
    pub fn with_data(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }

    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("method `{method}` is not supported"))
    }

    /// The client speaks a revision that the host does not.
    pub fn unsupported_version(requested: &str) -> Self {
        let supported: Vec<_> = Revision::ALL.iter().rev().map(|revision| revision.as_str()).collect();
        Self::new(UNSUPPORTED_PROTOCOL_VERSION, format!("protocol version `{requested}` is not supported"))
            .with_data(json!({ "supported": supported, "requested": requested }))
    }

    pub fn to_json(&self) -> RawJson {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        RawJson::of(&error)
    }
}
