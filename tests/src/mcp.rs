//! What both clients can do, and a reply as it came.

use serde_json::{Value, json};

/// Sends requests to an MCP server.
pub trait Mcp: Sync {
    fn request(&self, method: &str, params: Value) -> impl Future<Output = Reply> + Send;

    fn call(&self, tool: &str, arguments: Value) -> impl Future<Output = Reply> + Send {
        async move { self.request("tools/call", json!({ "name": tool, "arguments": arguments })).await }
    }

    /// Every entry of a list, over all its pages; `key` is its name in the result, e.g. `tools` of `tools/list`.
    fn list(&self, method: &str, key: &str) -> impl Future<Output = Vec<Value>> + Send {
        async move {
            let mut entries = Vec::new();
            let mut params = json!({});
            loop {
                let reply = self.request(method, params).await;
                let result = reply.result();
                entries
                    .extend(result[key].as_array().unwrap_or_else(|| panic!("no {key} in {result}")).iter().cloned());
                match &result["nextCursor"] {
                    Value::Null => return entries,
                    cursor => params = json!({ "cursor": cursor }),
                }
            }
        }
    }

    fn tools(&self) -> impl Future<Output = Vec<Value>> + Send {
        self.list("tools/list", "tools")
    }

    /// Names in the order of the list.
    fn tool_names(&self) -> impl Future<Output = Vec<String>> + Send {
        async { self.tools().await.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect() }
    }
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The whole JSON-RPC message.
    pub message: Value,
    /// The same, byte for byte.
    pub raw: String,
    /// HTTP status; 200 on stdio.
    pub status: u16,
    /// What came before it on the same stream.
    pub notifications: Vec<Value>,
}

impl Reply {
    pub fn new(raw: String, status: u16, notifications: Vec<Value>) -> Self {
        let message =
            serde_json::from_str(&raw).unwrap_or_else(|error| panic!("HTTP {status}: {raw:?} is not JSON: {error}"));
        Self { message, raw, status, notifications }
    }

    #[track_caller]
    pub fn result(&self) -> &Value {
        assert!(self.message.get("result").is_some(), "no result: {}", self.short());
        &self.message["result"]
    }

    #[track_caller]
    pub fn error(&self) -> &Value {
        assert!(self.message.get("error").is_some(), "no error: {}", self.short());
        &self.message["error"]
    }

    /// `error.data.kind`: why a backend brought no reply.
    #[track_caller]
    pub fn error_kind(&self) -> &str {
        let error = self.error();
        assert_eq!(error["code"], -32001, "not an error about a backend: {}", self.short());
        error["data"]["kind"].as_str().unwrap_or_else(|| panic!("no kind: {}", self.short()))
    }

    /// The text of the first content block.
    #[track_caller]
    pub fn text(&self) -> &str {
        self.result()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {}", self.short()))
    }

    /// Which fake backend answered.
    #[track_caller]
    pub fn answered_by(&self) -> &str {
        let name = &self.result()["_meta"]["example.com/answeredBy"];
        name.as_str().unwrap_or_else(|| panic!("no fake backend answered: {}", self.short()))
    }

    fn short(&self) -> String {
        self.raw.chars().take(600).collect()
    }
}
