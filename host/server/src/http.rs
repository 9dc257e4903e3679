//! The streamable HTTP front: `POST`, `GET` and `DELETE` on `/mcp` for clients of both eras, and the pages beside it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request as HttpRequest, response::Response, serve::ListenerExt};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::{net::TcpListener, sync::mpsc, time};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Layer as _, ServiceExt as _, make::Shared, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use vmcp_core::{call::Reply, id::Identity, json::RawJson};
use vmcp_gateway::{
    Gateway,
    router::{Caller, Incoming},
};
use vmcp_mcp::{
    envelope::{self, EnvelopeError, Message, Notification, Request},
    era::{Era, Revision},
    error::{HEADER_MISMATCH, INVALID_REQUEST, PARSE_ERROR, RpcError},
    header as mcp_header,
    object::Object,
};

use crate::{
    exchange::{Exchange, Happening},
    guard::Guard,
    listen::Listener,
    page,
    reply::{self, refused},
    sse,
};

/// Longest wait for the whole of a request's body.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
/// How long a message waits for a client that does not read its stream; then the request is given up.
const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one stream that may wait for its client.
const STREAM_QUEUE: usize = 16;
/// How often a quiet stream says that it is still there.
const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);

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

/// Serves until `shutdown`, then lets requests under way finish.
pub async fn serve(listener: TcpListener, options: HttpOptions) -> std::io::Result<()> {
    let shutdown = options.shutdown.clone();
    let front = Arc::new(options);
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
async fn guarded(front: Arc<HttpOptions>, request: HttpRequest) -> Response {
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

/// Six paths need no router.
async fn route(front: Arc<HttpOptions>, request: HttpRequest) -> Response {
    match request.uri().path() {
        "/mcp" | "/" => endpoint(front, request).await,
        "/health" | "/ping" => page::health(),
        "/readyz" => page::ready(&front),
        "/status" => page::status(&front, request.method()),
        path => page::not_found(path),
    }
}

/// The MCP endpoint.
async fn endpoint(front: Arc<HttpOptions>, request: HttpRequest) -> Response {
    match *request.method() {
        Method::POST => post(front, request).await,
        Method::GET => listen(&front, request.headers()),
        Method::DELETE => end_session(&front, request.headers()).await,
        _ => {
            let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, "use POST, GET or DELETE");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, POST, DELETE"));
            response
        }
    }
}

/// One message from a client.
async fn post(front: Arc<HttpOptions>, request: HttpRequest) -> Response {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    if !has_media_type(&headers, &header::CONTENT_TYPE, &["application/json"]) {
        return refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be `Content-Type: application/json`");
    }
    let body = match time::timeout(BODY_DEADLINE, Limited::new(body, front.body_limit).collect()).await {
        Err(_) => return refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"),
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let limit = front.body_limit;
            let reason = format!("the body is longer than {limit} bytes (`server.bodyLimit`)");
            return refused(StatusCode::PAYLOAD_TOO_LARGE, reason);
        }
        Ok(Err(error)) => return refused(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}")),
    };
    match envelope::parse(&body) {
        Ok(Message::Request(request)) => answer(front, &headers, request).await,
        Ok(Message::Notification(notification)) => notice(&front, &headers, &notification),
        // No request of ours is open at any client.
        Ok(Message::Response(_)) => reply::json(StatusCode::ACCEPTED, Body::empty()),
        Err(error) => {
            let (code, id) = match &error {
                EnvelopeError::NotJson(_) => (PARSE_ERROR, None),
                EnvelopeError::NotJsonRpc { id, .. } => (INVALID_REQUEST, id.as_ref()),
            };
            let error = RpcError::new(code, error.to_string());
            reply::json(StatusCode::BAD_REQUEST, reply::error_message(id, &error))
        }
    }
}

