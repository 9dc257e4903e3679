//! An MCP server over HTTP that keeps what it was sent and misbehaves on request.
#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::Response,
};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::{broadcast, mpsc};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Legacy,
    Modern,
    /// HTTP+SSE.
    Sse,
}

pub(crate) struct FakeHttp {
    mode: Mode,
    pub(crate) url: String,
    pub(crate) sessions: Mutex<HashSet<String>>,
    opened: AtomicUsize,
    /// Sessions that have had a stream between calls.
    pub(crate) streams: Mutex<HashSet<String>>,
    /// Every message, with its headers.
    pub(crate) seen: Mutex<Vec<(HeaderMap, Value)>>,
    pub(crate) deleted: AtomicUsize,
    /// Streams that the client closed before their end.
    pub(crate) abandoned: Arc<AtomicUsize>,
    answers: broadcast::Sender<Value>,
    /// For the streams between calls; of one session where it is named.
    told: broadcast::Sender<(Option<String>, Value)>,
    /// Streams between calls that are open.
    pub(crate) listening: Arc<AtomicUsize>,
    /// Times that the last of them ended.
    pub(crate) deaf: Arc<AtomicUsize>,
    /// The one stream of HTTP+SSE.
    events: Mutex<Option<mpsc::UnboundedSender<String>>>,
}

impl FakeHttp {
    pub(crate) async fn start(mode: Mode) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let path = if mode == Mode::Sse { "sse" } else { "mcp" };
        let fake = Arc::new(Self {
            mode,
            url: format!("http://{}/{path}", listener.local_addr().unwrap()),
            sessions: Mutex::default(),
            opened: AtomicUsize::new(0),
            streams: Mutex::default(),
            seen: Mutex::default(),
            deleted: AtomicUsize::new(0),
            abandoned: Arc::default(),
            answers: broadcast::channel(16).0,
            told: broadcast::channel(16).0,
            listening: Arc::default(),
            deaf: Arc::default(),
            events: Mutex::default(),
        });
        let router = Router::new().fallback(serve).with_state(fake.clone());
        #[expect(clippy::disallowed_methods, reason = "the test ends with its runtime")]
        tokio::spawn(async move { axum::serve(listener, router).await });
        fake
    }

    /// Closes the stream of HTTP+SSE.
    pub(crate) fn end_stream(&self) {
        self.events.lock().unwrap().take();
    }

    /// How often `method` was sent.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen.lock().unwrap().iter().filter(|(_, message)| message["method"] == method).count()
    }

    pub(crate) fn headers_of(&self, method: &str) -> HeaderMap {
        let seen = self.seen.lock().unwrap();
        seen.iter().rev().find(|(_, message)| message["method"] == method).unwrap().0.clone()
    }
}

async fn serve(
    State(fake): State<Arc<FakeHttp>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if method == Method::POST {
        let message: Value = serde_json::from_slice(&body).unwrap();
        fake.seen.lock().unwrap().push((headers.clone(), message.clone()));
        return match (fake.mode, uri.path()) {
            (Mode::Legacy, "/mcp") => legacy(&fake, &headers, message),
            (Mode::Modern, "/mcp") => modern(&fake, &headers, &message),
            (Mode::Sse, "/messages") => posted(&fake, &message),
            _ => status(StatusCode::NOT_FOUND, ""),
        };
    }
    match (fake.mode, method.as_str()) {
        (Mode::Legacy, "DELETE") => {
            fake.deleted.fetch_add(1, Ordering::SeqCst);
            status(StatusCode::OK, "")
        }
        (Mode::Legacy, "GET") if headers.contains_key("last-event-id") => {
            let id: Value = serde_json::from_str(headers["last-event-id"].to_str().unwrap()).unwrap();
            events(stream::iter([data(&text(&id, "resumed"))]), None)
        }
        (Mode::Legacy, "GET") => {
            let session = headers["mcp-session-id"].to_str().unwrap().to_owned();
            if !fake.sessions.lock().unwrap().contains(&session) {
                return status(StatusCode::BAD_REQUEST, "no valid session");
            }
            let told = told(&fake, Some(session.clone()));
            fake.streams.lock().unwrap().insert(session);
            events(told, None)
        }
        (Mode::Sse, "GET") => {
            let (sender, mut receiver) = mpsc::unbounded_channel();
            *fake.events.lock().unwrap() = Some(sender);
            let first = stream::iter(["event: endpoint\ndata: /messages?session=1\n\n".to_owned()]);
            let rest = stream::poll_fn(move |context| receiver.poll_recv(context));
            events(first.chain(rest), None)
        }
        _ => status(StatusCode::METHOD_NOT_ALLOWED, ""),
    }
}

