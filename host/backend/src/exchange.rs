//! One POST of streamable HTTP and everything until its reply: statuses, plain answers, streams, and streams that break off
//! and go on elsewhere.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tokio::time::{sleep, timeout};
use tracing::debug;
use vmcp_core::{
    BoxError,
    call::{CallError, Reply},
    id::BackendId,
};
use vmcp_mcp::envelope::{self, BatchError, EnvelopeError, Message, Notification, Request, Response};

use crate::{
    audience::{Audience, CANCELLED},
    budget::{EXHAUSTED, LARGE},
    duplex::{change_told_by, progress_id},
    event_stream::{Event, EventStream, StreamError},
    http::{Answer, BodyError, PostError, excerpt},
    listener::{Listener, PROGRESS},
    streamable::{ASIDE, Endpoint},
};

const LAST_EVENT_ID: &str = "last-event-id";
/// Wait before a stream that broke off is asked for again, where the server said nothing of it.
const RESUME_AFTER: Duration = Duration::from_millis(500);
/// The longest that a server may ask for.
const LONGEST_RESUME_AFTER: Duration = Duration::from_secs(10);
/// Tries to reach a server again, to hear the rest of a stream.
const RESUME_TRIES: usize = 3;

/// Why an exchange brought no reply.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The server does not know the session any more; the call was not made.
    SessionGone,
    NotSent(String),
    Lost(BoxError),
    TooLong(usize),
    /// The host cannot hold the reply now.
    NoRoom,
    Protocol(String),
    Refused(StatusCode),
}

impl Fault {
    pub(crate) fn from_post(error: PostError) -> Self {
        match error {
            PostError::NotSent(why) => Self::NotSent(why),
            PostError::Lost(source) => Self::Lost(source),
            PostError::Status(status) => Self::Protocol(format!("it answered HTTP {status}")),
        }
    }

    pub(crate) fn into_call_error(self, backend: &BackendId) -> CallError {
        let backend = backend.clone();
        match self {
            Self::SessionGone => CallError::Unavailable { backend, reason: "it ends every session at once".into() },
            Self::NotSent(reason) => CallError::Unavailable { backend, reason },
            Self::Lost(source) => CallError::ConnectionLost { backend, source },
            Self::NoRoom => CallError::Unavailable { backend, reason: EXHAUSTED.to_owned() },
            Self::TooLong(limit) => CallError::ReplyTooLarge { backend, limit },
            Self::Protocol(what) => CallError::Protocol { backend, what },
            Self::Refused(status) => CallError::Refused { backend, status: status.as_u16() },
        }
    }
}

/// A message on its way and the call that waits for its reply.
pub(crate) struct Exchange<'a> {
    pub(crate) endpoint: &'a Arc<Endpoint>,
    /// Of further messages that belong to the call.
    pub(crate) headers: &'a HeaderMap,
    pub(crate) id: u64,
    pub(crate) listener: &'a Arc<Listener>,
    /// Of the session with a legacy server; modern ones ask nobody.
    pub(crate) audience: Option<&'a Arc<Audience>>,
    pub(crate) has_session: bool,
}

