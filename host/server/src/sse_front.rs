//! HTTP+SSE, the only HTTP form of revision 2024-11-05: one long stream to the client, and a path to which the client posts.
//! It is one connection like stdio, except that messages come in requests of their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{body::Body, extract::Request as HttpRequest, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, StatusCode, header};
use tokio::{sync::mpsc, time};
use tokio_util::sync::DropGuard;

use crate::{
    connection::{Connection, ConnectionOptions},
    headers,
    http::Front,
    post,
    reply::{self, refused, wrong_method},
    sse,
    streaming::{CLIENT_PATIENCE, KEEP_ALIVE_PERIOD, event_stream},
};

/// Where the stream is.
pub(crate) const PATH: &str = "/sse";
/// Where its messages go; the stream says so, and some clients know it without listening.
const MESSAGES: &str = "/messages";
/// Most connections at a time: each is an open socket, of which a process has only so many.
const MAX_CONNECTIONS: usize = 10_000;
/// Longest wait for requests under way when the host stops.
const GRACE: Duration = Duration::from_secs(5);

/// The connections that are open, by the secret that their messages name.
#[derive(Default)]
pub(crate) struct SseConnections {
    by_id: Mutex<HashMap<String, Arc<Connection>>>,
}

impl SseConnections {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.by_id.lock().expect("no panic while locked")
    }
}

/// Whether messages of such connections are posted to `path`.
pub(crate) fn is_message_path(path: &str) -> bool {
    matches!(path, MESSAGES | "/messages/" | "/message")
}

/// Begins a connection: the stream, and where to post.
pub(crate) fn open(front: &Arc<Front>, request: &HttpRequest) -> Response {
    if request.method() != Method::GET {
        return wrong_method("GET", "HTTP+SSE begins with a GET; streamable HTTP is served at `/mcp`");
    }
    if !headers::has_media_type(request.headers(), &header::ACCEPT, &["text/event-stream"]) {
        return refused(StatusCode::NOT_ACCEPTABLE, "a GET must accept `text/event-stream`");
    }
    let options = ConnectionOptions { patience: Some(CLIENT_PATIENCE), ..ConnectionOptions::default() };
    let (connection, queue) = Connection::open(front.gateway.clone(), options);
    let id = format!("{:032x}", rand::random::<u128>());
    {
        let mut connections = front.connections.lock();
        if connections.len() >= MAX_CONNECTIONS {
            return refused(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("{MAX_CONNECTIONS} clients are connected already"),
            );
        }
        connections.insert(id.clone(), connection.clone());
    }
    let endpoint = sse::endpoint_event(&format!("{MESSAGES}?sessionId={id}"));
    let closed = connection.closed.clone().drop_guard();
    let ending = front.clone();
    front.tasks.spawn(async move {
        tokio::select! {
            () = connection.closed.cancelled() => {}
            () = ending.shutdown.cancelled() => {}
        }
        ending.connections.lock().remove(&id);
        connection.finish(GRACE).await;
    });
    event_stream(stream::once(async { endpoint }).chain(stream::unfold((queue, closed), next_event)))
}

/// The next event of a stream, which closes its connection when it is dropped.
async fn next_event((mut queue, closed): Queue) -> Option<(Bytes, Queue)> {
    let event = tokio::select! {
        message = queue.recv() => sse::event(&message?),
        () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
    };
    Some((event, (queue, closed)))
}

type Queue = (mpsc::Receiver<Bytes>, DropGuard);

/// A message of a client: the answer, if there is one, comes on the stream.
pub(crate) async fn post(front: &Front, request: HttpRequest) -> Response {
    if request.method() != Method::POST {
        return wrong_method("POST", "messages are posted here");
    }
    let Some(connection) = session_id(&request).and_then(|id| front.connections.lock().get(id).cloned()) else {
        return refused(StatusCode::NOT_FOUND, "`sessionId` names no open stream; begin one with GET /sse");
    };
    match post::read(front, request).await {
        Ok((_, body)) => {
            connection.take(&body).await;
            reply::json(StatusCode::ACCEPTED, Body::empty())
        }
        Err(refusal) => refusal,
    }
}

fn session_id(request: &HttpRequest) -> Option<&str> {
    named_in(request.uri().query()?)
}

fn named_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| match pair.split_once('=')? {
        ("sessionId" | "session_id", id) => Some(id),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_is_named_in_the_query() {
        let check = |query: &str, expected: Option<&str>| assert_eq!(named_in(query), expected, "{query}");
        check("sessionId=a", Some("a"));
        check("x=1&session_id=b", Some("b"));
        check("sessionId", None);
        check("x=1", None);
        check("", None);
    }

    #[test]
    fn messages_are_taken_where_clients_send_them() {
        for (path, expected) in [("/messages", true), ("/messages/", true), ("/message", true), ("/messages/x", false)]
        {
            assert_eq!(is_message_path(path), expected, "{path}");
        }
    }
}