fn legacy(fake: &Arc<FakeHttp>, headers: &HeaderMap, message: Value) -> Response {
    let id = &message["id"];
    if message["method"] == "initialize" {
        let session = format!("session-{}", fake.opened.fetch_add(1, Ordering::SeqCst));
        fake.sessions.lock().unwrap().insert(session.clone());
        let mut answer = reply(&initialized(id));
        answer.headers_mut().insert("mcp-session-id", session.parse().unwrap());
        return answer;
    }
    let Some(session) = headers.get("mcp-session-id").and_then(|session| session.to_str().ok()) else {
        let refusal = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "no session"}});
        return json_with(StatusCode::BAD_REQUEST, &refusal);
    };
    if !fake.sessions.lock().unwrap().contains(session) {
        return status(StatusCode::NOT_FOUND, "");
    }
    if message["method"].is_null() {
        drop(fake.answers.send(message));
        return status(StatusCode::ACCEPTED, "");
    }
    if id.is_null() {
        return status(StatusCode::ACCEPTED, "");
    }
    match message["method"].as_str().unwrap() {
        "ping" => reply(&json!({"jsonrpc": "2.0", "id": id, "result": {}})),
        "tools/call" => tool(fake, &message, session),
        _ => reply(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}})),
    }
}

fn tool(fake: &Arc<FakeHttp>, message: &Value, session: &str) -> Response {
    let (id, params) = (message["id"].clone(), &message["params"]);
    match params["name"].as_str().unwrap() {
        "echo" => reply(&text(&id, params["arguments"]["text"].as_str().unwrap_or_default())),
        "stream" => {
            let token = &params["_meta"]["progressToken"];
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
            let log =
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
            events(stream::iter([data(&progress), data(&log), data(&text(&id, "streamed"))]), None)
        }
        "slow" => {
            let token = params["_meta"]["progressToken"].clone();
            let steps = stream::iter(0..12).then(move |step| {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": step}});
                async move {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    data(&progress)
                }
            });
            events(steps.chain(stream::iter([data(&text(&id, "slow"))])), None)
        }
        "ask" => {
            let method = params["arguments"]["method"].as_str().unwrap_or("elicitation/create");
            let question = json!({"jsonrpc": "2.0", "id": "q1", "method": method, "params": {}});
            let mut answers = fake.answers.subscribe();
            let answer = stream::once(async move {
                let answer = answers.recv().await.unwrap();
                data(&text(&id, &answer.to_string()))
            });
            events(stream::iter([data(&question)]).chain(answer), None)
        }
        "ask_aside" => {
            let question = json!({"jsonrpc": "2.0", "id": "q2", "method": "elicitation/create", "params": {}});
            let mut answers = fake.answers.subscribe();
            drop(fake.told.send((Some(session.to_owned()), question)));
            events(stream::once(async move { data(&text(&id, &answers.recv().await.unwrap().to_string())) }), None)
        }
        "session" => reply(&text(&id, session)),
        "odd" => {
            let mut answer = text(&id, "odd");
            answer["result"]["resultType"] = json!("unheard of");
            reply(&answer)
        }
        "batch" | "batch_stream" => {
            let log =
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
            let batch = json!([log, text(&id, "batched")]);
            if params["name"] == "batch" { reply(&batch) } else { events(stream::iter([data(&batch)]), None) }
        }
        "cut" => events(stream::iter([format!("id: {id}\nretry: 50\ndata:\n\n")]), None),
        "never" => events(stream::pending(), Some(fake.abandoned.clone())),
        "huge" => reply(&text(&id, &"x".repeat(3_000_000))),
        "huge_stream" => events(stream::iter([data(&text(&id, &"x".repeat(3_000_000)))]), None),
        "wrong_id" => reply(&text(&json!(id.as_u64().unwrap() + 7), "not yours")),
        "page" => status(StatusCode::INTERNAL_SERVER_ERROR, "<h1>oops</h1>"),
        "locked" => status(StatusCode::UNAUTHORIZED, ""),
        "change" => {
            let (method, params) = match params["arguments"]["uri"].as_str() {
                Some(uri) => ("notifications/resources/updated", json!({ "uri": uri })),
                None => ("notifications/tools/list_changed", json!({})),
            };
            drop(fake.told.send((None, json!({"jsonrpc": "2.0", "method": method, "params": params}))));
            reply(&text(&id, "changed"))
        }
        other => reply(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": other}})),
    }
}

fn modern(fake: &Arc<FakeHttp>, headers: &HeaderMap, message: &Value) -> Response {
    let (id, method, params) = (&message["id"], message["method"].as_str().unwrap(), &message["params"]);
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap());
    let agrees = header("mcp-protocol-version") == params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str()
        && header("mcp-method") == Some(method)
        && (method != "tools/call" || header("mcp-name") == params["name"].as_str());
    if !agrees {
        let refusal = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32020, "message": "header mismatch"}});
        return json_with(StatusCode::BAD_REQUEST, &refusal);
    }
    match method {
        "server/discover" => reply(&json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete",
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}},
            "ttlMs": 0, "cacheScope": "private"}})),
        "tools/call" => tool(fake, message, ""),
        "subscriptions/listen" => {
            let confirmation = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {"notifications": params["notifications"], "_meta": {"io.modelcontextprotocol/subscriptionId": id}}});
            let watched = params["notifications"]["resourceSubscriptions"].clone();
            let told = told(fake, None).filter(move |event| {
                let is_wanted = !event.contains("resources/updated")
                    || watched.as_array().is_some_and(|w| w.iter().any(|uri| event.contains(uri.as_str().unwrap())));
                async move { is_wanted }
            });
            let (listening, deaf) = (fake.listening.clone(), fake.deaf.clone());
            listening.fetch_add(1, Ordering::SeqCst);
            let listener = ListenerGone { listening, deaf };
            let told = told.map(move |event| {
                let _held = &listener;
                event
            });
            events(stream::iter([data(&confirmation)]).chain(told), None)
        }
        _ => {
            let refusal = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}});
            json_with(StatusCode::NOT_FOUND, &refusal)
        }
    }
}

