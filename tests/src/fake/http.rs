//! The fake server over HTTP: streamable HTTP at `/mcp` in both eras, the older HTTP+SSE at `/sse`, and a page.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{
    server::{FakeServer, Outgoing, Outlet, notification},
    spec::Transport,
};
use crate::era::Era;

/// Something to read for servers that fetch pages.
const PAGE: &str =
    "<html><head><title>A page</title></head><body><h1>A page</h1><p>With <b>text</b>.</p></body></html>";

struct Front {
    server: Arc<FakeServer>,
    next_session: AtomicU64,
    /// Open streams of HTTP+SSE sessions; for streamable HTTP the sessions that exist.
    sessions: Mutex<HashMap<String, Option<UnboundedSender<Outgoing>>>>,
}

/// Listens, prints the URL as the first line of stdout, and serves until the process ends.
#[expect(clippy::print_stdout, reason = "the parent reads the address there")]
pub async fn serve(server: Arc<FakeServer>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", server.spec.port)).await?;
    let path = if server.spec.transport == Transport::Sse { "sse" } else { "mcp" };
    println!("http://{}/{path}", listener.local_addr()?);
    let front = Arc::new(Front { server, next_session: AtomicU64::new(1), sessions: Mutex::default() });
    let router = Router::new()
        .route("/mcp", post(receive).get(stream_session).delete(end_session))
        .route("/sse", get(open_sse))
        .route("/page", get(|| async { ([(CONTENT_TYPE, "text/html")], PAGE) }))
        .route("/messages/{session}", post(receive_sse))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .with_state(front);
    // Small replies wait for nothing.
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await
}

async fn receive(State(front): State<Arc<Front>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(mut message) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    if message["method"] == "tools/call" {
        message["params"]["_meta"]["example.com/headers"] = shown(&headers);
    }
    let legacy = front.server.spec.era == Era::Legacy;
    let is_initialize = message["method"] == "initialize";
    let session = headers.get("mcp-session-id").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if legacy && !is_initialize && !front.knows(&session) {
        let status = if session.is_empty() { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
        return (status, "no such session").into_response();
    }
    let session = if legacy && is_initialize { front.open_session(None) } else { session };
    let expects_reply = message.get("id").is_some() && message.get("method").is_some();
    let (sender, receiver) = mpsc::unbounded_channel();
    let outlet: Outlet = Arc::new(move |message| drop(sender.send(message)));
    let work = Arc::clone(&front.server).handle(session.clone(), message, outlet);
    if !expects_reply {
        work.await;
        return StatusCode::ACCEPTED.into_response();
    }
    let mut messages = Box::pin(run_beside(work, receiver));
    let mut response = match messages.next().await {
        Some(first) if first.is_response => ([(CONTENT_TYPE, "application/json")], first.text).into_response(),
        first => event_stream(stream::iter(first).chain(messages)),
    };
    if legacy && is_initialize {
        response.headers_mut().insert("mcp-session-id", session.parse().expect("a number is a legal header value"));
    }
    response
}

/// Headers for the tool that shows them.
fn shown(headers: &HeaderMap) -> Value {
    headers.iter().map(|(name, value)| (name.to_string(), json!(String::from_utf8_lossy(value.as_bytes())))).collect()
}

/// The messages of a request, while its future runs inside the stream: a client that goes away drops both.
fn run_beside(
    work: impl Future<Output = ()> + Send,
    receiver: UnboundedReceiver<Outgoing>,
) -> impl Stream<Item = Outgoing> + Send {
    let running = stream::once(work).filter_map(|()| async { None });
    let messages = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    stream::select(running, messages)
}

fn event_stream(messages: impl Stream<Item = Outgoing> + Send + 'static) -> Response {
    let events = messages.map(|message| Ok::<_, Infallible>(format!("event: message\ndata: {}\n\n", message.text)));
    ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(events)).into_response()
}

async fn stream_session(State(front): State<Arc<Front>>) -> Response {
    if front.server.spec.era == Era::Modern {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    event_stream(front.changes())
}

async fn end_session(State(front): State<Arc<Front>>, headers: HeaderMap) -> StatusCode {
    if let Some(session) = headers.get("mcp-session-id").and_then(|value| value.to_str().ok()) {
        front.lock_sessions().remove(session);
    }
    StatusCode::NO_CONTENT
}

async fn open_sse(State(front): State<Arc<Front>>) -> Response {
    let (sender, receiver) = mpsc::unbounded_channel();
    let session = front.open_session(Some(sender));
    let endpoint = format!("event: endpoint\ndata: /messages/{session}\n\n");
    let messages = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    let events = stream::select(messages, front.changes())
        .map(|message| Ok::<_, Infallible>(format!("event: message\ndata: {}\n\n", message.text)));
    let body = Body::from_stream(stream::once(async { Ok(endpoint) }).chain(events));
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

async fn receive_sse(State(front): State<Arc<Front>>, Path(session): Path<String>, body: Bytes) -> StatusCode {
    let stream = front.lock_sessions().get(&session).cloned().flatten();
    let (Some(stream), Ok(message)) = (stream, serde_json::from_slice::<Value>(&body)) else {
        return StatusCode::NOT_FOUND;
    };
    let outlet: Outlet = Arc::new(move |message| drop(stream.send(message)));
    let work = Arc::clone(&front.server).handle(session, message, outlet);
    #[expect(clippy::disallowed_methods, reason = "the call outlives its POST and ends with the process")]
    tokio::spawn(work);
    StatusCode::ACCEPTED
}

impl Front {
    fn knows(&self, session: &str) -> bool {
        self.lock_sessions().contains_key(session)
    }

    fn open_session(&self, stream: Option<UnboundedSender<Outgoing>>) -> String {
        let session = self.next_session.fetch_add(1, Ordering::Relaxed).to_string();
        self.lock_sessions().insert(session.clone(), stream);
        session
    }

    fn changes(&self) -> impl Stream<Item = Outgoing> + Send + use<> {
        let changed = self.server.changed.subscribe();
        stream::unfold(changed, |mut changed| async {
            changed.recv().await.ok()?;
            Some((notification("notifications/tools/list_changed", &json!({})), changed))
        })
    }

    fn lock_sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Option<UnboundedSender<Outgoing>>>> {
        self.sessions.lock().expect("no holder of the lock panics")
    }
}