impl Exchange<'_> {
    /// Posts the message with `headers` and waits for the reply.
    pub(crate) async fn run(&self, headers: HeaderMap, body: Bytes) -> Result<Reply, Fault> {
        let answer = self.endpoint.client.post(headers, body).await.map_err(Fault::from_post)?;
        self.read(answer).await
    }

    /// Reads the reply out of an answer.
    pub(crate) async fn read(&self, answer: Answer) -> Result<Reply, Fault> {
        let status = answer.status();
        if !status.is_success() {
            return self.read_failure(status, answer).await;
        }
        if answer.is_event_stream() {
            return self.read_stream(answer.events()).await;
        }
        let body = answer.body().await.map_err(|error| match error {
            BodyError::TooLong => self.too_long(),
            BodyError::NoRoom => Fault::NoRoom,
            BodyError::Lost(source) => Fault::Lost(source),
        })?;
        let mut outcome = None;
        for message in parse(body.clone()).await {
            match message {
                Ok(Message::Response(response)) if !matches!(outcome, Some(Ok(_))) => {
                    outcome = Some(self.reply_of(response));
                }
                Ok(message) => drop(self.take(message).await),
                Err(error) if body.is_empty() => {
                    debug!(%error, "an empty body");
                    return Err(Fault::Protocol(format!("it answered a request with HTTP {status} and no body")));
                }
                Err(error) => outcome = outcome.or(Some(Err(Fault::Protocol(format!("{error}: {}", excerpt(&body)))))),
            }
        }
        outcome.unwrap_or_else(|| Err(Fault::Protocol("it answered a request without a reply".into())))
    }

    /// An answer with an HTTP error. A JSON-RPC error in it is the reply.
    async fn read_failure(&self, status: StatusCode, answer: Answer) -> Result<Reply, Fault> {
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Fault::Refused(status));
        }
        if status == StatusCode::NOT_FOUND && self.has_session {
            return Err(Fault::SessionGone);
        }
        let body = answer.error_body().await;
        if status == StatusCode::BAD_REQUEST && self.has_session && speaks_of_the_session(&body) {
            return Err(Fault::SessionGone);
        }
        if let Ok(Message::Response(Response { reply: reply @ Reply::Error(_), .. })) = envelope::parse(&body) {
            return Ok(reply);
        }
        let text = excerpt(&body);
        let colon = if text.is_empty() { "" } else { ": " };
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE => {
                Fault::NotSent(format!("HTTP {status}{colon}{text}"))
            }
            _ => Fault::Protocol(format!("it answered HTTP {status}{colon}{text}")),
        })
    }

    async fn read_stream(&self, mut events: EventStream) -> Result<Reply, Fault> {
        let mut place = Place::default();
        loop {
            let cause: BoxError = match events.next().await {
                Some(Ok(event)) => {
                    place.note(&event);
                    if let Some(reply) = self.take_event(event).await {
                        return Ok(reply);
                    }
                    continue;
                }
                Some(Err(StreamError::TooLong)) => return Err(self.too_long()),
                Some(Err(StreamError::NoRoom)) => return Err(Fault::NoRoom),
                Some(Err(StreamError::Broken(source))) => source,
                None => "the stream ended before the reply".into(),
            };
            events = self.resume(&place, cause).await?;
        }
    }

    /// One event of the stream; the reply if it is that.
    async fn take_event(&self, event: Event) -> Option<Reply> {
        let mut reply = None;
        for message in parse(event.into_message()?).await {
            match message {
                Ok(message) => reply = self.take(message).await.or(reply),
                Err(error) => debug!(backend = %self.endpoint.client.backend(), %error, "dropped an event"),
            }
        }
        reply
    }

    /// One message; the reply if it is that.
    async fn take(&self, message: Message) -> Option<Reply> {
        match message {
            Message::Response(response) => {
                let reply = self.reply_of(response);
                let dropped =
                    |fault: &Fault| debug!(backend = %self.endpoint.client.backend(), ?fault, "dropped a reply");
                return reply.inspect_err(dropped).ok();
            }
            Message::Notification(notification) => self.hear(notification).await,
            Message::Request(request) => self.consider(request),
        }
        None
    }

    async fn hear(&self, notification: Notification) {
        if notification.method == PROGRESS {
            if progress_id(notification.params.as_ref()).is_none_or(|id| id == self.id) {
                self.listener.progress_patiently(notification.params.as_ref()).await;
            }
        } else if let Some(audience) = self.audience.filter(|_| notification.method == CANCELLED) {
            audience.withdraw(&notification);
        } else if let Some(change) = change_told_by(&notification) {
            drop(self.endpoint.changes.send(change));
        } else {
            self.listener.notify_patiently(notification).await;
        }
    }

    fn reply_of(&self, response: Response) -> Result<Reply, Fault> {
        match response.id.as_ref().map(|id| id.as_str().parse::<u64>()) {
            Some(Ok(id)) if self.id == id => Ok(response.reply),
            // The server could not read the id; the answer to this POST is an answer nevertheless.
            None if matches!(response.reply, Reply::Error(_)) => Ok(response.reply),
            _ => Err(Fault::Protocol("it answered with the id of another request".into())),
        }
    }

    /// A legacy server wants something of the client behind this call.
    fn consider(&self, request: Request) {
        let Some(audience) = self.audience else {
            debug!(backend = %self.endpoint.client.backend(), method = request.method, "a modern server sent a request");
            return;
        };
        let taken = audience.take(request, Some(self.listener));
        let (endpoint, headers) = (self.endpoint.clone(), self.headers.clone());
        self.endpoint.tasks.spawn(async move {
            if let Some(message) = taken.message().await {
                drop(timeout(ASIDE, endpoint.client.post(headers, message)).await);
            }
        });
    }

    /// Where a legacy server numbers its events, the rest of a stream can be had from another.
    async fn resume(&self, place: &Place, cause: BoxError) -> Result<EventStream, Fault> {
        if place.last_event_id.is_none() || self.audience.is_none() {
            return Err(Fault::Lost(cause));
        }
        let mut headers = self.headers.clone();
        headers.remove(http::header::CONTENT_TYPE);
        headers.insert(http::header::ACCEPT, HeaderValue::from_static(crate::http::EVENT_STREAM));
        place.put(&mut headers);
        for _ in 0..RESUME_TRIES {
            sleep(place.retry.unwrap_or(RESUME_AFTER)).await;
            match self.endpoint.client.get(headers.clone()).await {
                Ok(answer) if answer.status().is_success() && answer.is_event_stream() => return Ok(answer.events()),
                Ok(_) => break,
                Err(_) => {}
            }
        }
        Err(Fault::Lost(cause))
    }

    fn too_long(&self) -> Fault {
        Fault::TooLong(self.endpoint.client.body_limit())
    }
}

