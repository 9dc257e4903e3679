//! Answers that are streams of events: what feeds them, and how long they go on without their client.

use std::{collections::VecDeque, convert::Infallible, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderValue, header};
use tokio::{sync::mpsc, time};
use tokio_util::sync::{CancellationToken, DropGuard};
use vmcp_gateway::session::Session;
use vmcp_mcp::era::Revision;

use crate::{
    batch::{Batch, BatchEvent},
    exchange::{Exchange, Happening},
    http::Front,
    listen::Listener,
    reply,
    resume::{self, Reader},
    sse,
    stream_log::{EventId, StreamKind},
};

/// How long a message waits for a client that does not read its stream; then the client counts as gone.
pub(crate) const CLIENT_PATIENCE: Duration = Duration::from_secs(30);
/// Messages of one stream that may wait for its client.
const STREAM_QUEUE: usize = 16;
/// How often a quiet stream says that it is still there.
pub(crate) const KEEP_ALIVE_PERIOD: Duration = Duration::from_secs(15);

/// Where the messages of a stream come from.
pub(crate) enum Source {
    /// `None` once it is over.
    Exchange(Option<Box<Exchange>>),
    Batch(Batch),
    Session(SessionEvents),
}

/// What a session hears of outside its requests.
pub(crate) struct SessionEvents {
    listener: Listener,
    /// Fires when another stream takes the place of this one, or the session ends.
    ended: CancellationToken,
    /// Lets the session know that this stream is no more.
    _guard: DropGuard,
    shutdown: CancellationToken,
    waiting: VecDeque<Bytes>,
}

impl SessionEvents {
    pub(crate) fn new(front: &Front, session: &Arc<Session>) -> Self {
        let ended = session.begin_stream();
        Self {
            listener: Listener::of_session(&front.gateway, session.clone()),
            _guard: ended.clone().drop_guard(),
            ended,
            shutdown: front.shutdown.clone(),
            waiting: VecDeque::new(),
        }
    }

    /// For a client that missed what there was to hear: every list may have changed.
    #[must_use]
    pub(crate) fn after_a_gap(mut self) -> Self {
        self.waiting.extend(self.listener.all_lists_changed());
        self
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.waiting.is_empty() {
            let messages = tokio::select! {
                // What comes after another stream began is for that one.
                biased;
                () = self.shutdown.cancelled() => return None,
                () = self.ended.cancelled() => return None,
                messages = self.listener.next() => messages?,
            };
            self.waiting.extend(messages);
        }
        self.waiting.pop_front()
    }
}

impl Source {
    /// The next message for the client; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        match self {
            Self::Exchange(running) => {
                let exchange = running.as_mut()?;
                match exchange.next().await {
                    Happening::Message(message) => Some(message),
                    Happening::Outcome(outcome) => {
                        let message = reply::message(&exchange.id, &outcome);
                        *running = None;
                        Some(message)
                    }
                }
            }
            Self::Batch(batch) => batch.next().await.map(|event| match event {
                BatchEvent::Message(message) | BatchEvent::Reply(message) => message,
            }),
            Self::Session(events) => events.next().await,
        }
    }
}

/// A stream for a client that cannot come back to it: it ends with its connection, and what feeds it with it.
pub(crate) fn once(front: &Front, source: Source, first: Bytes) -> Response {
    let (sender, receiver) = mpsc::channel(STREAM_QUEUE);
    // A task of its own: the call goes on, and its deadline with it, while the client does not read.
    front.tasks.spawn(pump(source, first, sender));
    event_stream(stream::unfold(receiver, |mut receiver| async move {
        let event = tokio::select! {
            event = receiver.recv() => event?,
            () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
        };
        Some((event, receiver))
    }))
}

async fn pump(mut source: Source, first: Bytes, sender: mpsc::Sender<Bytes>) {
    let mut message = first;
    loop {
        let event = sse::event(&message);
        if !matches!(time::timeout(CLIENT_PATIENCE, sender.send(event)).await, Ok(Ok(()))) {
            return;
        }
        let next = tokio::select! {
            next = source.next() => next,
            () = sender.closed() => return,
        };
        match next {
            Some(next) => message = next,
            None => return,
        }
    }
}

