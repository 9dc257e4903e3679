//! The servers of the matrix: how each is started, reached and tried.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};
use vmcp_tests::{
    FixtureBackend, eventually,
    process::{PATIENCE, ServerProcess, free_port},
    real::{RealServer, make_repository},
};

use super::Feature;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Backend {
    Everything,
    EverythingSse,
    EverythingHttp,
    Git,
    Time,
    FixtureLegacy,
    FixtureModern,
}

impl Backend {
    pub(super) const ALL: [Self; 7] = [
        Self::Everything,
        Self::EverythingSse,
        Self::EverythingHttp,
        Self::Git,
        Self::Time,
        Self::FixtureLegacy,
        Self::FixtureModern,
    ];

    /// Those that share a host.
    pub(super) const GROUPS: [&[Self]; 3] = [
        &[Self::Everything, Self::Git, Self::Time, Self::FixtureLegacy],
        &[Self::EverythingSse, Self::FixtureModern],
        &[Self::EverythingHttp],
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::EverythingSse => "everything_sse",
            Self::EverythingHttp => "everything_http",
            Self::Git => "git",
            Self::Time => "time",
            Self::FixtureLegacy => "fixture_legacy",
            Self::FixtureModern => "fixture_modern",
        }
    }

    /// How `feature` is tried here, if it can be.
    ///
    /// - `folder`: what the git server works on
    /// - `mark`: tells the call that is to be cancelled from those of others
    pub(super) fn step(self, feature: Feature, folder: &Path, mark: u64) -> Option<Value> {
        let step = match self {
            Self::Everything | Self::EverythingSse | Self::EverythingHttp => everything(feature),
            Self::FixtureLegacy | Self::FixtureModern => fixture(feature, mark),
            Self::Git | Self::Time => self.python(feature, folder)?,
        };
        let mut step = step;
        step["feature"] = json!(feature.name());
        Some(step)
    }

    fn python(self, feature: Feature, folder: &Path) -> Option<Value> {
        let is_git = self == Self::Git;
        match feature {
            Feature::List if is_git => Some(json!({ "tools": ["git_status", "git_log"] })),
            Feature::List => Some(json!({ "tools": ["get_current_time"] })),
            Feature::Call if is_git => {
                Some(json!({ "tool": "git_status", "arguments": { "repo_path": folder }, "contains": "main" }))
            }
            Feature::Call => {
                Some(json!({ "tool": "get_current_time", "arguments": { "timezone": "UTC" }, "contains": "UTC" }))
            }
            _ => None,
        }
    }
}

/// What every client answers to whatever it is asked.
const ANSWER: &str = "matrix";

fn everything(feature: Feature) -> Value {
    let echo = json!({ "tool": "echo", "arguments": { "message": "hello" }, "contains": "Echo: hello" });
    let long = |duration: f64, steps: u32| {
        json!({ "tool": "trigger-long-running-operation", "arguments": { "duration": duration, "steps": steps },
            "contains": "" })
    };
    match feature {
        Feature::List => json!({ "tools": ["echo", "get-sum", "trigger-long-running-operation"] }),
        Feature::Call => echo,
        Feature::Progress => long(0.4, 4),
        Feature::Cancellation => {
            let mut step = long(60.0, 240);
            step["then"] = echo;
            step
        }
        Feature::Elicitation => json!({ "tool": "trigger-elicitation-request", "arguments": {}, "contains": ANSWER }),
        Feature::Sampling => {
            json!({ "tool": "trigger-sampling-request", "arguments": { "prompt": "hi", "maxTokens": 10 },
                "contains": ANSWER })
        }
        Feature::Roots => json!({ "tool": "get-roots-list", "arguments": {}, "contains": ANSWER }),
        Feature::Subscription => {
            let touch = json!({ "tool": "toggle-subscriber-updates", "arguments": {}, "contains": "" });
            json!({ "uri": "demo://resource/static/document/features.md", "touch": touch })
        }
    }
}

fn fixture(feature: Feature, mark: u64) -> Value {
    let echo = json!({ "tool": "echo", "arguments": { "message": "hello" }, "contains": "hello" });
    let ask = |tool: &str| json!({ "tool": tool, "arguments": {}, "contains": ANSWER });
    match feature {
        Feature::List => json!({ "tools": ["about", "echo", "wait"] }),
        Feature::Call => echo,
        Feature::Progress => {
            json!({ "tool": "wait", "arguments": { "milliseconds": 300, "every": 60 }, "contains": "waited" })
        }
        Feature::Cancellation => {
            let arguments = json!({ "milliseconds": 60_000, "every": mark });
            json!({ "tool": "wait", "arguments": arguments, "contains": "", "then": echo })
        }
        Feature::Elicitation => ask("ask"),
        Feature::Sampling => ask("sample"),
        Feature::Roots => ask("roots"),
        Feature::Subscription => {
            let uri = "test://watched-resource";
            json!({ "uri": uri, "touch": { "tool": "touch", "arguments": { "uri": uri }, "contains": "" } })
        }
    }
}

