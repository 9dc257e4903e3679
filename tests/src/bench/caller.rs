//! A client that costs next to nothing: one kept-alive connection, one request at a time, replies looked at but not parsed.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http1::SendRequest};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stats::Latencies;
use crate::{
    era::{LEGACY_REVISION, MODERN_REVISION, add_modern_meta},
    http::{connect, split_url},
};

/// Has all `callers` call for `time`, at the same time, each one call after the other. They are connected before the clock
/// starts.
pub(super) async fn drive(callers: Vec<Caller>, time: Duration) -> Latencies {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for mut caller in callers {
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while start.elapsed() < time {
                latencies.push(caller.call().await.unwrap());
            }
            latencies
        });
    }
    let mut all = Latencies::default();
    while let Some(part) = tasks.join_next().await {
        all.merge(&part.unwrap());
    }
    all.took = start.elapsed();
    all
}

/// Calls one tool over and over.
pub(super) struct Caller {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    path: String,
    tool: String,
    /// Of a legacy session; without one the calls are modern.
    session: Option<String>,
    /// The message up to its id, which comes last.
    body: String,
    params: Value,
    next_id: u64,
}

impl Caller {
    /// Makes modern calls.
    pub(super) async fn connect(url: &str, tool: &str, arguments: &Value) -> Self {
        Self::able(url, tool, arguments, &json!({})).await
    }

    /// Makes modern calls of a client that has `capabilities`.
    pub(super) async fn able(url: &str, tool: &str, arguments: &Value, capabilities: &Value) -> Self {
        let mut params = json!({ "name": tool, "arguments": arguments });
        add_modern_meta(&mut params, capabilities);
        Self::new(url, tool, params, None).await
    }

    /// Makes the calls of a legacy session.
    pub(super) async fn of_session(url: &str, tool: &str, arguments: &Value, session: &str) -> Self {
        let params = json!({ "name": tool, "arguments": arguments });
        Self::new(url, tool, params, Some(session.to_owned())).await
    }

    async fn new(url: &str, tool: &str, params: Value, session: Option<String>) -> Self {
        let (authority, path) = split_url(url);
        let sender = connect(authority).await.unwrap();
        let (authority, path, tool) = (authority.to_owned(), path.to_owned(), tool.to_owned());
        Self { sender, authority, path, tool, session, body: without_id(&params), params, next_id: 1 }
    }

    /// Calls with these arguments from now on.
    pub(super) fn set_arguments(&mut self, arguments: Value) {
        self.params["arguments"] = arguments;
        self.body = without_id(&self.params);
    }

    /// One call; what went wrong when it brought no result.
    pub(super) async fn call(&mut self) -> Result<Duration, String> {
        let id = self.next_id;
        self.next_id += 1;
        let request = Request::post(self.path.as_str())
            .header("host", self.authority.as_str())
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        let request = match &self.session {
            Some(session) => request.header("mcp-session-id", session).header("mcp-protocol-version", LEGACY_REVISION),
            None => request
                .header("mcp-protocol-version", MODERN_REVISION)
                .header("mcp-method", "tools/call")
                .header("mcp-name", self.tool.as_str()),
        };
        let body = Full::new(Bytes::from(format!("{}{id}}}", self.body)));
        let request = request.body(body).expect("the headers are legal");
        let start = Instant::now();
        self.sender.ready().await.map_err(|error| error.to_string())?;
        let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let latency = start.elapsed();
        let has_result = body.windows(9).any(|window| window == b"\"result\":");
        if status.is_success() && has_result {
            return Ok(latency);
        }
        Err(format!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)])))
    }
}

/// A call up to its id.
fn without_id(params: &Value) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"tools/call","params":{params},"id":"#)
}
