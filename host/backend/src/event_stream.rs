//! Server-sent events of bounded size from an HTTP body.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use sse_stream::{Sse, SseByteStream};
use vmcp_core::BoxError;

type Body = Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>;

pub(crate) struct EventStream {
    events: SseByteStream<Metered>,
    /// Bytes since the last event; the parser itself has no bound.
    meter: Arc<AtomicUsize>,
}

/// Why a stream of events broke.
#[derive(Debug)]
pub(crate) enum StreamError {
    /// An event is longer than allowed.
    TooLong,
    Broken(BoxError),
}

impl EventStream {
    /// - `limit`: longest event, in bytes
    pub(crate) fn new(body: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static, limit: usize) -> Self {
        let meter = Arc::new(AtomicUsize::new(0));
        let metered = Metered { body: Box::pin(body), meter: meter.clone(), limit };
        Self { events: SseByteStream::new(metered), meter }
    }

    /// The next event; `None` at the end of the body. Safe to drop at any await.
    pub(crate) async fn next(&mut self) -> Option<Result<Sse, StreamError>> {
        let event = self.events.next().await?;
        self.meter.store(0, Ordering::Relaxed);
        Some(event.map_err(|error| match error {
            sse_stream::Error::Body(source) => match source.downcast::<MeterError>() {
                Ok(error) => match *error {
                    MeterError::TooLong => StreamError::TooLong,
                    MeterError::Body(error) => StreamError::Broken(error.without_url().into()),
                },
                Err(source) => StreamError::Broken(source),
            },
            other => StreamError::Broken(other.into()),
        }))
    }
}

struct Metered {
    body: Body,
    meter: Arc<AtomicUsize>,
    limit: usize,
}

#[derive(Debug, thiserror::Error)]
enum MeterError {
    #[error("the event is too long")]
    TooLong,
    #[error("the body broke off")]
    Body(#[source] reqwest::Error),
}

impl Stream for Metered {
    type Item = Result<Bytes, MeterError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(item) = self.body.as_mut().poll_next(context) else { return Poll::Pending };
        Poll::Ready(item.map(|chunk| {
            let chunk = chunk.map_err(MeterError::Body)?;
            let held = self.meter.fetch_add(chunk.len(), Ordering::Relaxed);
            if held > self.limit { Err(MeterError::TooLong) } else { Ok(chunk) }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(chunks: Vec<&'static str>, limit: usize) -> EventStream {
        EventStream::new(
            futures::stream::iter(chunks.into_iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes())))),
            limit,
        )
    }

    #[tokio::test]
    async fn events_come_whole_and_a_long_one_breaks_the_stream() {
        let mut events = stream(vec!["id: 1\nda", "ta: a\n\ndata: b\n\n", ": quiet\n\n", "data:c\n\n"], 100);
        let mut seen = Vec::new();
        while let Some(event) = events.next().await {
            seen.push(event.unwrap().data.unwrap());
        }
        assert_eq!(seen, ["a", "b", "c"]);

        let mut events = stream(vec!["data: ", "aaaaaaaaaa", "aaaaaaaaaa", "aaaaaaaaaa", "a\n\n"], 20);
        assert!(matches!(events.next().await, Some(Err(StreamError::TooLong))));
        assert!(events.next().await.is_none());
    }
}
