//! The two eras of the protocol as a client or a server of a test speaks them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub const LEGACY_REVISION: &str = "2025-11-25";
pub const MODERN_REVISION: &str = "2026-07-28";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Era {
    /// `initialize`, then a session.
    #[default]
    Legacy,
    /// 2026-07-28: every request carries its context.
    Modern,
}

/// Params of `initialize`.
pub fn initialize_params(capabilities: &Value) -> Value {
    json!({
        "protocolVersion": LEGACY_REVISION,
        "capabilities": capabilities,
        "clientInfo": { "name": "vmcp-tests", "version": "1" },
    })
}

/// Adds what a modern request must carry to `params._meta`.
pub fn add_modern_meta(params: &mut Value, capabilities: &Value) {
    if !params.is_object() {
        *params = json!({});
    }
    let meta = &mut params["_meta"];
    if !meta.is_object() {
        *meta = json!({});
    }
    meta["io.modelcontextprotocol/protocolVersion"] = json!(MODERN_REVISION);
    meta["io.modelcontextprotocol/clientCapabilities"] = capabilities.clone();
    meta["io.modelcontextprotocol/clientInfo"] = json!({ "name": "vmcp-tests", "version": "1" });
}
