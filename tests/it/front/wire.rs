//! Clients that write HTTP and lines themselves: every header and every byte of a stream is the test's.

use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, body::Incoming};
use serde_json::{Value, json};
use tokio::{
    io::{self, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};
use vmcp_tests::{host::WrittenHost, http, process::PATIENCE};

/// A legacy client with a session.
pub(crate) struct Wire {
    pub(crate) url: String,
    pub(crate) session: String,
    pub(crate) revision: &'static str,
}

impl Wire {
    pub(crate) async fn open(url: &str, revision: &'static str, capabilities: &Value) -> Self {
        let answer = send("POST", url, &JSON, initialize(revision, capabilities).to_string()).await;
        let session = answer.header("mcp-session-id").expect("a session id").to_owned();
        assert_eq!(answer.json().await["result"]["protocolVersion"], revision);
        let wire = Self { url: url.to_owned(), session, revision };
        let initialized = wire.post(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        assert_eq!(initialized.status, 202);
        wire
    }

    pub(crate) async fn post(&self, body: &Value) -> Answer {
        let headers = [&JSON[..], &self.headers()].concat();
        send("POST", &self.url, &headers, body.to_string()).await
    }

    /// Calls `tool` as request `id`, and wants to hear of its progress.
    pub(crate) async fn call(&self, id: u64, tool: &str, arguments: Value) -> Answer {
        self.post(&call(id, tool, arguments)).await
    }

    pub(crate) async fn get(&self, last_event_id: Option<&str>) -> Answer {
        let mut headers = [&[("accept", "text/event-stream")], &self.headers()[..]].concat();
        headers.extend(last_event_id.map(|id| ("last-event-id", id)));
        send("GET", &self.url, &headers, "").await
    }

    fn headers(&self) -> [(&str, &str); 2] {
        [("mcp-session-id", &self.session), ("mcp-protocol-version", self.revision)]
    }
}

pub(crate) const JSON: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

pub(crate) fn initialize(revision: &str, capabilities: &Value) -> Value {
    let params = json!({ "protocolVersion": revision, "capabilities": capabilities,
        "clientInfo": { "name": "wire", "version": "1" } });
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params })
}

#[expect(clippy::needless_pass_by_value, reason = "arguments are written where the call is")]
pub(crate) fn call(id: u64, tool: &str, arguments: Value) -> Value {
    let params = json!({ "name": tool, "arguments": arguments, "_meta": { "progressToken": id } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

pub(crate) async fn send(method: &str, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
    let (authority, path) = http::split_url(url);
    let mut sender = http::connect(authority).await.unwrap();
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", authority);
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.expect("a response in time").unwrap();
    let (head, body) = response.into_parts();
    Answer { status: head.status.as_u16(), headers: head.headers, body, buffer: BytesMut::new() }
}

/// The answer to a request. Dropping it closes the connection.
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: HeaderMap,
    body: Incoming,
    buffer: BytesMut,
}

/// One event of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) retry: Option<String>,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn message(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }

    pub(crate) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_else(|| panic!("no id: {self:?}"))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type") == Some("text/event-stream")
    }

    pub(crate) async fn text(self) -> String {
        let collected = timeout(PATIENCE, self.body.collect()).await.expect("the body ends in time").unwrap();
        String::from_utf8(collected.to_bytes().to_vec()).unwrap()
    }

    pub(crate) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
    }

    /// The next event, comments aside; `None` at the end of the stream.
    pub(crate) async fn try_event(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let text = self.buffer.split_to(end + 2);
                let mut event = Event::default();
                let mut is_comment = true;
                for line in std::str::from_utf8(&text).unwrap().lines() {
                    let Some((field, value)) = line.split_once(": ").filter(|(field, _)| !field.is_empty()) else {
                        continue;
                    };
                    is_comment = false;
                    match field {
                        "id" => event.id = Some(value.to_owned()),
                        "event" => event.name = Some(value.to_owned()),
                        "retry" => event.retry = Some(value.to_owned()),
                        "data" => event.data.push_str(value),
                        _ => panic!("{line:?}"),
                    }
                }
                if !is_comment {
                    return Some(event);
                }
            }
            let frame = timeout(PATIENCE, self.body.frame()).await.expect("an event in time")?;
            self.buffer.extend(frame.ok()?.into_data().unwrap_or_default());
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.try_event().await.expect("the stream goes on")
    }

    /// The next message; events without data are passed over.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let event = self.event().await;
            if !event.data.is_empty() {
                return event.message();
            }
        }
    }

    /// The event of the next message that has this method, or is a reply for `""`; `None` at the end of the stream.
    pub(crate) async fn try_event_of(&mut self, method: &str) -> Option<Event> {
        loop {
            let event = self.try_event().await?;
            if !event.data.is_empty() && event.message()["method"].as_str().unwrap_or_default() == method {
                return Some(event);
            }
        }
    }

    pub(crate) async fn event_of(&mut self, method: &str) -> Event {
        self.try_event_of(method).await.expect("the stream goes on")
    }

    /// The next message that has this method, or is a reply for `""`.
    pub(crate) async fn wait_for(&mut self, method: &str) -> Value {
        self.event_of(method).await.message()
    }
}

/// A legacy client of `serve --stdio`.
pub(crate) struct Lines {
    stdin: ChildStdin,
    stdout: io::Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Lines {
    pub(crate) async fn open(host: &WrittenHost, revision: &str, capabilities: &Value) -> Self {
        let mut command = host.subcommand("serve");
        command.arg("-c").arg(&host.config).arg("--stdio").kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut client = Self { stdin: child.stdin.take().unwrap(), stdout, _child: child };
        client.write(&initialize(revision, capabilities)).await;
        assert_eq!(client.read().await["result"]["protocolVersion"], revision);
        client
    }

    pub(crate) async fn write(&mut self, message: &Value) {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    pub(crate) async fn read(&mut self) -> Value {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.expect("a line in time").unwrap();
        serde_json::from_str(&line.expect("the host runs")).unwrap()
    }
}
