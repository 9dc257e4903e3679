//! The readers of what servers send, opened for fuzz targets: bytes in any cut go in, what was understood comes out.
//!
//! Behind the feature `fuzzing`, which nothing that ships turns on.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, stream};
use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    event_stream::{EventStream, StreamError},
    line::{Line, LineReader},
};

/// One server-sent event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    pub kind: Option<String>,
    pub data: Vec<u8>,
    pub id: Option<String>,
    pub retry: Option<u64>,
}

/// All events of a stream, and whether it broke before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEvents {
    pub seen: Vec<SeenEvent>,
    pub is_broken: bool,
}

/// One line of a server's stdout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenLine {
    Whole(Vec<u8>),
    /// With the id of the response that it would have been.
    TooLong(Option<u64>),
}

/// Reads `chunks` as the body of an event stream.
///
/// - `limit`: longest event, in bytes
pub fn read_events(chunks: &[&[u8]], limit: usize) -> SeenEvents {
    let body: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let mut events = EventStream::new(stream::iter(body), limit);
    let mut seen = Vec::new();
    loop {
        match events.next().now_or_never().expect("the whole body is there") {
            Some(Ok(event)) => {
                seen.push(SeenEvent { kind: event.kind, data: event.data.to_vec(), id: event.id, retry: event.retry })
            }
            Some(Err(StreamError::TooLong | StreamError::NoRoom | StreamError::Broken(_))) => {
                return SeenEvents { seen, is_broken: true };
            }
            None => return SeenEvents { seen, is_broken: false },
        }
    }
}

/// Reads `chunks` as the lines of a server's stdout.
///
/// - `limit`: longest line, in bytes
pub fn read_lines(chunks: &[&[u8]], limit: usize) -> Vec<SeenLine> {
    // An empty read means the end.
    let chunks = chunks.iter().filter(|chunk| !chunk.is_empty()).map(|chunk| Bytes::copy_from_slice(chunk));
    let mut lines = LineReader::new(Pipe { chunks: chunks.collect() }, limit);
    let mut seen = Vec::new();
    while let Some(line) = lines.next().now_or_never().expect("all is there").expect("memory does not fail") {
        seen.push(match line {
            Line::Whole(line) => SeenLine::Whole(line.to_vec()),
            Line::TooLong(skipped) => SeenLine::TooLong(skipped.response_id()),
        });
    }
    seen
}

/// Gives one chunk per read, as far as there is room.
struct Pipe {
    chunks: VecDeque<Bytes>,
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(chunk) = self.chunks.front_mut() {
            let length = chunk.len().min(buffer.remaining());
            buffer.put_slice(&chunk.split_to(length));
            if chunk.is_empty() {
                self.chunks.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}