/// How far a stream has been read.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) last_event_id: Option<HeaderValue>,
    pub(crate) retry: Option<Duration>,
}

impl Place {
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(id) = event.id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
            self.last_event_id = Some(id);
        }
        if let Some(millis) = event.retry {
            self.retry = Some(Duration::from_millis(millis).min(LONGEST_RESUME_AFTER));
        }
    }

    /// Asks for the stream from here on.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        if let Some(id) = &self.last_event_id {
            headers.insert(HeaderName::from_static(LAST_EVENT_ID), id.clone());
        }
    }
}

/// Parses a message, or a batch of them; a long one off the runtime's workers, where it would hold up others.
pub(crate) async fn parse(text: Bytes) -> Vec<Result<Message, EnvelopeError>> {
    if text.len() <= LARGE {
        return parse_here(&text);
    }
    tokio::task::spawn_blocking(move || parse_here(&text)).await.expect("parsing does not panic")
}

fn parse_here(text: &Bytes) -> Vec<Result<Message, EnvelopeError>> {
    if !envelope::is_batch(text) {
        return vec![envelope::parse(text)];
    }
    let odd = |what| vec![Err(EnvelopeError::NotJsonRpc { what, id: None })];
    match envelope::parse_batch(text) {
        Ok(messages) => messages,
        Err(BatchError::NotJson(error)) => vec![Err(EnvelopeError::NotJson(error))],
        Err(BatchError::TooLong) => odd("it is a batch of too many messages"),
        Err(BatchError::Empty) => odd("it is an empty batch"),
    }
}

/// Many servers answer an unknown session with 400 where the specification says 404.
pub(crate) fn speaks_of_the_session(body: &[u8]) -> bool {
    excerpt(body).to_ascii_lowercase().contains("session")
}
