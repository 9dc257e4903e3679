//! A bare HTTP/1.1 client: every header and byte is the test's. One connection per request, closed when the response is
//! dropped.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::process::PATIENCE;

/// Authority and path of an `http://` URL.
pub fn split_url(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url:?} is not http"));
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

/// A kept-alive connection without Nagle's delay.
pub async fn connect(authority: &str) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    #[expect(clippy::disallowed_methods, reason = "the connection ends with its last sender or body")]
    tokio::spawn(async { drop(connection.await) });
    Ok(sender)
}

/// Sends one request on a connection of its own.
pub async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> io::Result<Response> {
    let (authority, path) = split_url(url);
    let mut sender = connect(authority).await?;
    let mut request = Request::builder().method(method).uri(if path.is_empty() { "/" } else { path });
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", authority);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let is_stream =
        head.headers.get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    Ok(Response { status: head.status.as_u16(), headers: head.headers, is_stream, body, buffer: BytesMut::new() })
}

pub async fn get(url: &str) -> io::Result<Response> {
    send("GET", url, &[], "").await
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: HeaderMap,
    /// Whether the body is a stream of server-sent events.
    pub is_stream: bool,
    body: Incoming,
    buffer: BytesMut,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body as text.
    pub async fn text(self) -> String {
        let collected = timeout(PATIENCE, self.body.collect()).await.expect("the body ends in time");
        String::from_utf8(collected.unwrap().to_bytes().to_vec()).expect("the body is UTF-8")
    }

    /// The data of the next event that has any; `None` at the end of the stream.
    pub async fn next_event(&mut self) -> Option<String> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let event = self.buffer.split_to(end + 2);
                let event = std::str::from_utf8(&event).expect("events are UTF-8");
                let data: Vec<&str> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(|data| data.strip_prefix(' ').unwrap_or(data))
                    .collect();
                if data.iter().any(|line| !line.is_empty()) {
                    return Some(data.join("\n"));
                }
            }
            let data = self.body.frame().await?.ok()?.into_data().unwrap_or_default();
            self.buffer.extend(data.iter().filter(|byte| **byte != b'\r'));
        }
    }

    /// As [`Self::next_event`]; panics when none comes within `limit`.
    pub async fn next_event_within(&mut self, limit: Duration) -> String {
        timeout(limit, self.next_event()).await.expect("an event in time").expect("the stream goes on")
    }
}