/// A server that is ready: a process already, or the command that each of its clients starts.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) backend: Backend,
    /// As the plans have it: `url`, `sse`, or `command` and `env`.
    pub(super) connect: Value,
    folder: PathBuf,
    /// What a fixture writes down.
    log: Option<PathBuf>,
    _process: Option<Process>,
}

/// Kept for its end.
#[derive(Debug)]
#[expect(dead_code, reason = "dropping a process kills it")]
enum Process {
    Real(Child),
    Fixture(ServerProcess),
}

impl Running {
    pub(super) async fn start_all(folder: &Path) -> Vec<Self> {
        let started = Backend::ALL.map(|backend| Self::start(backend, folder.join(backend.name())));
        futures::future::join_all(started).await
    }

    async fn start(backend: Backend, folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("log");
        let stdio = |server: RealServer| {
            let env: BTreeMap<_, _> = server.env(&folder).into_iter().collect();
            (json!({ "command": server.command(&folder), "env": env }), None, None)
        };
        let (connect, process, log) = match backend {
            Backend::Everything => stdio(RealServer::Everything),
            Backend::Git => {
                make_repository(&folder).await;
                stdio(RealServer::Git)
            }
            Backend::Time => stdio(RealServer::Time),
            Backend::EverythingSse => {
                let (process, port) = everything_over_http(&folder, "sse").await;
                (json!({ "sse": format!("http://127.0.0.1:{port}/sse") }), Some(Process::Real(process)), None)
            }
            Backend::EverythingHttp => {
                let (process, port) = everything_over_http(&folder, "streamableHttp").await;
                (json!({ "url": format!("http://127.0.0.1:{port}/mcp") }), Some(Process::Real(process)), None)
            }
            Backend::FixtureLegacy | Backend::FixtureModern => {
                let is_modern = backend == Backend::FixtureModern;
                let fixture = if is_modern { FixtureBackend::modern() } else { FixtureBackend::legacy() };
                let process = ServerProcess::start(&fixture.http().log(&log).command()).await;
                (json!({ "url": process.first_line }), Some(Process::Fixture(process)), Some(log))
            }
        };
        Self { backend, connect, folder, log, _process: process }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The entry of `backends`.
    pub(super) fn entry(&self) -> Value {
        let mut entry = json!({ "name": self.backend.name() });
        let (transport, url) = match (&self.connect["url"], &self.connect["sse"]) {
            (Value::Null, Value::Null) => {
                let command = self.connect["command"].as_array().unwrap();
                entry["transport"] = json!("stdio");
                entry["command"] = command[0].clone();
                entry["args"] = json!(command[1..]);
                entry["env"] = self.connect["env"].clone();
                return entry;
            }
            (Value::Null, url) => ("sse", url),
            (url, _) => ("streamable-http", url),
        };
        entry["transport"] = json!(transport);
        entry["url"] = url.clone();
        entry
    }

    /// Whether the call with this mark was cancelled here; `None` where that cannot be seen.
    pub(super) fn saw_cancelled(&self, mark: u64) -> Option<bool> {
        let log = fs::read_to_string(self.log.as_ref()?).unwrap();
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let is_call = |line: &Value| line["message"]["params"]["arguments"]["every"] == json!(mark);
        let Some(at) = lines.iter().position(is_call) else { return Some(false) };
        let (session, id) = (&lines[at]["session"], &lines[at]["message"]["id"]);
        Some(
            lines[at..].iter().any(|line| {
                line["event"] == "cancelled" && line["session"] == *session && line["message"]["id"] == *id
            }),
        )
    }
}

async fn everything_over_http(folder: &Path, transport: &str) -> (Child, u16) {
    let port = free_port();
    let mut command = RealServer::Everything.command(folder);
    transport.clone_into(command.last_mut().unwrap());
    let process = Command::new(&command[0])
        .args(&command[1..])
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let is_there = || async { TcpStream::connect(("127.0.0.1", port)).await.is_ok() };
    eventually(transport, PATIENCE, is_there).await;
    (process, port)
}
