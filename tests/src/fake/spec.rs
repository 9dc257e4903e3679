//! What a fake backend is asked to be. One JSON document, handed to the `fake-backend` binary as its only argument.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::era::Era;

/// One fake MCP server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct FakeSpec {
    /// Written into every reply, so that a test sees who answered.
    pub name: String,
    pub era: Era,
    pub transport: Transport,
    /// Port to listen on; 0 for a free one. Unused with stdio.
    pub port: u16,
    pub tools: Vec<FakeTool>,
    /// One definition per line, each of a tool that answers with its arguments.
    pub tools_file: Option<PathBuf>,
    pub prompts: Vec<String>,
    /// URIs.
    pub resources: Vec<String>,
    pub instructions: Option<String>,
    /// Tools per page of `tools/list`; all on one page when absent.
    pub page_size: Option<usize>,
    /// Answers every page with the same cursor.
    pub repeats_cursor: bool,
    /// Reads its first message once this file exists.
    pub starts_with: Option<PathBuf>,
    /// Writes seven lines to stderr and exits with this code when the handshake comes.
    pub dies_in_handshake: Option<i32>,
    /// Exits at once while this file exists.
    pub down_while: Option<PathBuf>,
    /// Goes on after EOF and SIGTERM.
    pub outlives_eof: bool,
    /// Appends its process id, one per line and start.
    pub pid_file: Option<PathBuf>,
    /// Starts a child of its own that ignores everything, and appends that id to `pid_file` too.
    pub has_grandchild: bool,
    /// Appends a line for each call that begins and one for how it came to its end; a `Recording` reads them.
    pub record: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Transport {
    #[default]
    Stdio,
    /// Streamable HTTP at `/mcp`.
    Http,
    /// The older HTTP+SSE at `/sse`.
    Sse,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FakeTool {
    pub name: String,
    pub behaviour: Behaviour,
    /// Keys of its definition beside the name, in place of those that a fake makes up.
    #[serde(default)]
    pub definition: Option<Value>,
}

/// What a scripted tool says to one call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ScriptedReply {
    pub delay_ms: u64,
    /// A whole result of `tools/call`.
    pub result: Value,
    /// A JSON-RPC error, in place of a result.
    pub error: Option<Value>,
}

impl ScriptedReply {
    pub fn result(result: Value) -> Self {
        Self { result, ..Self::default() }
    }

    pub fn structured(structured: &Value) -> Self {
        let content = [json!({ "type": "text", "text": structured.to_string() })];
        Self::result(json!({ "content": content, "structuredContent": structured }))
    }

    pub fn text(text: &str) -> Self {
        Self::result(json!({ "content": [{ "type": "text", "text": text }] }))
    }

    /// A result that is an error.
    pub fn failure(text: &str) -> Self {
        Self::result(json!({ "content": [{ "type": "text", "text": text }], "isError": true }))
    }

    /// A JSON-RPC error.
    pub fn error(message: &str) -> Self {
        Self { error: Some(json!({ "code": -32099, "message": message })), ..Self::default() }
    }

    #[must_use]
    pub fn after_ms(self, delay_ms: u64) -> Self {
        Self { delay_ms, ..self }
    }
}

/// What a tool does when it is called.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Behaviour {
    /// Answers with its arguments as JSON text, or with `size` letters when that argument is given.
    Echo,
    /// Fields that no revision knows, an unknown content type, an unknown audience role.
    Strange,
    /// One PNG pixel.
    Image,
    /// A result with `isError`.
    ToolError,
    /// A JSON-RPC error with `data`.
    RpcError,
    /// The client's half of the handshake: its `initialize` params or the `_meta` of this call, in the modern era with the
    /// HTTP headers of the call as `example.com/headers`.
    Handshake,
    Never,
    Late {
        ms: u64,
    },
    Big {
        bytes: usize,
    },
    /// A reply to a request that nobody made, and none to this one.
    WrongId,
    /// Exits without a reply.
    Die,
    /// Writes so much to stderr, then answers.
    FloodStderr {
        bytes: usize,
    },
    /// Adds a tool `added_N` and says that the list changed.
    AddTool,
    Progress {
        every_ms: u64,
        times: u32,
    },
    /// Waits until this tool was called so often: then all calls are under way at the same time.
    Meet {
        calls: u64,
    },
    /// Waits until `tool` was called `atLeast` so often, as the arguments say.
    Calls,
    /// Waits until as many calls were cancelled as the argument `atLeast` says.
    Cancellations,
    /// Each call gets the next reply, and those beyond the last get the last.
    Scripted {
        replies: Vec<ScriptedReply>,
    },
}
