//! Turns results and errors into MCP replies, and knows which HTTP status an error of the protocol has.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{
    envelope::{EnvelopeError, write_response},
    era::Era,
    error::{
        HEADER_MISMATCH, INVALID_REQUEST, METHOD_NOT_FOUND, MISSING_CLIENT_CAPABILITY, PARSE_ERROR, RpcError,
        UNSUPPORTED_PROTOCOL_VERSION,
    },
    object::Object,
};

/// The whole message that answers the request `id`.
pub(crate) fn message(id: &RawJson, outcome: &Result<Reply, RpcError>) -> Bytes {
    match outcome {
        Ok(reply) => write_response(Some(id), reply),
        Err(error) => error_message(Some(id), error),
    }
}

pub(crate) fn error_message(id: Option<&RawJson>, error: &RpcError) -> Bytes {
    write_response(id, &Reply::Error(error.to_json()))
}

/// The whole message that answers what is no message.
pub(crate) fn envelope_error(error: &EnvelopeError) -> Bytes {
    let (code, id) = match error {
        EnvelopeError::NotJson(_) => (PARSE_ERROR, None),
        EnvelopeError::NotJsonRpc { id, .. } => (INVALID_REQUEST, id.as_ref()),
    };
    error_message(id, &RpcError::new(code, error.to_string()))
}

/// The status of an answer: 2026-07-28 ties some errors to one, before it all answers are 200.
pub(crate) fn status(era: Era, outcome: &Result<Reply, RpcError>) -> StatusCode {
    let code = match (era, outcome) {
        (Era::Legacy, _) | (_, Ok(Reply::Result(_))) => return StatusCode::OK,
        (Era::Modern, Err(error)) => Some(error.code),
        (Era::Modern, Ok(Reply::Error(error))) => {
            Object::parse_lenient(Some(error)).get("code").and_then(|code| code.as_str().parse().ok())
        }
    };
    match code {
        Some(HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY | UNSUPPORTED_PROTOCOL_VERSION) => StatusCode::BAD_REQUEST,
        Some(METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        _ => StatusCode::OK,
    }
}

/// A plain JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A request that is refused before it is read as JSON-RPC: the reason, in the form that MCP clients read.
pub(crate) fn refused(status: StatusCode, reason: impl Into<String>) -> Response {
    json(status, error_message(None, &RpcError::new(INVALID_REQUEST, reason))).into_response()
}

/// A request whose method the path does not have.
pub(crate) fn wrong_method(allowed: &'static str, reason: impl Into<String>) -> Response {
    let mut response = refused(StatusCode::METHOD_NOT_ALLOWED, reason);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}
