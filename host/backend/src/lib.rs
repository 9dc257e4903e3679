//! Unstable. The client side of MCP: how the host reaches the servers behind it.
//!
//! A [`Backend`] keeps one server connected and carries calls to it, over stdio, streamable HTTP or the older HTTP+SSE, and
//! in either era of the protocol. What a call brings back is the server's own bytes; only envelopes are read. Which
//! backends there are, what they offer and who may call it is decided elsewhere.

mod audience;
mod backend;
mod budget;
mod compose;
mod connect;
mod duplex;
mod event_stream;
mod exchange;
mod family;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod http;
mod line;
mod listen;
mod listener;
mod live;
mod local;
mod message;
mod noise;
mod pending;
mod pool;
mod process;
mod report;
mod retry;
mod session;
mod slots;
mod spec;
mod sse;
mod stdio;
mod streamable;
mod subscription;
pub mod watcher;

pub use backend::Backend;
pub use handshake::BackendInfo;
pub use message::{BackendChange, BackendRequest, BackendState, ClientProfile, EventSender, ServerMessage};
pub use report::BackendReport;
pub use spec::{BackendContext, BackendSpec, Transport};
pub use watcher::Watcher;