fn posted(fake: &Arc<FakeHttp>, message: &Value) -> Response {
    let id = &message["id"];
    let answer = match message["method"].as_str() {
        Some("initialize") => initialized(id),
        Some("tools/call") => text(id, message["params"]["arguments"]["text"].as_str().unwrap_or_default()),
        _ => return status(StatusCode::ACCEPTED, ""),
    };
    let events = fake.events.lock().unwrap();
    events.as_ref().unwrap().send(format!("event: message\n{}", data(&answer))).unwrap();
    status(StatusCode::ACCEPTED, "Accepted")
}

fn initialized(id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": "2025-11-25",
        "capabilities": {"tools": {"listChanged": true}}, "serverInfo": {"name": "fake", "version": "1"}}})
}

fn text(id: &Value, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}})
}

fn data(message: &Value) -> String {
    format!("data: {message}\n\n")
}

fn reply(message: &Value) -> Response {
    json_with(StatusCode::OK, message)
}

fn json_with(status: StatusCode, message: &Value) -> Response {
    let answer = Response::builder().status(status).header("content-type", "application/json");
    answer.body(Body::from(message.to_string())).unwrap()
}

fn status(status: StatusCode, text: &'static str) -> Response {
    Response::builder().status(status).body(Body::from(text)).unwrap()
}

/// What is told to `session`, or to all.
fn told(fake: &Arc<FakeHttp>, session: Option<String>) -> impl futures::Stream<Item = String> + Send + 'static {
    let told = fake.told.subscribe();
    stream::unfold((told, session), |(mut told, session)| async move {
        loop {
            let (to, message) = told.recv().await.ok()?;
            if to.is_none() || to == session {
                return Some((data(&message), (told, session)));
            }
        }
    })
}

struct ListenerGone {
    listening: Arc<AtomicUsize>,
    deaf: Arc<AtomicUsize>,
}

impl Drop for ListenerGone {
    fn drop(&mut self) {
        if self.listening.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.deaf.fetch_add(1, Ordering::SeqCst);
        }
    }
}

fn events(
    stream: impl futures::Stream<Item = String> + Send + 'static,
    abandoned: Option<Arc<AtomicUsize>>,
) -> Response {
    let guard = abandoned.map(CountOnDrop);
    let stream = stream.map(move |event| {
        let _held = &guard;
        Ok::<_, Infallible>(event)
    });
    Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(stream)).unwrap()
}

struct CountOnDrop(Arc<AtomicUsize>);

impl Drop for CountOnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
