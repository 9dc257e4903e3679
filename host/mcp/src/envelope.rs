//! JSON-RPC envelopes: what a message is, and how ours are written. `params`, `result` and `error` stay raw.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use vmcp_core::{call::Reply, json::RawJson};

use crate::object::write_string;

/// One JSON-RPC message.
#[derive(Clone, Debug)]
pub enum Message {
    Request(Request),
    Notification(Notification),
    Response(Response),
}

/// A request; its answer carries the same `id`, byte for byte.
#[derive(Clone, Debug)]
pub struct Request {
    /// A string or number.
    pub id: RawJson,
    pub method: String,
    pub params: Option<RawJson>,
}

#[derive(Clone, Debug)]
pub struct Notification {
    pub method: String,
    pub params: Option<RawJson>,
}

#[derive(Clone, Debug)]
pub struct Response {
    /// `None` when the other side could not tell which request it answers.
    pub id: Option<RawJson>,
    pub reply: Reply,
}

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("the message is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// JSON, but not a JSON-RPC 2.0 message. The id is kept where there is one, so that the error can name it.
    #[error("the message is not JSON-RPC 2.0: {what}")]
    NotJsonRpc { what: &'static str, id: Option<RawJson> },
}

/// Most members of one batch: far more than any client sends, and few enough to start at once.
pub const MAX_BATCH: usize = 100;

/// Why an array is no batch.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    #[error("the batch is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error("a batch has at most {MAX_BATCH} messages")]
    TooLong,
    #[error("the batch is empty")]
    Empty,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells `null` from absent.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads one message. Unknown members of the envelope are passed over.
pub fn parse(text: &Bytes) -> Result<Message, EnvelopeError> {
    let wire: Wire<'_> = serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            EnvelopeError::NotJsonRpc { what: "it is not an object of the expected form", id: None }
        }
        _ => EnvelopeError::NotJson(error),
    })?;
    // A list of the members in their order would be read as well.
    if is_batch(text) {
        return Err(EnvelopeError::NotJsonRpc { what: "it is a list, not an object", id: None });
    }
    let part = |raw: &RawValue| RawJson::part_of(text, raw);
    let id = wire.id.map(part);
    if wire.jsonrpc.as_deref() != Some("2.0") {
        return Err(EnvelopeError::NotJsonRpc { what: "`jsonrpc` is not \"2.0\"", id });
    }
    let id_is_legal = |id: &RawJson| matches!(id.as_bytes()[0], b'"' | b'-' | b'0'..=b'9');
    match (wire.method, id, wire.result, wire.error) {
        (Some(method), Some(id), None, None) if id_is_legal(&id) => {
            Ok(Message::Request(Request { id, method: method.into_owned(), params: wire.params.map(part) }))
        }
        (Some(_), Some(_), None, None) => {
            Err(EnvelopeError::NotJsonRpc { what: "`id` is neither string nor number", id: None })
        }
        (Some(method), None, None, None) => {
            Ok(Message::Notification(Notification { method: method.into_owned(), params: wire.params.map(part) }))
        }
        (None, id, Some(result), None) => {
            Ok(Message::Response(Response { id: id.filter(id_is_legal), reply: Reply::Result(part(result)) }))
        }
        (None, id, None, Some(error)) => {
            Ok(Message::Response(Response { id: id.filter(id_is_legal), reply: Reply::Error(part(error)) }))
        }
        (_, id, ..) => Err(EnvelopeError::NotJsonRpc { what: "it is neither request, notification nor response", id }),
    }
}

/// Whether `text` means to be a batch: revisions before 2025-06-18 allow an array of messages in place of one.
pub fn is_batch(text: &[u8]) -> bool {
    text.trim_ascii_start().first() == Some(&b'[')
}

/// Reads the messages of a batch; each may be one or not, as when it came alone.
pub fn parse_batch(text: &Bytes) -> Result<Vec<Result<Message, EnvelopeError>>, BatchError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let members = reader.deserialize_seq(Members).and_then(|members| reader.end().map(|()| members));
    let members = members.map_err(|error| match error.classify() {
        serde_json::error::Category::Data => BatchError::TooLong,
        _ => BatchError::NotJson(error),
    })?;
    if members.is_empty() {
        return Err(BatchError::Empty);
    }
    Ok(members.into_iter().map(|member| parse(RawJson::part_of(text, member).bytes())).collect())
}

/// The members of an array, which is not read further once there are too many.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = seq.next_element()? {
            if members.len() == MAX_BATCH {
                return Err(A::Error::custom("there are too many"));
            }
            members.push(member);
        }
        Ok(members)
    }
}

/// Messages that are written already as one batch.
pub fn write_batch(messages: &[Bytes]) -> Bytes {
    let mut out = Vec::with_capacity(2 + messages.iter().map(|message| message.len() + 1).sum::<usize>());
    out.push(b'[');
    for (i, message) in messages.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(message);
    }
    out.push(b']');
    out.into()
}

/// A request as text.
pub fn write_request(id: &RawJson, method: &str, params: Option<&RawJson>) -> Bytes {
    let mut out = Vec::with_capacity(64 + method.len() + params.map_or(0, |p| p.as_bytes().len()));
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.as_bytes());
    write_method(method, params, &mut out);
    out.into()
}

