//! What clients post to the endpoint: requests of both eras, batches, notifications, and answers to what backends asked.

use std::sync::Arc;

use axum::{body::Body, extract::Request as HttpRequest, response::Response};
use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time;
use vmcp_core::{call::Reply, id::Identity, json::RawJson};
use vmcp_gateway::{
    router::{Caller, Incoming},
    session::{Session, SessionTie},
};
use vmcp_mcp::{
    envelope::{self, Message, Notification, Request, Response as Answer},
    era::Revision,
    error::{INVALID_REQUEST, RpcError},
    header as mcp_header,
    object::Object,
};

use crate::{
    batch::{Batch, BatchEvent},
    exchange::{Exchange, Happening, take_answer, take_notification},
    headers,
    http::{BODY_DEADLINE, Front, session_of},
    listen::Listener,
    reply::{self, refused},
    streaming::{self, Source},
};

/// What a client that lost its session id, or never kept it, is served all the same: each request stands for itself.
const WITHOUT_SESSION: [&str; 9] = [
    "tools/call",
    "tools/list",
    "prompts/get",
    "prompts/list",
    "resources/read",
    "resources/list",
    "resources/templates/list",
    "completion/complete",
    "ping",
];

/// One message from a client, or a batch.
pub(crate) async fn post(front: Arc<Front>, request: HttpRequest) -> Response {
    let (headers, body) = match read(&front, request).await {
        Ok(read) => read,
        Err(refusal) => return refusal,
    };
    if envelope::is_batch(&body) {
        return batch(front, &headers, &body).boxed().await;
    }
    match envelope::parse(&body) {
        Ok(Message::Request(request)) => answer(front, &headers, request).await,
        Ok(Message::Notification(notification)) => notice(&front, &headers, &notification),
        Ok(Message::Response(response)) => take(&front, &headers, response).boxed().await,
        Err(error) => reply::json(StatusCode::BAD_REQUEST, reply::envelope_error(&error)),
    }
}

