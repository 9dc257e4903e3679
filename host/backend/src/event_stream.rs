//! Server-sent events of bounded size from an HTTP body.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sse_stream::SseByteStream;
use vmcp_core::BoxError;

use crate::budget::Held;

type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

pub(crate) struct EventStream {
    events: SseByteStream<Metered>,
    meter: Arc<Mutex<Meter>>,
}

/// One event.
#[derive(Debug, Default)]
pub(crate) struct Event {
    /// Its kind; `message` when absent.
    pub(crate) kind: Option<String>,
    pub(crate) data: Bytes,
    pub(crate) id: Option<String>,
    /// Wait before the stream is asked for again, in milliseconds.
    pub(crate) retry: Option<u64>,
}

impl Event {
    /// The JSON-RPC message that it carries; some events only tell a place or a time.
    pub(crate) fn into_message(self) -> Option<Bytes> {
        let is_message = self.kind.is_none_or(|kind| kind.is_empty() || kind == "message");
        (is_message && !self.data.is_empty()).then_some(self.data)
    }
}

/// Why a stream of events broke.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// An event is longer than allowed.
    TooLong,
    /// The process holds too many bytes.
    NoRoom,
    Broken(BoxError),
}

impl EventStream {
    /// - `limit`: longest event, in bytes
    pub(crate) fn new(body: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static, limit: usize) -> Self {
        let meter = Arc::new(Mutex::new(Meter::default()));
        let metered = Metered { body: Box::pin(body), meter: meter.clone(), limit };
        Self { events: SseByteStream::new(metered), meter }
    }

    /// The next event; `None` at the end of the body. Safe to drop at any await.
    pub(crate) async fn next(&mut self) -> Option<Result<Event, StreamError>> {
        let event = self.events.next().await?;
        let meter = std::mem::take(&mut *self.meter.lock().expect("no panic while held"));
        Some(match event {
            Ok(event) => Ok(Event {
                kind: event.event,
                data: event.data.map(|data| meter.held.attach_to(data.into())).unwrap_or_default(),
                id: event.id,
                retry: event.retry,
            }),
            Err(sse_stream::Error::Body(source)) => Err(match source.downcast::<MeterError>().map(|error| *error) {
                Ok(MeterError::TooLong) => StreamError::TooLong,
                Ok(MeterError::NoRoom) => StreamError::NoRoom,
                Ok(MeterError::Body(error)) => StreamError::Broken(error),
                Err(source) => StreamError::Broken(source),
            }),
            Err(other) => Err(StreamError::Broken(other.into())),
        })
    }
}

/// What has been read since the last event; the parser itself has no bound.
#[derive(Default)]
struct Meter {
    bytes: usize,
    held: Held,
}

struct Metered {
    body: Body,
    meter: Arc<Mutex<Meter>>,
    limit: usize,
}

#[derive(Debug, thiserror::Error)]
enum MeterError {
    #[error("the event is too long")]
    TooLong,
    #[error("no room for the event")]
    NoRoom,
    #[error("the body broke off")]
    Body(#[source] BoxError),
}

impl Stream for Metered {
    type Item = Result<Bytes, MeterError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(item) = self.body.as_mut().poll_next(context) else { return Poll::Pending };
        Poll::Ready(item.map(|chunk| {
            let chunk = chunk.map_err(MeterError::Body)?;
            let mut meter = self.meter.lock().expect("no panic while held");
            // The first chunk may end with an event and be long for that; what matters is what it is added to.
            if meter.bytes > self.limit {
                return Err(MeterError::TooLong);
            }
            meter.bytes += chunk.len();
            let length = meter.bytes;
            if meter.held.cover(length) { Ok(chunk) } else { Err(MeterError::NoRoom) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(chunks: Vec<&'static str>, limit: usize) -> EventStream {
        let chunks = chunks.into_iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())));
        EventStream::new(futures::stream::iter(chunks), limit)
    }

    #[tokio::test]
    async fn events_come_whole_and_a_long_one_breaks_the_stream() {
        let mut events = stream(vec!["id: 1\nda", "ta: a\n\ndata: b\n\n", ": quiet\n\n", "data:c\n\n"], 100);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event.unwrap().data);
        }
        assert_eq!(seen, ["a", "b", "c"]);

        let mut events = stream(vec!["data: ", "aaaaaaaaaa", "aaaaaaaaaa", "aaaaaaaaaa", "a\n\n"], 20);
        assert!(matches!(events.next().await, Some(Err(StreamError::TooLong))));
        assert!(events.next().await.is_none());
    }

    #[test]
    fn only_events_with_data_are_messages() {
        let check = |kind: Option<&str>, data: &'static str, expected: Option<&str>| {
            let event = Event { kind: kind.map(str::to_owned), data: data.into(), ..Event::default() };
            assert_eq!(event.into_message().as_deref(), expected.map(str::as_bytes));
        };
        check(None, "{}", Some("{}"));
        check(Some("message"), "{}", Some("{}"));
        check(Some("endpoint"), "/x", None);
        check(None, "", None);
    }
}
