//! Eight real servers, unmodified, behind one endpoint, two of them twice: what comes through the host is what the server
//! says alone, field for field.

mod normalise;
mod steps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, Era, FakeBackend, Mcp, Reply, StdioClient, TestClient, TestHost, eventually,
    process::{PATIENCE, ServerProcess},
    real::{RealServer, make_repository},
};

use self::{
    normalise::normalise,
    steps::{Step, not_called, steps},
};

/// Backends by name; the second of a kind forces clashes.
const BACKENDS: [(&str, RealServer); 10] = [
    ("everything", RealServer::Everything),
    ("files", RealServer::Filesystem),
    ("more_files", RealServer::Filesystem),
    ("memory", RealServer::Memory),
    ("thinking", RealServer::SequentialThinking),
    ("git", RealServer::Git),
    ("time", RealServer::Time),
    ("more_time", RealServer::Time),
    ("fetch", RealServer::Fetch),
    ("sqlite", RealServer::Sqlite),
];

/// A server by itself and the folder it works on.
struct Direct {
    client: StdioClient,
    dir: PathBuf,
}

/// Both sides of the comparison.
struct Pair<'a> {
    backend: &'a str,
    server: RealServer,
    direct: &'a Direct,
    through: &'a TestClient,
    /// The folder behind the host.
    dir: PathBuf,
    /// Client-visible name by the server's own.
    names: BTreeMap<String, String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_real_servers_behind_one_endpoint_answer_as_they_do_alone() {
    let page = ServerProcess::start(&FakeBackend::echo(["page"]).http().command()).await;
    let url = page.first_line.replace("/mcp", "/page");
    let mut builder = TestHost::builder().backend("probe", FakeBackend::new().tool("probe", Behaviour::Handshake));
    for (name, server) in BACKENDS {
        builder = builder.real(name, server);
        prepare(&builder.dir().join(name), server).await;
    }
    let host = builder.start().await;
    eventually("all ten are up", PATIENCE * 3, || async { are_all_in(&host.connect_modern().tool_names().await) })
        .await;
    let legacy = host.connect().await;
    let modern = host.connect_modern();
    // A server may offer what its client can do, so that the direct one says it can do what the host can.
    let handshake: Value = serde_json::from_str(legacy.call("probe", json!({})).await.text()).unwrap();
    let alone = tempfile::tempdir().unwrap();

    let mut differences = Vec::new();
    let mut calls = 0;
    for (backend, server) in BACKENDS {
        let dir = alone.path().join(backend);
        prepare(&dir, server).await;
        let capabilities = handshake["capabilities"].clone();
        let client = StdioClient::start(&mut server.direct(&dir), server.era(), capabilities).await;
        let direct = Direct { client, dir };
        let through = if server.era() == Era::Legacy { &legacy } else { &modern };
        let mut pair =
            Pair { backend, server, direct: &direct, through, dir: host.dir().join(backend), names: BTreeMap::new() };
        differences.extend(pair.compare_definitions().await);
        let (made, found) = pair.compare_replies(&url).await;
        calls += made;
        differences.extend(found);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(calls >= 60, "only {calls} calls");
}

/// Whether each backend has a tool among `names`; where two have the same it bears the backend's name.
fn are_all_in(names: &[String]) -> bool {
    BACKENDS.iter().all(|(backend, server)| {
        let steps = steps(*server);
        let tool = steps.iter().find_map(Step::tool).expect("a tool of each is called");
        let is_alone = BACKENDS.iter().filter(|(_, other)| other == server).count() == 1;
        names.iter().any(|name| *name == format!("{backend}_{tool}") || (is_alone && name == tool))
    })
}

async fn prepare(dir: &Path, server: RealServer) {
    std::fs::create_dir_all(dir).unwrap();
    match server {
        RealServer::Git => make_repository(dir).await,
        RealServer::Filesystem => {
            std::fs::write(dir.join("a.txt"), "first\nsecond\nthird\n").unwrap();
            std::fs::write(dir.join("pixel.gif"), b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;").unwrap();
        }
        _ => {}
    }
}

impl Pair<'_> {
    /// Tools, prompts, resources and templates: the same entries, names aside.
    async fn compare_definitions(&mut self) -> Vec<String> {
        let mut differences = Vec::new();
        let lists = [
            ("tools/list", "tools", "name"),
            ("prompts/list", "prompts", "name"),
            ("resources/list", "resources", "uri"),
            ("resources/templates/list", "resourceTemplates", "uriTemplate"),
        ];
        for (method, key, id) in lists {
            // A server without such things may not know the method.
            let alone = self.direct.client.request(method, json!({})).await;
            let wanted = match alone.message.get("result") {
                Some(_) => self.direct.client.list(method, key).await,
                None => continue,
            };
            let seen: BTreeMap<String, Value> =
                self.through.list(method, key).await.into_iter().map(|one| (text(&one[id]), one)).collect();
            for mut one in wanted {
                let own = text(&one[id]);
                let visible =
                    [format!("{}_{own}", self.backend), own.clone()].into_iter().find(|name| seen.contains_key(name));
                let Some(visible) = visible else {
                    differences.push(format!("{}: {method} lacks {own}", self.backend));
                    continue;
                };
                one[id] = json!(visible);
                if seen[&visible] != one {
                    differences.push(format!("{}: {own}\n  alone   {one}\n  through {}", self.backend, seen[&visible]));
                }
                self.names.insert(format!("{method} {own}"), visible);
            }
        }
        differences
    }

    /// Every step of the server on both sides; the number of steps and what differed.
    async fn compare_replies(&self, url: &str) -> (usize, Vec<String>) {
        let mut differences = Vec::new();
        let steps = steps(self.server);
        for step in &steps {
            let alone = self.ask(&self.direct.client, &self.direct.dir, step, url, false).await;
            let through = self.ask(self.through, &self.dir, step, url, true).await;
            if alone != through {
                differences.push(format!("{} {step:?}\n  alone   {alone}\n  through {through}", self.backend));
            }
        }
        let called: BTreeSet<&str> =
            steps.iter().filter_map(Step::tool).chain(not_called(self.server).iter().copied()).collect();
        for name in self.names.keys().filter_map(|key| key.strip_prefix("tools/list ")) {
            if !called.contains(name) {
                differences.push(format!("{}: tool {name} is neither called nor excused", self.backend));
            }
        }
        (steps.len(), differences)
    }

    async fn ask(&self, client: &impl Mcp, dir: &Path, step: &Step, url: &str, visible: bool) -> Value {
        let dir = dir.display().to_string();
        let mut params: Value =
            serde_json::from_str(&step.params.to_string().replace("$DIR", &dir).replace("$URL", url)).unwrap();
        if visible && let Some(name) = self.names.get(&format!("{} {}", step.list(), step.name())) {
            params["name"] = json!(name);
        }
        let reply: Reply = client.request(step.method, params).await;
        normalise(self.server, step, reply.message, &dir)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
