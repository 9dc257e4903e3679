//! Unstable. What the tests in `it/` stand on: the host as a process ([`TestHost`]), clients that show every byte
//! ([`TestClient`], [`StdioClient`]), servers that misbehave ([`fake`]), a server that behaves in every revision ([`fixture`]) and servers that are real ([`real`]).
//!
//! Nothing here knows the host's crates: tests go through the outer door, as clients do.
#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

mod baked;
pub mod bench;
mod client;
pub mod embedding_server;
pub mod era;
pub mod fake;
pub mod fixture;
pub mod host;
pub mod http;
mod mcp;
pub mod process;
pub mod real;
mod stdio_client;

pub use self::{
    client::{EventStream, PendingCall, TestClient},
    embedding_server::EmbeddingServer,
    era::Era,
    fake::{Behaviour, FakeBackend, Recording, ScriptedReply},
    fixture::FixtureBackend,
    host::{Ended, HostBuilder, TestHost},
    mcp::{Mcp, Reply},
    process::eventually,
    stdio_client::StdioClient,
};
