//! Writes outgoing messages: the client's `params` as they are, with an id of the connection and the `_meta` that the
//! backend's era asks for.

use bytes::Bytes;
use vmcp_core::json::RawJson;
use vmcp_mcp::{
    envelope,
    era::{Era, Revision},
    error::RpcError,
    meta::RequestMeta,
    object::{Object, write_string},
};

use crate::message::BackendRequest;

/// `request` as text. If the client wants progress, it is told by the request's own id, which is unique here.
pub(crate) fn request(request: &mut BackendRequest, id: u64, era: Era, host_info: &RawJson) -> Bytes {
    let mut params = std::mem::take(&mut request.params);
    let token = request.meta.progress_token.is_some().then(|| RawJson::of(&id));
    match era {
        Era::Legacy => request.meta.put_legacy(&mut params, token),
        Era::Modern => request.meta.put_modern(
            &mut params,
            Revision::LATEST_MODERN,
            &request.client.capabilities,
            host_info,
            token,
        ),
    }
    write(id, &request.method, &params)
}

/// A request of the host itself to a modern backend.
pub(crate) fn own_modern_request(
    id: u64,
    method: &str,
    mut params: Object,
    capabilities: &RawJson,
    host_info: &RawJson,
) -> Bytes {
    RequestMeta::default().put_modern(&mut params, Revision::LATEST_MODERN, capabilities, host_info, None);
    write(id, method, &params)
}

/// A request with `params` as they are; without any when there are none.
pub(crate) fn write(id: u64, method: &str, params: &Object) -> Bytes {
    let size: usize = params.iter().map(|(key, value)| key.len() + value.as_bytes().len() + 6).sum();
    let mut out = Vec::with_capacity(80 + method.len() + size);
    out.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    out.extend_from_slice(id.to_string().as_bytes());
    out.extend_from_slice(br#","method":"#);
    write_string(method, &mut out);
    if !params.is_empty() {
        out.extend_from_slice(br#","params":"#);
        params.write(&mut out);
    }
    out.push(b'}');
    out.into()
}

/// Tells a backend that nobody waits for the reply to request `id` any more.
pub(crate) fn cancelled(id: u64, reason: &str) -> Bytes {
    let params = Object::from([("requestId", RawJson::of(&id)), ("reason", RawJson::of(&reason))]);
    envelope::write_notification("notifications/cancelled", Some(&params.to_json()))
}

/// The answer to a backend's request for something that nobody behind the call offers.
pub(crate) fn not_offered(id: &RawJson, method: &str) -> Bytes {
    let error = RpcError::method_not_found(method).to_json();
    envelope::write_response(Some(id), &vmcp_core::call::Reply::Error(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn composed(era: Era, params: &str) -> String {
        let mut params = Object::parse(&RawJson::parse(params.to_owned()).unwrap()).unwrap();
        let meta = RequestMeta::take_from(&mut params);
        let mut made = BackendRequest { method: "tools/call".into(), params, meta, ..BackendRequest::default() };
        let text = request(&mut made, 7, era, &RawJson::from_built(&br#"{"name":"h"}"#[..]));
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn arguments_keep_their_bytes_and_the_token_becomes_the_id() {
        assert_eq!(
            composed(Era::Legacy, r#"{"name":"a","arguments":{ "x": 1.0 },"_meta":{"progressToken":"p","k":2}}"#),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a","arguments":{ "x": 1.0 },"_meta":{"k":2,"progressToken":7}}}"#
        );
    }

    #[test]
    fn nothing_to_say_leaves_no_trace_for_legacy_and_the_context_for_modern() {
        assert_eq!(composed(Era::Legacy, "{}"), r#"{"jsonrpc":"2.0","id":7,"method":"tools/call"}"#);
        assert_eq!(
            composed(Era::Modern, "{}"),
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"h"}}}}"#
        );
    }
}