/// A notification as text.
pub fn write_notification(method: &str, params: Option<&RawJson>) -> Bytes {
    let mut out = Vec::with_capacity(64 + method.len() + params.map_or(0, |p| p.as_bytes().len()));
    out.extend_from_slice(br#"{"jsonrpc":"2.0""#);
    write_method(method, params, &mut out);
    out.into()
}

fn write_method(method: &str, params: Option<&RawJson>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","method":"#);
    write_string(method, out);
    if let Some(params) = params {
        out.extend_from_slice(br#","params":"#);
        out.extend_from_slice(params.as_bytes());
    }
    out.push(b'}');
}

/// A response as text; without an id (it could not be read) it is `null`.
pub fn write_response(id: Option<&RawJson>, reply: &Reply) -> Bytes {
    let (key, body): (&[u8], _) = match reply {
        Reply::Result(result) => (br#","result":"#, result),
        Reply::Error(error) => (br#","error":"#, error),
    };
    let id = id.map_or(&b"null"[..], RawJson::as_bytes);
    let mut out = Vec::with_capacity(40 + id.len() + body.as_bytes().len());
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id);
    out.extend_from_slice(key);
    out.extend_from_slice(body.as_bytes());
    out.push(b'}');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart() {
        let check = |text: &'static str, expected: &str| {
            let told = match parse(&Bytes::from_static(text.as_bytes())) {
                Ok(Message::Request(r)) => format!("request {} {}", r.id.as_str(), r.method),
                Ok(Message::Notification(n)) => format!("notification {}", n.method),
                Ok(Message::Response(Response { id, reply: Reply::Result(r) })) => format!("result {id:?} {r:?}"),
                Ok(Message::Response(Response { id, reply: Reply::Error(e) })) => format!("error {id:?} {e:?}"),
                Err(EnvelopeError::NotJson(_)) => "not JSON".into(),
                Err(EnvelopeError::NotJsonRpc { id, .. }) => format!("not JSON-RPC {id:?}"),
            };
            assert_eq!(told, expected, "{text}");
        };
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "request 1 ping");
        check(r#"{"method":"a\/b","id":"x y","jsonrpc":"2.0","params":{"a":null},"more":1}"#, r#"request "x y" a/b"#);
        check(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, "notification notifications/initialized");
        check(r#"{"jsonrpc":"2.0","id":7,"result":null}"#, "result Some(7) null");
        check(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#, r#"error None {"code":1}"#);
        check(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, "not JSON-RPC None");
        check(r#"{"jsonrpc":"2.0","id":1}"#, "not JSON-RPC Some(1)");
        check(r#"{"jsonrpc":"2.0","id":1,"result":1,"error":2}"#, "not JSON-RPC Some(1)");
        check(r#"{"id":1,"method":"x"}"#, "not JSON-RPC Some(1)");
        check(r"[1]", "not JSON-RPC None");
        check(r#" ["2.0",1,"ping"]"#, "not JSON-RPC None");
        check(r#"{"jsonrpc":"2.0","id":1"#, "not JSON");
    }

    #[test]
    fn batches_are_told_from_single_messages_and_read() {
        let check = |text: &'static str, expected: &str| {
            assert!(is_batch(text.as_bytes()), "{text}");
            let told = match parse_batch(&Bytes::from_static(text.as_bytes())) {
                Ok(members) => members
                    .iter()
                    .map(|member| match member {
                        Ok(Message::Request(request)) => request.id.as_str().to_owned(),
                        Ok(Message::Notification(notification)) => notification.method.clone(),
                        Ok(Message::Response(_)) => "response".into(),
                        Err(_) => "?".into(),
                    })
                    .collect::<Vec<_>>()
                    .join(" "),
                Err(BatchError::Empty) => "empty".into(),
                Err(BatchError::NotJson(_)) => "not JSON".into(),
                Err(BatchError::TooLong) => "too long".into(),
            };
            assert_eq!(told, expected, "{text}");
        };
        check(r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#, "1");
        check(
            "\n [ {\"jsonrpc\":\"2.0\",\"method\":\"b\"}, 7, [], {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1} ]\n",
            "b ? ? response",
        );
        check("[]", "empty");
        check("[1", "not JSON");
        check("[1] x", "not JSON");
        assert!(!is_batch(br#" {"a":[]}"#));
        let many = format!("[{}1]", "1,".repeat(MAX_BATCH));
        assert!(matches!(parse_batch(&many.into()), Err(BatchError::TooLong)));
    }

    #[test]
    fn a_batch_is_written_as_an_array() {
        assert_eq!(write_batch(&[Bytes::from_static(b"1"), Bytes::from_static(b"{}")]), "[1,{}]");
    }

    #[test]
    fn written_messages_are_read_back() {
        let id = RawJson::of(&"a\"b");
        let params = RawJson::parse(r#"{"x":1.50}"#).unwrap();
        let Message::Request(request) = parse(&write_request(&id, "tools/call", Some(&params))).unwrap() else {
            panic!()
        };
        assert_eq!((request.id, request.params), (id.clone(), Some(params.clone())));
        let Message::Notification(n) = parse(&write_notification("m", None)).unwrap() else { panic!() };
        assert_eq!((n.method.as_str(), n.params), ("m", None));
        let text = write_response(Some(&id), &Reply::Result(params));
        assert_eq!(text, r#"{"jsonrpc":"2.0","id":"a\"b","result":{"x":1.50}}"#);
        assert_eq!(write_response(None, &Reply::Error(RawJson::of(&1))), r#"{"jsonrpc":"2.0","id":null,"error":1}"#);
    }
}
