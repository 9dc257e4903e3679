//! Unstable. The client side: HTTP and stdio fronts that speak MCP to clients, and the pages that tell how the host is.
//! The only crate that knows axum.

pub mod admin;
pub mod guard;
pub mod http;
pub mod stream;

mod batch;
mod connection;
mod exchange;
mod headers;
mod listen;
mod page;
mod post;
mod reply;
mod resume;
mod sse;
mod sse_front;
mod stream_log;
mod streaming;
