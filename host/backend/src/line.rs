//! Reads lines of bounded length without copying them. A line that is too long is skipped in bounded memory, and as much of
//! it is kept as tells which call it would have answered.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::budget::{Held, LARGE};

/// Free room to read into at the least.
const READ_SIZE: usize = 16 * 1024;
/// Growth of the buffer in one step at most.
const GROWTH: usize = 4 * 1024 * 1024;
const HEAD: usize = 1024;
const TAIL: usize = 128;

/// One line, without its end.
#[derive(Debug)]
pub(crate) enum Line {
    Whole(Bytes),
    TooLong(Skipped),
}

/// Both ends of a line that was too long to keep.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    head: Vec<u8>,
    tail: Vec<u8>,
    is_for_room: bool,
}

pub(crate) struct LineReader<R> {
    source: R,
    buffer: BytesMut,
    /// So much of the buffer holds no line end.
    scanned: usize,
    limit: usize,
    skipping: Option<Skipped>,
    /// The part of the process's budget that the line in the buffer takes.
    held: Held,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    /// - `limit`: longest line, in bytes
    pub(crate) fn new(source: R, limit: usize) -> Self {
        Self { source, buffer: BytesMut::new(), scanned: 0, limit, skipping: None, held: Held::default() }
    }

    /// The next line; `None` at the end of the input. Safe to drop at any await.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
                let line = self.take(self.scanned + at, 1);
                return Ok(Some(line));
            }
            self.scanned = self.buffer.len();
            let is_too_long = self.buffer.len() > self.limit;
            let is_for_room = !is_too_long && !self.held.cover(self.buffer.len());
            if self.skipping.is_some() || is_too_long || is_for_room {
                self.held = Held::default();
                let skipped = self.skipping.get_or_insert_default();
                skipped.is_for_room |= is_for_room;
                skipped.extend(&self.buffer);
                self.buffer.clear();
                self.scanned = 0;
            }
            if self.buffer.capacity() - self.buffer.len() < READ_SIZE / 4 {
                self.buffer.reserve(self.buffer.len().clamp(READ_SIZE, GROWTH));
            }
            if self.source.read_buf(&mut self.buffer).await? == 0 {
                let is_empty = self.buffer.is_empty() && self.skipping.is_none();
                return Ok((!is_empty).then(|| self.take(self.buffer.len(), 0)));
            }
        }
    }

    fn take(&mut self, end: usize, separator: usize) -> Line {
        let mut line = self.buffer.split_to(end + separator);
        self.scanned = 0;
        line.truncate(end);
        if let Some(mut skipped) = self.skipping.take() {
            skipped.extend(&line);
            return Line::TooLong(skipped);
        }
        if line.len() > self.limit {
            let mut skipped = Skipped::default();
            skipped.extend(&line);
            return Line::TooLong(skipped);
        }
        if line.len() > LARGE {
            // It does not leave its buffer behind for the next.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        let held = std::mem::take(&mut self.held);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Line::Whole(held.attach_to(line.freeze()))
    }
}

impl Skipped {
    fn extend(&mut self, more: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&more[..more.len().min(room)]);
        self.tail.extend_from_slice(&more[more.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// Whether there was no room for it, rather than that it broke its own limit.
    pub(crate) fn is_for_room(&self) -> bool {
        self.is_for_room
    }

    /// The id of the response that the line would have been, where it stands before or behind the long part.
    pub(crate) fn response_id(&self) -> Option<u64> {
        id_at_head(&self.head).or_else(|| id_at_tail(&self.tail))
    }
}

/// The number behind a top-level `"id"` among the scalars that open the object.
fn id_at_head(head: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(head);
    let mut rest = text.trim_start().strip_prefix('{')?;
    loop {
        let (key, after) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        if key == "id" {
            return leading_number(value);
        }
        // Only plain strings such as the version may come before it.
        let (_, after) = value.strip_prefix('"')?.split_once('"')?;
        rest = after.trim_start().strip_prefix(',')?;
    }
}

/// The number behind an `"id"` that closes the outermost object.
fn id_at_tail(tail: &[u8]) -> Option<u64> {
    let text = String::from_utf8_lossy(tail);
    let body = text.trim_end().strip_suffix('}')?.trim_end();
    let (before, number) = body.rsplit_once(':')?;
    before.trim_end().ends_with("\"id\"").then(|| number.trim().parse().ok()).flatten()
}

fn leading_number(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines(input: &[u8], limit: usize) -> Vec<String> {
        let mut reader = LineReader::new(input, limit);
        let mut out = Vec::new();
        while let Some(line) = reader.next().await.unwrap() {
            out.push(match line {
                Line::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                Line::TooLong(skipped) => format!("too long, id {:?}", skipped.response_id()),
            });
        }
        out
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_long_ones_are_skipped() {
        assert_eq!(lines(b"a\nbc\r\n\nlast", 10).await, ["a", "bc", "", "last"]);
        assert_eq!(lines(b"", 10).await, Vec::<String>::new());
        let long = format!("a\n{{\"jsonrpc\":\"2.0\", \"id\": 12 ,\"result\":\"{}\"}}\nb\n", "x".repeat(200_000));
        assert_eq!(lines(long.as_bytes(), 1000).await, ["a", "too long, id Some(12)", "b"]);
        let long = format!("{{\"result\":\"{}\",\"jsonrpc\":\"2.0\",\"id\":13}}\nb\n", "x".repeat(200_000));
        assert_eq!(lines(long.as_bytes(), 1000).await, ["too long, id Some(13)", "b"]);
        let nested = format!("{{\"result\":{{\"x\":\"{}\",\"id\":13}}}}", "x".repeat(200_000));
        assert_eq!(lines(nested.as_bytes(), 1000).await, ["too long, id None"]);
    }
}