/// A request: decides its era, finds its session, and answers it.
async fn answer(front: Arc<HttpOptions>, headers: &HeaderMap, request: Request) -> Response {
    let id = request.id.clone();
    let fail = |status, error: RpcError| reply::json(status, reply::error_message(Some(&id), &error));
    let incoming = match Incoming::read(request) {
        Ok(incoming) => incoming,
        Err(error) => return fail(StatusCode::BAD_REQUEST, error),
    };
    let session_id = text(headers, mcp_header::SESSION_ID);
    if incoming.method == "initialize" && incoming.meta.protocol_version.is_none() {
        return initialize(&front, &id, &incoming.params).await;
    }
    if let Some(session_id) = session_id.filter(|_| incoming.meta.protocol_version.is_none()) {
        if let Some(error) = legacy_version_error(headers) {
            return fail(StatusCode::BAD_REQUEST, error);
        }
        let Some(session) = front.gateway.sessions.get(session_id) else {
            return fail(StatusCode::NOT_FOUND, RpcError::new(INVALID_REQUEST, "the session is unknown or has ended"));
        };
        return exchange(front, Caller::legacy(session), id, incoming).await;
    }
    if let Err(error) = modern_version(headers, &incoming) {
        return fail(StatusCode::BAD_REQUEST, error);
    }
    let caller = Caller::modern(Identity::Anonymous, &incoming);
    if incoming.method == "subscriptions/listen" {
        return match Listener::subscribe(&front.gateway, &id, &incoming.params) {
            Ok((listener, acknowledged)) => {
                let ended = CancellationToken::new();
                event_stream(listening(&front, listener, ended, Some(acknowledged)))
            }
            Err(error) => fail(StatusCode::OK, error),
        };
    }
    exchange(front, caller, id, incoming).await
}

/// Checks that a request without a session is a modern one, and that its headers say what its body says.
fn modern_version(headers: &HeaderMap, incoming: &Incoming) -> Result<(), RpcError> {
    let header_version = text(headers, mcp_header::PROTOCOL_VERSION);
    let Some(version) = &incoming.meta.protocol_version else {
        let is_modern = header_version.and_then(Revision::parse).is_some_and(|revision| revision.era() == Era::Modern);
        return Err(match is_modern {
            true => RpcError::invalid_params("`_meta` lacks `io.modelcontextprotocol/protocolVersion`"),
            false => RpcError::new(
                INVALID_REQUEST,
                "a request needs the `Mcp-Session-Id` that `initialize` returned, or the `_meta` of revision 2026-07-28",
            ),
        });
    };
    incoming.check_modern(version)?;
    let named = mcp_header::named_param(&incoming.method).and_then(|key| incoming.params.get_string(key));
    let expected = [
        (mcp_header::PROTOCOL_VERSION, Some(version.as_str())),
        (mcp_header::METHOD, Some(incoming.method.as_str())),
        (mcp_header::NAME, named.as_deref()),
    ];
    for (name, expected) in expected {
        let Some(expected) = expected else { continue };
        let said = text(headers, name).and_then(mcp_header::decode);
        if said.as_deref() != Some(expected) {
            let what = match said {
                None => format!("the header `{name}` is missing; it must be `{expected}`"),
                Some(said) => format!("the header `{name}` is `{said}`, the body says `{expected}`"),
            };
            return Err(RpcError::new(HEADER_MISMATCH, what));
        }
    }
    Ok(())
}

/// Why the version header of a session's request is refused, if so.
fn legacy_version_error(headers: &HeaderMap) -> Option<RpcError> {
    let version = text(headers, mcp_header::PROTOCOL_VERSION)?;
    Revision::parse(version).is_none().then(|| RpcError::unsupported_version(version))
}

async fn initialize(front: &HttpOptions, id: &RawJson, params: &Object) -> Response {
    let (session, answer) = match front.gateway.initialize(Identity::Anonymous, params).await {
        Ok(begun) => begun,
        Err(error) => return reply::json(StatusCode::OK, reply::error_message(Some(id), &error)),
    };
    let session_id = HeaderValue::from_str(&session.id).expect("session ids are visible ASCII");
    front.gateway.sessions.add(session);
    let mut response = reply::json(StatusCode::OK, reply::message(id, &Ok(Reply::Result(answer))));
    response.headers_mut().insert(mcp_header::SESSION_ID, session_id);
    response
}

/// A notification: the only ones that matter here cancel a request.
fn notice(front: &HttpOptions, headers: &HeaderMap, notification: &Notification) -> Response {
    if let Some(session_id) = text(headers, mcp_header::SESSION_ID) {
        let Some(session) = front.gateway.sessions.get(session_id) else {
            return refused(StatusCode::NOT_FOUND, "the session is unknown or has ended");
        };
        if notification.method == "notifications/cancelled" {
            let params = Object::parse_lenient(notification.params.as_ref());
            if let Some(id) = params.get("requestId") {
                session.cancel(id);
            }
        }
    }
    reply::json(StatusCode::ACCEPTED, Body::empty())
}