/// A stream that outlives its connections: the client of `session` may come back to it for a while.
///
/// - `first`: what is there already
pub(crate) async fn resumable(front: &Arc<Front>, session: &Session, source: Source, first: &[Bytes]) -> Response {
    let kind = match source {
        Source::Session(_) => StreamKind::Session,
        Source::Exchange(_) | Source::Batch(_) => StreamKind::Request,
    };
    // Clients of earlier revisions may take an event without data for a broken message.
    let is_primed = session.revision >= Revision::V2025_11_25;
    let stream = front.streams.open(&session.id, kind, is_primed);
    let noting = match &source {
        Source::Exchange(Some(exchange)) => Some(exchange.goes_over(front.gateway.clone(), stream.number())),
        _ => None,
    };
    if let Some(noting) = noting {
        noting.await;
    }
    for message in first {
        front.streams.push(&stream, message);
    }
    let reader = stream.read(None).expect("every stream can be read from its start");
    front.tasks.spawn(keep(front.clone(), stream, source));
    event_stream(reading(reader))
}

/// The stream that the event `last` was on, from there on. `None` when it is not kept, or not the session's.
pub(crate) fn resume(front: &Front, session: &Session, last: EventId) -> Option<Response> {
    let stream = front.streams.find(&session.id, last.stream)?;
    stream.read(Some(last.seq)).map(reading).map(event_stream)
}

/// The stream that the event `last` was on, when an earlier process opened it for the run of a composite tool: it goes on with
/// what that asks and comes to.
pub(crate) async fn reopen(front: &Arc<Front>, session: &Arc<Session>, last: EventId) -> Option<Response> {
    let request = front.gateway.earlier_request(session, last.stream.number).await?;
    let stream = front.streams.reopen(&session.id, last)?;
    let exchange = Exchange::rejoin(front.gateway.clone(), session.clone(), request);
    let reader = stream.read(None).expect("every stream can be read from its start");
    front.tasks.spawn(keep(front.clone(), stream, Source::Exchange(Some(Box::new(exchange)))));
    Some(event_stream(reading(reader)))
}

/// Feeds a stream to its end, or until nobody has come back to it for the grace.
async fn keep(front: Arc<Front>, stream: Arc<resume::Stream>, mut source: Source) {
    let mut given_up = pin!(async {
        tokio::select! {
            () = stream.abandoned() => {}
            () = async { front.shutdown.cancelled().await; stream.disconnected().await } => {}
        }
    });
    loop {
        stream.keep_pace(CLIENT_PATIENCE).await;
        let message = tokio::select! {
            message = source.next() => message,
            () = &mut given_up => return front.streams.forget(&stream),
        };
        match message {
            Some(message) => front.streams.push(&stream, &message),
            None => return front.streams.finish(&stream),
        }
    }
}

/// What a connection sends of a kept stream: at once a comment, if there is nothing else, so that the client knows that it
/// stands.
fn reading(reader: Reader) -> impl Stream<Item = Bytes> + Send + 'static {
    let greeting = (!reader.has_news()).then_some(Bytes::from_static(sse::KEEP_ALIVE));
    let events = stream::unfold(reader, |mut reader| async move {
        let event = tokio::select! {
            event = reader.next() => event?,
            () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
        };
        Some((event, reader))
    });
    stream::iter(greeting).chain(events)
}

/// The events of a modern client's subscription until the front shuts down, with a sign of life while nothing happens.
pub(crate) fn subscription(front: &Front, listener: Listener, acknowledged: &[u8]) -> Response {
    let start = sse::event(acknowledged);
    let state = (listener, front.shutdown.clone());
    let rest = stream::unfold(state, |(mut listener, shutdown)| async move {
        let next = tokio::select! {
            () = shutdown.cancelled() => return None,
            () = time::sleep(KEEP_ALIVE_PERIOD) => Bytes::from_static(sse::KEEP_ALIVE),
            messages = listener.next() => messages?.iter().flat_map(|message| sse::event(message)).collect(),
        };
        Some((next, (listener, shutdown)))
    });
    event_stream(stream::once(async move { start }).chain(rest))
}

/// Events as they go over the wire.
pub(crate) fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Some reverse proxies hold streams back unless they are told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
