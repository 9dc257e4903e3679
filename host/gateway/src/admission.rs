//! The one seam that every call to a backend passes, whoever makes it: a client now, `call_tool` and workflow steps like it.
//!
//! Its order is audit( authorisation → rate limit → health → deadline → call ). Today every caller is anonymous and allowed;
//! health and deadline are kept by the backend's connection, which knows both; what is left here is the record of the call.

use std::{future::Future, time::Instant};

use tracing::{debug, warn};
use vmcp_core::{
    call::{CallError, Reply},
    id::{BackendId, Identity},
};
use vmcp_mcp::era::Era;

/// Makes `call` if it may be made, and records how it ended.
pub(crate) async fn admit(
    identity: &Identity,
    method: &str,
    name: &str,
    backend: &BackendId,
    call: impl Future<Output = Result<(Era, Reply), CallError>>,
) -> Result<(Era, Reply), CallError> {
    let began = Instant::now();
    let outcome = call.await;
    match &outcome {
        Ok((_, Reply::Result(_))) => debug!(?identity, method, name, %backend, took = ?began.elapsed(), "answered"),
        Ok((_, Reply::Error(error))) => debug!(?identity, method, name, %backend, ?error, "answered with an error"),
        Err(error) => warn!(?identity, method, name, %backend, took = ?began.elapsed(), %error, "no reply"),
    }
    outcome
}
