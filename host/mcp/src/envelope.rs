//! JSON-RPC envelopes: what a message is, and how ours are written. `params`, `result` and `error` stay raw.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
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
        check(r#"{"jsonrpc":"2.0","id":1"#, "not JSON");
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