/// The headers and the whole body of a request, or why it is refused.
pub(crate) async fn read(front: &Front, request: HttpRequest) -> Result<(HeaderMap, Bytes), Response> {
    let (parts, body) = request.into_parts();
    if !headers::is_json(&parts.headers) {
        let reason = "the body must be `Content-Type: application/json`";
        return Err(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason));
    }
    match time::timeout(BODY_DEADLINE, Limited::new(body, front.body_limit).collect()).await {
        Ok(Ok(body)) => Ok((parts.headers, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let limit = front.body_limit;
            let reason = format!("the body is longer than {limit} bytes (`server.bodyLimit`)");
            Err(refused(StatusCode::PAYLOAD_TOO_LARGE, reason))
        }
        Ok(Err(error)) => Err(refused(StatusCode::BAD_REQUEST, format!("the body could not be read: {error}"))),
        Err(_) => Err(refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}

/// A request: decides its era, finds its session, and answers it.
async fn answer(front: Arc<Front>, headers: &HeaderMap, request: Request) -> Response {
    let id = request.id.clone();
    let fail = |status, error: &RpcError| reply::json(status, reply::error_message(Some(&id), error));
    let incoming = match Incoming::read(request) {
        Ok(incoming) => incoming,
        Err(error) => return fail(StatusCode::BAD_REQUEST, &error),
    };
    if let Some(version) = &incoming.meta.protocol_version {
        return match headers::check_modern(headers, &incoming, version) {
            Ok(()) => modern(front, headers, id, incoming).await,
            Err(error) => fail(StatusCode::BAD_REQUEST, &error),
        };
    }
    if incoming.method == "initialize" {
        // Boxed: it happens once, and would make the future of every request larger.
        return initialize(&front, &id, &incoming.params).boxed().await;
    }
    let revision = match headers::revision(headers) {
        Ok(revision) => revision,
        Err(error) => return fail(StatusCode::BAD_REQUEST, &error),
    };
    match session_of(&front, headers) {
        Some(Ok(session)) => exchange(front, Caller::legacy(session), id, incoming, Life::Resumable).await,
        Some(Err(error)) => fail(StatusCode::NOT_FOUND, &error),
        None => match without_session(revision, &incoming) {
            Ok(caller) => exchange(front, caller, id, incoming, Life::OfConnection).await,
            Err(error) => fail(StatusCode::BAD_REQUEST, &error),
        },
    }
}

async fn modern(front: Arc<Front>, headers: &HeaderMap, id: RawJson, mut incoming: Incoming) -> Response {
    let caller = Caller::modern(Identity::Anonymous, &incoming);
    if incoming.method == "subscriptions/listen" {
        return match Listener::subscribe(&front.gateway, &caller, &id, &incoming.params).boxed().await {
            Ok((listener, acknowledged)) => streaming::subscription(&front, listener, &acknowledged),
            Err(error) => reply::json(StatusCode::OK, reply::error_message(Some(&id), &error)),
        };
    }
    if incoming.method == "tools/call" {
        incoming.param_headers = Some(headers::of_arguments(headers));
    }
    exchange(front, caller, id, incoming, Life::OfConnection).await
}

/// The caller behind a legacy request that names no session: one that can be asked nothing, for this request alone.
fn without_session(revision: Option<Revision>, incoming: &Incoming) -> Result<Caller, RpcError> {
    // A revision before headers had to name one.
    let revision = revision.unwrap_or(Revision::V2025_03_26);
    if revision > Revision::LATEST_LEGACY {
        return Err(RpcError::invalid_params("`_meta` lacks `io.modelcontextprotocol/protocolVersion`"));
    }
    if !WITHOUT_SESSION.contains(&incoming.method.as_str()) {
        return Err(RpcError::new(
            INVALID_REQUEST,
            "this request needs the `Mcp-Session-Id` that `initialize` returned, or the `_meta` of revision 2026-07-28",
        ));
    }
    Ok(Caller::legacy(Session::new(revision, Identity::Anonymous, Object::default().to_json())))
}

async fn initialize(front: &Front, id: &RawJson, params: &Object) -> Response {
    let (session, answer) = match front.gateway.initialize(Identity::Anonymous, params, SessionTie::Id).await {
        Ok(begun) => begun,
        Err(error) => return reply::json(StatusCode::OK, reply::error_message(Some(id), &error)),
    };
    let session_id = HeaderValue::from_str(&session.id).expect("session ids are visible ASCII");
    let mut response = reply::json(StatusCode::OK, reply::message(id, &Ok(Reply::Result(answer))));
    response.headers_mut().insert(mcp_header::SESSION_ID, session_id);
    response
}

/// How long the answer of a request lives if it becomes a stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// As long as its connection.
    OfConnection,
    /// Until its client has not come back to it for a while.
    Resumable,
}

/// Runs a request. The answer is plain JSON, unless the backend sends something before its reply: then it is a stream.
/// Until then the client's going cancels the request.
async fn exchange(front: Arc<Front>, caller: Caller, id: RawJson, incoming: Incoming, life: Life) -> Response {
    let era = caller.era();
    let mut exchange = Exchange::begin(front.gateway.clone(), caller, id, incoming);
    match exchange.next().await {
        Happening::Outcome(outcome) => {
            reply::json(reply::status(era, &outcome), reply::message(&exchange.id, &outcome))
        }
        Happening::Message(first) => {
            let session = exchange.session().filter(|_| life == Life::Resumable).cloned();
            let source = Source::Exchange(Some(Box::new(exchange)));
            match session {
                Some(session) => streaming::resumable(&front, &session, source, &[first]).boxed().await,
                None => streaming::once(&front, source, first),
            }
        }
    }
}

/// Several messages at once. The answer is one array, unless a backend sends something before its reply: then it is a
/// stream with each reply on its own.
async fn batch(front: Arc<Front>, headers: &HeaderMap, text: &Bytes) -> Response {
    let fail = |status, error: &RpcError| reply::json(status, reply::error_message(None, error));
    let session = match session_of(&front, headers) {
        Some(Ok(session)) => session,
        Some(Err(error)) => return fail(StatusCode::NOT_FOUND, &error),
        None => {
            let reason = "a batch needs the `Mcp-Session-Id` of a session of revision 2025-03-26 or before";
            return fail(StatusCode::BAD_REQUEST, &RpcError::new(INVALID_REQUEST, reason));
        }
    };
    let mut batch = match Batch::begin(&front.gateway, &session, text).await {
        Ok(batch) => batch,
        Err(error) => return fail(StatusCode::BAD_REQUEST, &error),
    };
    if batch.is_empty() {
        return reply::json(StatusCode::ACCEPTED, Body::empty());
    }
    let mut messages = Vec::new();
    loop {
        match batch.next().await {
            Some(BatchEvent::Reply(reply)) => messages.push(reply),
            None => return reply::json(StatusCode::OK, envelope::write_batch(&messages)),
            Some(BatchEvent::Message(message)) => {
                messages.push(message);
                return streaming::resumable(&front, &session, Source::Batch(batch), &messages).await;
            }
        }
    }
}

fn notice(front: &Front, headers: &HeaderMap, notification: &Notification) -> Response {
    match session_of(front, headers) {
        Some(Ok(session)) => take_notification(&front.gateway, &session, notification),
        Some(Err(error)) => return refused(StatusCode::NOT_FOUND, error.message),
        // Nothing to do, and nothing wrong with it: modern clients have no session.
        None => {}
    }
    reply::json(StatusCode::ACCEPTED, Body::empty())
}

/// An answer to what a backend asked.
async fn take(front: &Front, headers: &HeaderMap, response: Answer) -> Response {
    match session_of(front, headers) {
        Some(Ok(session)) => {
            take_answer(&front.gateway, &session, response).await;
            reply::json(StatusCode::ACCEPTED, Body::empty())
        }
        Some(Err(error)) => refused(StatusCode::NOT_FOUND, error.message),
        None => refused(StatusCode::BAD_REQUEST, "only a client with a session is asked something and can answer it"),
    }
}
