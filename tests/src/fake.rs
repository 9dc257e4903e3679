//! `FakeBackend`: an MCP server that does what a test asks, misbehaviour included. It runs as a process of its own, the
//! binary `fake-backend`, because that is what a backend is.

pub mod http;
mod record;
mod server;
mod spec;
pub mod stdio;

use std::path::Path;

use serde_json::{Value, json};

pub use self::{
    record::Recording,
    server::FakeServer,
    spec::{Behaviour, FakeSpec, FakeTool, ScriptedReply, Transport},
};
use crate::{
    era::Era,
    process::{self, ServerProcess},
};

/// Builds a [`FakeSpec`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct FakeBackend {
    pub spec: FakeSpec,
}

impl FakeBackend {
    pub fn new() -> Self {
        Self::default()
    }

    /// A backend whose tools answer with their arguments.
    pub fn echo<const N: usize>(names: [&str; N]) -> Self {
        names.into_iter().fold(Self::new(), |backend, name| backend.tool(name, Behaviour::Echo))
    }

    pub fn tool(mut self, name: &str, behaviour: Behaviour) -> Self {
        self.spec.tools.push(FakeTool { name: name.to_owned(), behaviour, definition: None });
        self
    }

    /// A tool whose definition has these keys beside its name.
    pub fn defined(mut self, name: &str, definition: Value, behaviour: Behaviour) -> Self {
        self.spec.tools.push(FakeTool { name: name.to_owned(), behaviour, definition: Some(definition) });
        self
    }

    /// A tool that gives each call the next of `replies`, and those beyond the last the last.
    pub fn scripted<const N: usize>(self, name: &str, replies: [ScriptedReply; N]) -> Self {
        self.tool(name, Behaviour::Scripted { replies: replies.into() })
    }

    /// Offers the tools whose definitions are the lines of `file`; each answers with its arguments.
    pub fn tools_file(mut self, file: &Path) -> Self {
        self.spec.tools_file = Some(file.to_owned());
        self
    }

    pub fn prompt(mut self, name: &str) -> Self {
        self.spec.prompts.push(name.to_owned());
        self
    }

    pub fn resource(mut self, uri: &str) -> Self {
        self.spec.resources.push(uri.to_owned());
        self
    }

    pub fn modern(mut self) -> Self {
        self.spec.era = Era::Modern;
        self
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

    /// Tells `recording` of its calls.
    pub fn record(mut self, recording: &Recording) -> Self {
        self.spec.record = Some(recording.file().to_owned());
        self
    }

    /// Appends its process ids to `file`.
    pub fn pid_file(mut self, file: &Path) -> Self {
        self.spec.pid_file = Some(file.to_owned());
        self
    }

    /// Changes what has no method of its own.
    pub fn with(mut self, change: impl FnOnce(&mut FakeSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// The command line that starts it.
    pub fn command(&self) -> Vec<String> {
        let spec = serde_json::to_string(&self.spec).expect("a spec is plain data");
        vec![process::binary("fake-backend").display().to_string(), spec]
    }

    /// The entry of `backends`; an HTTP backend is started here and lives as long as the process that is returned.
    pub async fn entry(mut self, name: &str) -> (Value, Option<ServerProcess>) {
        if self.spec.name.is_empty() {
            name.clone_into(&mut self.spec.name);
        }
        self.spec.transport.entry(name, &self.command()).await
    }
}

impl Transport {
    /// The entry of `backends` for the server that `command` starts; one over HTTP is started here and lives as long as the
    /// process that is returned.
    pub(crate) async fn entry(self, name: &str, command: &[String]) -> (Value, Option<ServerProcess>) {
        let transport = match self {
            Self::Stdio => {
                let entry = json!({ "name": name, "transport": "stdio", "command": command[0], "args": command[1..] });
                return (entry, None);
            }
            Self::Http => "streamable-http",
            Self::Sse => "sse",
        };
        let process = ServerProcess::start(command).await;
        (json!({ "name": name, "transport": transport, "url": process.first_line }), Some(process))
    }
}
