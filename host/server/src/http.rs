//! The HTTP front: MCP at `/mcp` for clients of both eras, at `/sse` for those of the first, and the pages beside them.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request as HttpRequest, response::Response, serve::ListenerExt};
use futures::FutureExt as _;
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, ServiceExt as _, make::Shared, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use vmcp_core::{id::Identity, json::RawJson};
use vmcp_gateway::{Gateway, session::Session};
use vmcp_mcp::{
    error::{INVALID_REQUEST, RpcError},
    header as mcp_header,
};

use crate::{
    guard::Guard,
    headers, page, post,
    reply::{self, refused, wrong_method},
    resume::Streams,
    sse_front::{self, SseConnections},
    stream_log::{EventId, StreamKind},
    streaming::{self, SessionEvents, Source},
};

/// Longest wait for the whole of a request's body.
pub(crate) const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// What the front is made of.
pub struct HttpOptions {
    pub gateway: Arc<Gateway>,
    pub guard: Guard,
    /// Longest request body, in bytes.
    pub body_limit: usize,
    /// What `/status` calls `group_ref`.
    pub group: String,
    /// Tracks the requests whose answer is a stream.
    pub tasks: TaskTracker,
    /// Ends the streams that have no end of their own.
    pub shutdown: CancellationToken,
}

/// The front at work: see [`HttpOptions`].
pub(crate) struct Front {
    pub gateway: Arc<Gateway>,
    pub body_limit: usize,
    pub group: String,
    pub tasks: TaskTracker,
    pub shutdown: CancellationToken,
    /// Streams that legacy clients may come back to.
    pub streams: Streams,
    /// The clients at `/sse`.
    pub connections: SseConnections,
    guard: Guard,
}

/// Serves until `shutdown`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, options: HttpOptions) -> std::io::Result<()> {
    let HttpOptions { gateway, guard, body_limit, group, tasks, shutdown } = options;
    let (streams, connections) = (Streams::default(), SseConnections::default());
    let front =
        Arc::new(Front { gateway, body_limit, group, tasks, shutdown: shutdown.clone(), streams, connections, guard });
    let sweeper = front.clone();
    front.tasks.spawn(shutdown.clone().run_until_cancelled_owned(async move { sweeper.streams.sweep().await }));
    let service = service_fn(move |request: HttpRequest| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(guarded(front, request).await) }
    });
    // Replies are small and written whole; waiting for more to send would only add latency.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    axum::serve(listener, Shared::new(service)).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

/// Refuses what a foreign web page could make a browser send, whatever the path. What pages of allowed origins send is
/// answered in the way that browsers ask for.
async fn guarded(front: Arc<Front>, request: HttpRequest) -> Response {
    if let Some(objection) = front.guard.objection(request.headers(), request.uri()) {
        return refused(StatusCode::FORBIDDEN, objection);
    }
    if !request.headers().contains_key(header::ORIGIN) {
        return route(front, request).await;
    }
    let guard = front.clone();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| guard.guard.allows_origin(origin)))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static(mcp_header::SESSION_ID)]);
    let inner = service_fn(move |request: HttpRequest| {
        let front = front.clone();
        async move { Ok::<_, Infallible>(route(front, request).await) }
    });
    let Ok(response) = cors.layer(inner).oneshot(request).await;
    response
}

/// A few paths need no router.
async fn route(front: Arc<Front>, request: HttpRequest) -> Response {
    match request.uri().path() {
        "/mcp" | "/" => endpoint(front, request).await,
        "/health" | "/ping" => page::health(),
        "/readyz" => page::ready(&front),
        "/status" => page::status(&front, request.method()),
        sse_front::PATH => sse_front::open(&front, &request),
        path if sse_front::is_message_path(path) => sse_front::post(&front, request).await,
        path => page::not_found(path),
    }
}

/// The MCP endpoint.
async fn endpoint(front: Arc<Front>, request: HttpRequest) -> Response {
    match *request.method() {
        Method::POST => post::post(front, request).await,
        Method::GET => listen(&front, request.headers()).await,
        Method::DELETE => end_session(&front, request.headers()).await,
        _ => wrong_method("GET, POST, DELETE", "use POST, GET or DELETE"),
    }
}

/// The session that a request names, if it names one.
pub(crate) fn session_of(front: &Front, headers: &HeaderMap) -> Option<Result<Arc<Session>, RpcError>> {
    let id = headers::text(headers, mcp_header::SESSION_ID)?;
    let found = front.gateway.sessions.find(id, &Identity::Anonymous);
    // Whatever the reason: who has somebody else's id learns nothing more.
    Some(found.map_err(|_| RpcError::new(INVALID_REQUEST, "the session is unknown or has ended")))
}

/// The stream of a session for what is not part of a request's answer, or a stream that broke; a page for browsers.
async fn listen(front: &Arc<Front>, headers: &HeaderMap) -> Response {
    if !headers::has_media_type(headers, &header::ACCEPT, &["text/event-stream"]) {
        if headers::has_media_type(headers, &header::ACCEPT, &["text/html"]) {
            return page::about(front);
        }
        let error = RpcError::new(INVALID_REQUEST, "a GET must accept `text/event-stream`");
        let id = RawJson::of(&"server-error");
        return reply::json(StatusCode::NOT_ACCEPTABLE, reply::error_message(Some(&id), &error));
    }
    let session = match session_of(front, headers) {
        Some(Ok(session)) if !headers::is_modern(headers) => session,
        Some(Err(error)) if !headers::is_modern(headers) => return refused(StatusCode::NOT_FOUND, error.message),
        _ => return wrong_method("POST", "a GET stream needs the `Mcp-Session-Id` of a session"),
    };
    if let Err(error) = headers::revision(headers) {
        return reply::json(StatusCode::BAD_REQUEST, reply::error_message(None, &error));
    }
    let events = match headers::text(headers, "last-event-id").filter(|id| !id.is_empty()) {
        None => SessionEvents::new(front, &session),
        Some(last) => {
            let last = EventId::parse(last);
            if let Some(response) = last.and_then(|last| streaming::resume(front, &session, last)) {
                return response;
            }
            if let Some(last) = last.filter(|last| last.stream.kind == StreamKind::Request)
                && let Some(response) = streaming::reopen(front, &session, last).boxed().await
            {
                return response;
            }
            // A request's stream cannot be told from one that never was. But for what belongs to no request a new stream
            // is as good as the old one, once the client knows that it may have missed something.
            match last.map(|last| last.stream.kind) {
                Some(StreamKind::Session) => SessionEvents::new(front, &session).after_a_gap(),
                Some(StreamKind::Request) | None => {
                    let reason = "`Last-Event-ID` names no event of this session that is still kept";
                    return refused(StatusCode::BAD_REQUEST, reason);
                }
            }
        }
    };
    streaming::resumable(front, &session, Source::Session(events), &[]).await
}

async fn end_session(front: &Front, headers: &HeaderMap) -> Response {
    if headers::is_modern(headers) {
        return wrong_method("POST", "revision 2026-07-28 has no sessions to end");
    }
    match session_of(front, headers) {
        Some(Ok(session)) => {
            front.gateway.end_session(&session).await;
            front.streams.forget_session(&session.id);
            reply::json(StatusCode::OK, Body::empty())
        }
        Some(Err(error)) => refused(StatusCode::NOT_FOUND, error.message),
        None => refused(StatusCode::BAD_REQUEST, "a DELETE needs the `Mcp-Session-Id` of a session"),
    }
}

/// Where clients reach the front.
pub fn endpoint_url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}
