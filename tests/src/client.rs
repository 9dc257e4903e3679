//! A client of the host over HTTP, in either era, that keeps what it receives as it came.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    era::{Era, LEGACY_REVISION, MODERN_REVISION, add_modern_meta, initialize_params},
    http::{self, Response},
    mcp::{Mcp, Reply},
    process::PATIENCE,
};

/// Speaks MCP over streamable HTTP.
#[derive(Debug)]
pub struct TestClient {
    pub url: String,
    pub era: Era,
    pub session: Option<String>,
    pub capabilities: Value,
    /// Result of `initialize`; null in the modern era.
    pub initialized: Value,
    next_id: AtomicU64,
}

impl TestClient {
    /// Initializes a session without capabilities.
    pub async fn legacy(url: &str) -> Self {
        Self::legacy_with(url, json!({})).await
    }

    pub async fn legacy_with(url: &str, capabilities: Value) -> Self {
        let mut client = Self::new(url, Era::Legacy, capabilities);
        let body = client.message("initialize", initialize_params(&client.capabilities));
        let response = client.post("initialize", &body).await;
        client.session = response.header("mcp-session-id").map(str::to_owned);
        client.initialized =
            PendingCall { id: body["id"].clone(), response, seen: Vec::new() }.reply().await.result().clone();
        client.notify("notifications/initialized", json!({})).await;
        client
    }

    /// A client of 2026-07-28: nothing to do before the first request.
    pub fn modern(url: &str) -> Self {
        Self::modern_with(url, json!({}))
    }

    pub fn modern_with(url: &str, capabilities: Value) -> Self {
        Self::new(url, Era::Modern, capabilities)
    }

    fn new(url: &str, era: Era, capabilities: Value) -> Self {
        let next_id = AtomicU64::new(1);
        Self { url: url.to_owned(), era, session: None, capabilities, initialized: Value::Null, next_id }
    }

    /// Sends a request and returns when its reply, or the stream with it, begins.
    pub async fn start(&self, method: &str, params: Value) -> PendingCall {
        let body = self.message(method, params);
        let response = self.post(method, &body).await;
        PendingCall { id: body["id"].clone(), response, seen: Vec::new() }
    }

    pub async fn notify(&self, method: &str, params: Value) {
        let mut body = self.message(method, params);
        body.as_object_mut().unwrap().remove("id");
        let response = self.post(method, &body).await;
        let status = response.status;
        let text = response.text().await;
        assert_eq!(status, 202, "{method}: {text}");
    }

    /// Opens the stream for what belongs to no request: GET, or `subscriptions/listen` for the lists of the modern era.
    pub async fn listen(&self) -> EventStream {
        if self.era == Era::Legacy {
            let mut headers = self.headers();
            headers.push(("accept", "text/event-stream".to_owned()));
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let response = http::send("GET", &self.url, &headers, "").await.unwrap();
            assert_eq!(response.status, 200);
            return EventStream { response };
        }
        let wanted = json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        self.listen_for(wanted).await.0
    }

    /// Opens a stream of the modern era for what is `wanted`; with it comes what was acknowledged.
    pub async fn listen_for(&self, wanted: Value) -> (EventStream, Value) {
        let pending = self.start("subscriptions/listen", json!({ "notifications": wanted })).await;
        let mut stream = EventStream { response: pending.response };
        let first = stream.next().await;
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
        (stream, first)
    }

    /// Sends a message as it is, with the headers of this client.
    pub async fn post(&self, method: &str, body: &Value) -> Response {
        let mut headers = self.headers();
        headers.push(("accept", "application/json, text/event-stream".to_owned()));
        if self.era == Era::Modern {
            headers.push(("mcp-method", method.to_owned()));
            let name = match method {
                "resources/read" => &body["params"]["uri"],
                "tasks/get" | "tasks/update" | "tasks/cancel" => &body["params"]["taskId"],
                _ => &body["params"]["name"],
            };
            if let Some(name) = name.as_str() {
                headers.push(("mcp-name", name.to_owned()));
            }
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sent = timeout(PATIENCE, http::send("POST", &self.url, &headers, body.to_string())).await;
        sent.unwrap_or_else(|_| panic!("no response to {method}")).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        match self.era {
            Era::Modern => headers.push(("mcp-protocol-version", MODERN_REVISION.to_owned())),
            Era::Legacy => headers.extend(self.session.clone().into_iter().flat_map(|session| {
                [("mcp-session-id", session), ("mcp-protocol-version", LEGACY_REVISION.to_owned())]
            })),
        }
        headers
    }

    fn message(&self, method: &str, mut params: Value) -> Value {
        if self.era == Era::Modern {
            add_modern_meta(&mut params, &self.capabilities);
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
    }
}

impl Mcp for TestClient {
    async fn request(&self, method: &str, params: Value) -> Reply {
        self.start(method, params).await.reply().await
    }
}

/// A request whose response has begun. Dropping it closes the connection, which cancels in the modern era.
#[derive(Debug)]
pub struct PendingCall {
    pub id: Value,
    pub response: Response,
    seen: Vec<Value>,
}

impl PendingCall {
    /// The next message before the reply.
    pub async fn notification(&mut self) -> Value {
        let event = self.response.next_event_within(PATIENCE).await;
        let message: Value = serde_json::from_str(&event).unwrap();
        assert!(message.get("method").is_some(), "the reply came already: {event}");
        self.seen.push(message.clone());
        message
    }

    pub async fn reply(mut self) -> Reply {
        let status = self.response.status;
        if !self.response.is_stream {
            return Reply::new(self.response.text().await, status, self.seen);
        }
        loop {
            let event = self.response.next_event_within(PATIENCE).await;
            let message: Value = serde_json::from_str(&event).unwrap();
            if message.get("method").is_none() && message["id"] == self.id {
                return Reply::new(event, status, self.seen);
            }
            self.seen.push(message);
        }
    }
}

/// Messages that belong to no request.
#[derive(Debug)]
pub struct EventStream {
    response: Response,
}

impl EventStream {
    pub async fn next(&mut self) -> Value {
        serde_json::from_str(&self.response.next_event_within(PATIENCE).await).unwrap()
    }

    /// Waits for a notification of `method`; others are skipped.
    pub async fn wait_for(&mut self, method: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["method"] == method {
                return message;
            }
        }
    }
}
