//! `call_tool` as clients see it: its definition, and which call its arguments stand for.

use serde_json::json;
use vmcp_core::json::RawJson;

/// Advertised in place of the catalog.
pub const CALL_TOOL: &str = "call_tool";

const DESCRIPTION: &str = "Runs a tool that `find_tool` found.";

/// The tool as `tools/list` shows it.
///
/// - `description`: in place of the usual one
pub fn definition(description: Option<&str>) -> RawJson {
    RawJson::of(&json!({
        "name": CALL_TOOL,
        "title": "Call a tool",
        "description": description.unwrap_or(DESCRIPTION),
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_name": { "type": "string", "description": "Its name" },
                "parameters": { "type": "object", "description": "Its arguments, as its input schema asks for them" },
            },
            "required": ["tool_name", "parameters"],
        },
    }))
}