/// Runs a request. The answer is plain JSON, unless the backend sends something before its reply: then it is a stream.
async fn exchange(front: Arc<HttpOptions>, caller: Caller, id: RawJson, incoming: Incoming) -> Response {
    let era = caller.era();
    let mut exchange = Exchange::begin(front.gateway.clone(), caller, id, incoming);
    match exchange.next().await {
        Happening::Outcome(outcome) => {
            reply::json(reply::status(era, &outcome), reply::message(&exchange.id, &outcome))
        }
        Happening::Notification(first) => {
            let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
            // A task of its own: the call goes on, and its deadline with it, while the client does not read.
            front.tasks.spawn(pump(exchange, first, sender));
            event_stream(stream::unfold(receiver, |mut receiver| async move {
                let event = tokio::select! {
                    event = receiver.recv() => event?,
                    () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
                };
                Some((event, receiver))
            }))
        }
    }
}

/// Hands on what happens in an exchange until its end, or until the client is gone: that cancels the request.
async fn pump(mut exchange: Exchange, first: Bytes, sender: mpsc::Sender<Bytes>) {
    let mut event = sse::event(&first);
    let mut is_last = false;
    loop {
        if !matches!(time::timeout(CLIENT_PATIENCE, sender.send(event)).await, Ok(Ok(()))) || is_last {
            return;
        }
        let next = tokio::select! {
            next = exchange.next() => next,
            () = sender.closed() => return,
        };
        event = match next {
            Happening::Notification(message) => sse::event(&message),
            Happening::Outcome(outcome) => {
                is_last = true;
                sse::event(&reply::message(&exchange.id, &outcome))
            }
        };
    }
}

/// The stream of a session for what is not part of a request's answer; a page for browsers.
fn listen(front: &HttpOptions, headers: &HeaderMap) -> Response {
    if !has_media_type(headers, &header::ACCEPT, &["text/event-stream"]) {
        if has_media_type(headers, &header::ACCEPT, &["text/html"]) {
            return page::about(front);
        }
        let error = RpcError::new(INVALID_REQUEST, "a GET must accept `text/event-stream`");
        let id = RawJson::of(&"server-error");
        return reply::json(StatusCode::NOT_ACCEPTABLE, reply::error_message(Some(&id), &error));
    }
    let Some(session_id) = text(headers, mcp_header::SESSION_ID) else {
        let mut response =
            refused(StatusCode::METHOD_NOT_ALLOWED, "a GET stream needs the `Mcp-Session-Id` of a session");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    };
    match front.gateway.sessions.get(session_id) {
        Some(session) => {
            let ended = session.begin_stream();
            event_stream(listening(front, Listener::of_session(&front.gateway, session), ended, None))
        }
        None => refused(StatusCode::NOT_FOUND, "the session is unknown or has ended"),
    }
}

async fn end_session(front: &HttpOptions, headers: &HeaderMap) -> Response {
    let Some(id) = text(headers, mcp_header::SESSION_ID) else {
        return refused(StatusCode::BAD_REQUEST, "a DELETE needs the `Mcp-Session-Id` of a session");
    };
    match front.gateway.sessions.get(id) {
        Some(session) => {
            front.gateway.end_session(&session).await;
            reply::json(StatusCode::OK, Body::empty())
        }
        None => refused(StatusCode::NOT_FOUND, "the session is unknown or has ended"),
    }
}

/// The events of a listener until `ended` fires or the front shuts down, with a sign of life while nothing happens. `ended`
/// fires too when the client goes.
fn listening(
    front: &HttpOptions,
    listener: Listener,
    ended: CancellationToken,
    first: Option<Bytes>,
) -> impl Stream<Item = Bytes> + Send + 'static {
    let start = first.map_or_else(|| Bytes::from_static(sse::KEEP_ALIVE), |message| sse::event(&message));
    let state = (listener, ended.clone(), ended.drop_guard(), front.shutdown.clone());
    let rest = stream::unfold(state, |(mut listener, ended, guard, shutdown)| async move {
        let next = tokio::select! {
            () = shutdown.cancelled() => return None,
            () = ended.cancelled() => return None,
            () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
            messages = listener.next() => {
                messages?.iter().flat_map(|message| sse::event(message)).collect()
            }
        };
        Some((next, (listener, ended, guard, shutdown)))
    });
    stream::once(async move { start }).chain(rest)
}

fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Some reverse proxies hold streams back unless they are told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Whether a header names one of the media types, whatever its parameters.
fn has_media_type(headers: &HeaderMap, name: &header::HeaderName, types: &[&str]) -> bool {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |item| {
            let media_type = item.split(';').next().unwrap_or_default().trim();
            types.iter().any(|wanted| media_type.eq_ignore_ascii_case(wanted))
        },
    )
}

/// Where clients reach the front.
pub fn endpoint_url(address: SocketAddr) -> String {
    format!("http://{address}/mcp")
}
