//! Messages as server-sent events.

use std::io::Write as _;

use bytes::Bytes;

use crate::stream_log::EventId;

/// A comment that keeps proxies and clients from giving up on a quiet stream.
pub(crate) const KEEP_ALIVE: &[u8] = b": still here\n\n";

/// `message` as one event.
pub(crate) fn event(message: &[u8]) -> Bytes {
    const START: &[u8] = b"event: message\ndata: ";
    let mut out = Vec::with_capacity(START.len() + message.len() + 2);
    out.extend_from_slice(START);
    out.extend_from_slice(&one_line(message));
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// `message` as one event that a client can name when it comes back.
pub(crate) fn event_with_id(id: EventId, message: &[u8]) -> Bytes {
    const REST: usize = 64;
    let mut out = Vec::with_capacity(REST + message.len());
    write!(out, "id: {id}\nevent: message\ndata: ").expect("writing to memory does not fail");
    out.extend_from_slice(&one_line(message));
    out.extend_from_slice(b"\n\n");
    out.into()
}

/// An event that carries nothing but an id to come back with, and how soon to do so.
pub(crate) fn priming_event(id: EventId) -> Bytes {
    // Clients try twice: a host that is started anew should be back by then.
    const RETRY_MILLIS: u32 = 3000;
    format!("id: {id}\nretry: {RETRY_MILLIS}\ndata: \n\n").into()
}

/// Where a client of HTTP+SSE sends its messages.
pub(crate) fn endpoint_event(path: &str) -> Bytes {
    format!("event: endpoint\ndata: {path}\n\n").into()
}

/// `json` without line breaks. In JSON text they only occur between values, where a space means the same.
pub(crate) fn one_line(json: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', json).is_none() {
        return json.into();
    }
    json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect::<Vec<_>>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_the_message() {
        assert_eq!(event(b"{\n \"a\":\r\n1}"), &b"event: message\ndata: {  \"a\":  1}\n\n"[..]);
        assert_eq!(event(b"{}"), &b"event: message\ndata: {}\n\n"[..]);
    }
}
