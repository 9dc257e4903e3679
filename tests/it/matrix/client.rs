//! The clients of the matrix: programs that go through a plan and print what came of it, and one that takes a single step per
//! run.

use std::{collections::BTreeMap, path::Path};

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use vmcp_tests::{
    TestHost,
    process::{binary, run, workspace_dir},
    real::{node, node_dir, python},
};

use super::{
    Feature, Way,
    backend::{Backend, Running},
    target, write_plan,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    PythonLegacy,
    PythonModern,
    TypescriptSdk,
    TypescriptAuto,
    RustLegacy,
    RustAuto,
    InspectorLegacy,
    InspectorModern,
}

/// What a client told of one step.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line {
    pub(super) target: String,
    pub(super) via: String,
    /// `connect` when that failed, and with it all steps.
    pub(super) feature: String,
    pub(super) ok: bool,
    pub(super) detail: String,
}

impl Client {
    pub(super) const ALL: [Self; 8] = [
        Self::PythonLegacy,
        Self::TypescriptSdk,
        Self::PythonModern,
        Self::TypescriptAuto,
        Self::RustLegacy,
        Self::RustAuto,
        Self::InspectorLegacy,
        Self::InspectorModern,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PythonLegacy => "python legacy",
            Self::PythonModern => "python modern",
            Self::TypescriptSdk => "typescript sdk",
            Self::TypescriptAuto => "typescript client auto",
            Self::RustLegacy => "rust",
            Self::RustAuto => "rust auto",
            Self::InspectorLegacy => "inspector legacy",
            Self::InspectorModern => "inspector modern",
        }
    }

    /// The Inspector's command line has no way to answer, to cancel or to listen.
    pub(super) fn tries(self, feature: Feature) -> bool {
        match self {
            Self::InspectorLegacy | Self::InspectorModern => matches!(feature, Feature::List | Feature::Call),
            _ => true,
        }
    }

    /// A number that is in no other call of the matrix.
    pub(super) fn mark(self, backend: Backend, way: Way) -> u64 {
        100_000 + (self as u64) * 100 + (backend as u64) * 10 + way as u64
    }

    /// Goes through everything, on both ways.
    pub(super) async fn run(
        self,
        running: &[Running],
        hosts: &BTreeMap<Backend, TestHost>,
        folder: &Path,
    ) -> Vec<Line> {
        let era = match self {
            Self::InspectorLegacy => Some("legacy"),
            Self::InspectorModern => Some("modern"),
            _ => None,
        };
        if let Some(era) = era {
            return inspect(self, era, running, hosts).await;
        }
        let mut targets = Vec::new();
        for one in running {
            targets.push(target(self, one, Way::Host, &json!({ "url": host_of(hosts, one.backend).url })));
            if self.can_reach(one) {
                targets.push(target(self, one, Way::Direct, &one.connect));
            }
        }
        let plan = write_plan(folder, self, &targets);
        let scripts = workspace_dir().join("tests/clients");
        let mut command = match self {
            Self::PythonLegacy | Self::PythonModern => {
                let mode = if self == Self::PythonLegacy { "legacy" } else { "2026-07-28" };
                let mut command = Command::new(python("current", "python"));
                command.arg(scripts.join("scenario.py")).arg(mode);
                command
            }
            Self::TypescriptSdk | Self::TypescriptAuto => {
                let library = if self == Self::TypescriptSdk { "sdk" } else { "client" };
                let mut command = Command::new(node());
                command.arg(scripts.join("scenario.mjs")).arg(library).current_dir(node_dir());
                command
            }
            _ => {
                let mut command = Command::new(binary("rmcp-client"));
                command.arg(if self == Self::RustLegacy { "initialize" } else { "auto" });
                command
            }
        };
        let (code, stdout, stderr) = run(command.arg(plan)).await;
        assert_eq!(code, Some(0), "{}: {stdout}\n{stderr}", self.name());
        stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The Inspector's runs take a second each: without the host only where it did not pass with it.
    pub(super) fn always_tries_directly(self) -> bool {
        !matches!(self, Self::InspectorLegacy | Self::InspectorModern)
    }

    /// Whether it has the server's transport at all.
    pub(super) fn can_reach(self, running: &Running) -> bool {
        running.connect["sse"].is_null() || !matches!(self, Self::RustLegacy | Self::RustAuto)
    }
}

pub(super) fn host_of(hosts: &BTreeMap<Backend, TestHost>, backend: Backend) -> &TestHost {
    let group = Backend::GROUPS.iter().find(|group| group.contains(&backend)).expect("each is in a group");
    &hosts[&group[0]]
}

/// One run of the command line per step.
async fn inspect(client: Client, era: &str, running: &[Running], hosts: &BTreeMap<Backend, TestHost>) -> Vec<Line> {
    let mut lines = Vec::new();
    for one in running {
        let through = target(client, one, Way::Host, &json!({ "url": host_of(hosts, one.backend).url }));
        let directly = target(client, one, Way::Direct, &one.connect);
        for at in 0..through["steps"].as_array().unwrap().len() {
            let line = inspect_step(era, &through, at).await;
            let failed = !line.ok;
            lines.push(line);
            if failed {
                lines.push(inspect_step(era, &directly, at).await);
            }
        }
    }
    lines
}

async fn inspect_step(era: &str, target: &Value, at: usize) -> Line {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (step, connect) = (&target["steps"][at], &target["connect"]);
    let mut command = Command::new(node());
    command.arg(node_dir().join("node_modules/.bin/mcp-inspector")).args(["--cli", "--protocol-era", era]);
    command.args(["--format", "json"]);
    let expected: Vec<String> = match &step["tools"] {
        Value::Array(tools) => {
            command.args(["--method", "tools/list"]);
            tools.iter().map(|tool| format!("\"{}{}\"", text(&target["prefix"]), text(tool))).collect()
        }
        _ => {
            let tool = format!("{}{}", text(&target["prefix"]), text(&step["tool"]));
            command.args(["--method", "tools/call", "--tool-name", &tool]);
            for (key, value) in step["arguments"].as_object().unwrap() {
                command.args(["--tool-arg", &format!("{key}={}", text(value))]);
            }
            vec![text(&step["contains"])]
        }
    };
    match (&connect["url"], &connect["sse"]) {
        (Value::Null, Value::Null) => {
            for (name, value) in connect["env"].as_object().unwrap() {
                command.args(["-e", &format!("{name}={}", text(value))]);
            }
            command.args(["--transport", "stdio"]);
            command.args(connect["command"].as_array().unwrap().iter().map(text));
        }
        (Value::Null, url) => drop(command.args(["--transport", "sse", &text(url)])),
        (url, _) => drop(command.args(["--transport", "http", &text(url)])),
    }
    let (code, stdout, stderr) = run(&mut command).await;
    let ok = code == Some(0) && expected.iter().all(|expected| stdout.contains(expected));
    let detail = if ok { String::new() } else { format!("{code:?} {stdout}{stderr}").chars().take(300).collect() };
    Line { target: text(&target["name"]), via: text(&target["via"]), feature: text(&step["feature"]), ok, detail }
}
