//! Unstable. The client side: HTTP and stdio fronts that speak MCP to clients, and the pages that tell how the host is.
//! The only crate that knows axum.

pub mod admin;
pub mod guard;
pub mod http;
pub mod stream;

mod exchange;
mod listen;
mod page;
mod reply;
mod sse;
