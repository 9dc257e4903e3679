//! What clients see of the front beyond single requests: questions of backends, batches, streams that break and go on,
//! HTTP+SSE, and clients that leave or forget.

mod batch;
mod disconnect;
mod forgotten;
mod question;
mod resume;
mod sse;
pub(crate) mod wire;
