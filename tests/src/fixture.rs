//! `FixtureBackend`: a well-behaved MCP server of any revision, which has everything that the official conformance suite
//! looks for, and tools that show a test what reached it. It runs as a process of its own, the binary `fixture-backend`.
//!
//! Written by hand on the wire, so that each revision is exactly what its text says, whatever an SDK makes of it. What
//! misbehaves is [`crate::fake`]'s part; here are only the faults that a backend can have while it follows the protocol.

mod catalog;
mod change;
pub mod http;
mod journal;
mod message;
mod meta;
mod prompt;
mod question;
mod request;
mod resource;
mod server;
mod session;
mod spec;
mod sse;
mod state;
pub mod stdio;
mod stream;
mod task;
mod tools;

#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::Value;

pub use self::{
    server::Fixture,
    spec::{FixtureSpec, Revision},
};
use crate::{
    fake::Transport,
    process::{self, ServerProcess},
};

/// Builds a [`FixtureSpec`] and starts what it describes.
#[derive(Clone, Debug)]
#[must_use]
pub struct FixtureBackend {
    pub spec: FixtureSpec,
}

impl FixtureBackend {
    /// Over stdio.
    pub fn of(revision: Revision) -> Self {
        Self { spec: FixtureSpec { revision, ..FixtureSpec::default() } }
    }

    /// The newest revision with a handshake, over stdio.
    pub fn legacy() -> Self {
        Self::of(Revision::R2025_11_25)
    }

    /// 2026-07-28, over stdio.
    pub fn modern() -> Self {
        Self::of(Revision::R2026_07_28)
    }

    /// Served over streamable HTTP.
    pub fn http(mut self) -> Self {
        self.spec.transport = Transport::Http;
        self
    }

    /// Served over the older HTTP+SSE.
    pub fn sse(mut self) -> Self {
        self.spec.transport = Transport::Sse;
        self
    }

    /// Writes what it receives to `file`, one JSON document a line.
    pub fn log(mut self, file: &Path) -> Self {
        self.spec.log = Some(file.to_owned());
        self
    }

    /// Changes what has no method of its own.
    pub fn with(mut self, change: impl FnOnce(&mut FixtureSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// The command line that starts it.
    pub fn command(&self) -> Vec<String> {
        let program = process::binary("fixture-backend").display().to_string();
        std::iter::once(program).chain(self.spec.arguments()).collect()
    }

    /// The entry of `backends`; an HTTP backend is started here and lives as long as the process that is returned.
    pub async fn entry(&self, name: &str) -> (Value, Option<ServerProcess>) {
        self.spec.transport.entry(name, &self.command()).await
    }
}
