//! The fake server itself, without a transport: one future per message, which sends what it has to say through an outlet.
//!
//! A call that is dropped before it is answered counts as cancelled, whichever way the transport learnt of it.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::{AbortHandle, Abortable};
use serde_json::{Value, json};
use tokio::{
    sync::{broadcast, watch},
    time::sleep,
};

use super::{
    record::Recorder,
    spec::{Behaviour, FakeSpec, FakeTool, ScriptedReply},
};
use crate::era::{Era, LEGACY_REVISION, MODERN_REVISION};

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// One message on its way to the client.
pub(super) struct Outgoing {
    pub(super) text: String,
    /// Whether it ends the request that it belongs to.
    pub(super) is_response: bool,
}

/// Where the messages of one request go.
pub(super) type Outlet = Arc<dyn Fn(Outgoing) + Send + Sync>;

pub struct FakeServer {
    pub spec: FakeSpec,
    /// Of tools that have more to say than a fake usually does, by name, as JSON text.
    definitions: HashMap<String, Arc<str>>,
    added: Mutex<Vec<FakeTool>>,
    /// Fires when the list of tools changed.
    pub(super) changed: broadcast::Sender<()>,
    /// How often each tool was called.
    called: watch::Sender<HashMap<String, u64>>,
    cancelled: watch::Sender<u64>,
    running: Mutex<HashMap<String, AbortHandle>>,
    handshake: Mutex<Value>,
    recorder: Option<Recorder>,
}

impl FakeServer {
    pub fn new(mut spec: FakeSpec) -> Arc<Self> {
        let definitions = spec.tools_file.as_deref().map(read_definitions).unwrap_or_default();
        let echo = |(name, _): &(String, Arc<str>)| FakeTool {
            name: name.clone(),
            behaviour: Behaviour::Echo,
            definition: None,
        };
        spec.tools.extend(definitions.iter().map(echo));
        let recorder = spec.record.as_deref().map(Recorder::open);
        Arc::new(Self {
            spec,
            definitions: definitions.into_iter().collect(),
            added: Mutex::default(),
            changed: broadcast::channel(64).0,
            called: watch::Sender::default(),
            cancelled: watch::Sender::new(0),
            running: Mutex::default(),
            handshake: Mutex::new(Value::Null),
            recorder,
        })
    }

    /// Handles one message of `session`; notifications send nothing.
    pub(super) async fn handle(self: Arc<Self>, session: String, message: Value, outlet: Outlet) {
        let method = message["method"].as_str().unwrap_or_default().to_owned();
        let Some(id) = message.get("id").filter(|_| !method.is_empty()).cloned() else {
            return self.notified(&session, &method, &message["params"]);
        };
        let key = format!("{session}/{id}");
        let (handle, registration) = AbortHandle::new_pair();
        self.lock_running().insert(key.clone(), handle);
        let guard = CallGuard { server: Arc::clone(&self), key, finished: false };
        let work = self.answer(&id, &method, &message["params"], &outlet);
        // An aborted call leaves the guard armed, which then counts it.
        if let Ok(answer) = Abortable::new(work, registration).await {
            guard.finish();
            if let Some(answer) = answer {
                outlet(response(&id, answer));
            }
        }
    }

    fn notified(&self, session: &str, method: &str, params: &Value) {
        if method == "notifications/cancelled" {
            let running = self.lock_running().get(&format!("{session}/{}", params["requestId"])).cloned();
            if let Some(call) = running {
                call.abort();
            }
        }
    }

    /// `None` when the request is never answered.
    async fn answer(&self, id: &Value, method: &str, params: &Value, outlet: &Outlet) -> Option<Answer> {
        let modern = self.spec.era == Era::Modern;
        if modern && params["_meta"]["io.modelcontextprotocol/protocolVersion"] != MODERN_REVISION {
            return Some(Answer::error(-32602, "the request's _meta names no protocol version"));
        }
        let mut answer = match method {
            "initialize" if !modern => self.initialize(params),
            "server/discover" if modern => self.discover(),
            "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" if !modern => {
                Answer::Result(json!({}))
            }
            "subscriptions/listen" if modern => return self.listen(id, params, outlet).await,
            "tools/list" => self.tools(params),
            "tools/call" => self.call(id, params, outlet).await?,
            "prompts/list" => {
                let prompts = self.spec.prompts.iter().map(
                    |name| json!({ "name": name, "arguments": [{ "name": "who", "xFuture": 1 }], "xFuture": [2] }),
                );
                Answer::Result(json!({ "prompts": prompts.collect::<Vec<_>>() }))
            }
            "prompts/get" => self.prompt(params),
            "resources/list" => {
                let resources =
                    self.spec.resources.iter().map(
                        |uri| json!({ "uri": uri, "name": uri, "mimeType": "text/plain", "xFuture": { "a": null } }),
                    );
                Answer::Result(json!({ "resources": resources.collect::<Vec<_>>() }))
            }
            "resources/templates/list" => Answer::Result(json!({ "resourceTemplates": [] })),
            "resources/read" => self.resource(params),
            "completion/complete" => Answer::Result(json!({
                "completion": { "values": [format!("{}-{}", params["argument"]["value"].as_str().unwrap_or(""), self.spec.name)], "xFuture": 1 },
            })),
            _ => Answer::error(-32601, "method not found"),
        };
        if let (Answer::Result(result) | Answer::Tools { rest: result, .. }, true) = (&mut answer, modern) {
            result["resultType"] = json!("complete");
            if method.ends_with("/list") || method == "resources/read" || method == "server/discover" {
                result["ttlMs"] = json!(1000);
                result["cacheScope"] = json!("private");
            }
        }
        Some(answer)
    }

    fn capabilities(&self) -> Value {
        let mut capabilities = json!({ "tools": { "listChanged": true }, "logging": {}, "completions": {} });
        if !self.spec.prompts.is_empty() {
            capabilities["prompts"] = json!({});
        }
        if !self.spec.resources.is_empty() {
            capabilities["resources"] = json!({});
        }
        capabilities
    }

    fn initialize(&self, params: &Value) -> Answer {
        self.die_if_asked();
        *self.handshake.lock().expect("no holder of the lock panics") = params.clone();
        Answer::Result(json!({
            "protocolVersion": LEGACY_REVISION,
            "capabilities": self.capabilities(),
            "serverInfo": { "name": self.spec.name, "version": "1" },
            "instructions": self.spec.instructions,
        }))
    }

    fn discover(&self) -> Answer {
        self.die_if_asked();
        Answer::Result(json!({
            "supportedVersions": [MODERN_REVISION],
            "capabilities": self.capabilities(),
            "instructions": self.spec.instructions,
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": self.spec.name, "version": "1" } },
        }))
    }

    fn die_if_asked(&self) {
        if let Some(code) = self.spec.dies_in_handshake {
            #[expect(clippy::print_stderr, reason = "the host reports a dying backend's last lines")]
            for line in 1..=7 {
                eprintln!("dying, line {line}");
            }
            exit(code);
        }
    }

    async fn listen(&self, id: &Value, params: &Value, outlet: &Outlet) -> Option<Answer> {
        let mut changed = self.changed.subscribe();
        let subscription = json!({ "io.modelcontextprotocol/subscriptionId": id });
        outlet(notification(
            "notifications/subscriptions/acknowledged",
            &json!({ "notifications": params["notifications"], "_meta": subscription }),
        ));
        while changed.recv().await.is_ok() {
            outlet(notification("notifications/tools/list_changed", &json!({ "_meta": subscription })));
        }
        None
    }

    fn all_tools(&self) -> Vec<FakeTool> {
        let added = self.added.lock().expect("no holder of the lock panics");
        self.spec.tools.iter().chain(added.iter()).cloned().collect()
    }

    fn tools(&self, params: &Value) -> Answer {
        let added = self.added.lock().expect("no holder of the lock panics");
        let size = self.spec.page_size.unwrap_or(usize::MAX);
        let start = params["cursor"].as_str().and_then(|cursor| cursor.parse().ok()).unwrap_or(0usize);
        let usual = |tool: &FakeTool| {
            json!({
                "name": tool.name,
                "description": format!("{} of {}", tool.name, self.spec.name),
                "inputSchema": { "type": "object", "properties": { "message": { "type": "string", "x-note": 1.0 } } },
                "execution": { "taskSupport": "optional" },
                "annotations": { "readOnlyHint": true, "xFutureHint": "kept" },
                "xFuture": { "nested": [1, "two", null] },
            })
        };
        let page = self.spec.tools.iter().chain(added.iter()).skip(start).take(size);
        let own = |tool: &FakeTool| -> Option<Arc<str>> {
            let mut definition = tool.definition.clone()?;
            definition["name"] = json!(tool.name);
            definition.as_object_mut()?.entry("inputSchema").or_insert_with(|| json!({ "type": "object" }));
            Some(definition.to_string().into())
        };
        let definition = |tool: &FakeTool| {
            let given = own(tool).or_else(|| self.definitions.get(&tool.name).cloned());
            given.unwrap_or_else(|| usual(tool).to_string().into())
        };
        let mut rest = json!({});
        if self.spec.repeats_cursor {
            rest["nextCursor"] = json!("0");
        } else if start.saturating_add(size) < self.spec.tools.len() + added.len() {
            rest["nextCursor"] = json!((start + size).to_string());
        }
        Answer::Tools { page: page.map(definition).collect(), rest }
    }

    fn prompt(&self, params: &Value) -> Answer {
        if !self.spec.prompts.iter().any(|name| params["name"] == **name) {
            return Answer::error(-32602, "unknown prompt");
        }
        Answer::Result(json!({
            "messages": [{ "role": "user", "content": { "type": "text", "text": params["arguments"].to_string() }, "xFuture": 1 }],
            "_meta": { "example.com/answeredBy": self.spec.name },
        }))
    }

    fn resource(&self, params: &Value) -> Answer {
        let Some(uri) = self.spec.resources.iter().find(|uri| params["uri"] == ***uri) else {
            let code = if self.spec.era == Era::Modern { -32602 } else { -32002 };
            return Answer::error(code, "unknown resource");
        };
        Answer::Result(json!({
            "contents": [{ "uri": uri, "text": format!("{uri} of {}", self.spec.name), "xFuture": true }],
            "_meta": { "example.com/answeredBy": self.spec.name },
        }))
    }

    async fn call(&self, id: &Value, params: &Value, outlet: &Outlet) -> Option<Answer> {
        let Some(tool) = self.all_tools().into_iter().find(|tool| params["name"] == *tool.name) else {
            return Some(Answer::error(-32602, "unknown tool"));
        };
        let arguments = &params["arguments"];
        // Before others who wait for this call go on.
        let call = self.recorder.as_ref().map(|recorder| recorder.begin(&tool.name, arguments));
        let mut number = 0;
        self.called.send_modify(|called| {
            let count = called.entry(tool.name.clone()).or_default();
            (number, *count) = (*count, *count + 1);
        });
        let answer = self.behave(id, params, outlet, tool, number).await;
        if let Some(call) = call {
            call.end();
        }
        answer
    }

    /// - `number`: of this call among those of the tool, from 0
    async fn behave(&self, id: &Value, params: &Value, outlet: &Outlet, tool: FakeTool, number: u64) -> Option<Answer> {
        let arguments = &params["arguments"];
        let text = match tool.behaviour {
            Behaviour::Echo => match arguments["size"].as_u64() {
                Some(size) => "x".repeat(usize::try_from(size).unwrap_or(0)),
                None => arguments.to_string(),
            },
            Behaviour::Strange => return Some(Answer::Result(strange_result())),
            Behaviour::Image => {
                let image = json!({ "type": "image", "data": PIXEL, "mimeType": "image/png" });
                return Some(Answer::Result(json!({ "content": [image] })));
            }
            Behaviour::ToolError => {
                let content = json!([{ "type": "text", "text": "it did not work" }]);
                return Some(Answer::Result(json!({ "content": content, "isError": true, "xFuture": 1 })));
            }
            Behaviour::RpcError => {
                let error = json!({ "code": -32099, "message": "no", "data": { "why": [1, 2] }, "xFuture": 1 });
                return Some(Answer::Error(error));
            }
            Behaviour::Handshake if self.spec.era == Era::Modern => params["_meta"].to_string(),
            Behaviour::Handshake => self.handshake.lock().expect("no holder of the lock panics").to_string(),
            Behaviour::Never => std::future::pending().await,
            Behaviour::Late { ms } => {
                sleep(Duration::from_millis(ms)).await;
                "late".to_owned()
            }
            Behaviour::Big { bytes } => "x".repeat(bytes),
            Behaviour::WrongId => {
                outlet(response(&json!("never-asked"), Answer::Result(json!({ "content": [] }))));
                return None;
            }
            Behaviour::Die => exit(3),
            Behaviour::FloodStderr { bytes } => {
                flood_stderr(bytes);
                "flooded".to_owned()
            }
            Behaviour::AddTool => self.add_tool(),
            Behaviour::Progress { every_ms, times } => {
                let token = &params["_meta"]["progressToken"];
                for step in 1..=times {
                    sleep(Duration::from_millis(every_ms)).await;
                    if !token.is_null() {
                        let progress =
                            json!({ "progressToken": token, "progress": step, "total": times, "xFuture": 1 });
                        outlet(notification("notifications/progress", &progress));
                    }
                }
                format!("{times} steps")
            }
            Behaviour::Meet { calls } => {
                self.called_at_least(&tool.name, calls).await;
                "met".to_owned()
            }
            Behaviour::Calls => {
                let wanted = arguments["atLeast"].as_u64().unwrap_or(1);
                self.called_at_least(arguments["tool"].as_str().unwrap_or_default(), wanted).await.to_string()
            }
            Behaviour::Cancellations => {
                let wanted = arguments["atLeast"].as_u64().unwrap_or(0);
                let mut count = self.cancelled.subscribe();
                let seen = count.wait_for(|count| *count >= wanted).await.map(|count| *count);
                seen.unwrap_or_default().to_string()
            }
            Behaviour::Scripted { replies } => {
                let last = replies.len().checked_sub(1).expect("a script has replies");
                let reply = &replies[usize::try_from(number).map_or(last, |number| number.min(last))];
                return Some(scripted(reply).await);
            }
        };
        let id_note = if id.is_null() { "null" } else { "set" };
        Some(Answer::Result(json!({
            "content": [{ "type": "text", "text": text }],
            "_meta": { "example.com/answeredBy": self.spec.name, "example.com/tool": tool.name,
                "example.com/pid": std::process::id(), "example.com/id": id_note },
        })))
    }

    /// Waits until `tool` was called so often; how often it was.
    async fn called_at_least(&self, tool: &str, times: u64) -> u64 {
        let mut called = self.called.subscribe();
        let count = |called: &HashMap<String, u64>| called.get(tool).copied().unwrap_or_default();
        let seen = called.wait_for(|called| count(called) >= times).await;
        seen.map(|called| count(&called)).unwrap_or_default()
    }

    fn add_tool(&self) -> String {
        let name = {
            let mut added = self.added.lock().expect("no holder of the lock panics");
            let name = format!("added_{}", added.len());
            added.push(FakeTool { name: name.clone(), behaviour: Behaviour::Echo, definition: None });
            name
        };
        // Nobody listens when no stream is open.
        let _ = self.changed.send(());
        name
    }

    fn lock_running(&self) -> std::sync::MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.running.lock().expect("no holder of the lock panics")
    }
}

/// Forgets a call when it ends and counts it when it ends early.
struct CallGuard {
    server: Arc<FakeServer>,
    key: String,
    finished: bool,
}

impl CallGuard {
    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        self.server.lock_running().remove(&self.key);
        if !self.finished {
            self.server.cancelled.send_modify(|count| *count += 1);
        }
    }
}

enum Answer {
    Result(Value),
    /// A page of definitions, which may be many, beside the rest of the result.
    Tools {
        page: Vec<Arc<str>>,
        rest: Value,
    },
    Error(Value),
}

impl Answer {
    fn error(code: i64, message: &str) -> Self {
        Self::Error(json!({ "code": code, "message": message }))
    }
}

async fn scripted(reply: &ScriptedReply) -> Answer {
    sleep(Duration::from_millis(reply.delay_ms)).await;
    match &reply.error {
        Some(error) => Answer::Error(error.clone()),
        None => Answer::Result(reply.result.clone()),
    }
}

/// Definitions with their names, in the order of the file.
fn read_definitions(file: &Path) -> Vec<(String, Arc<str>)> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let definition = |line: &str| {
        let definition: Value = serde_json::from_str(line).expect("each line is a definition");
        (definition["name"].as_str().expect("a tool has a name").to_owned(), line.into())
    };
    text.lines().map(definition).collect()
}

fn response(id: &Value, answer: Answer) -> Outgoing {
    let message = match answer {
        Answer::Result(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
        Answer::Error(error) => json!({ "jsonrpc": "2.0", "id": id, "error": error }),
        Answer::Tools { page, rest } => {
            let rest = rest.to_string();
            let rest = &rest[1..rest.len() - 1];
            let comma = if rest.is_empty() { "" } else { "," };
            let text =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{}]{comma}{rest}}}}}"#, page.join(","));
            return Outgoing { text, is_response: true };
        }
    };
    Outgoing { text: message.to_string(), is_response: true }
}

/// A notification as it goes over the wire.
pub(super) fn notification(method: &str, params: &Value) -> Outgoing {
    let message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
    Outgoing { text: message.to_string(), is_response: false }
}

fn strange_result() -> Value {
    json!({
        "content": [
            { "type": "text", "text": "x", "annotations": { "audience": ["user", "auditor"], "xFuture": 1 }, "xFuture": 2 },
            { "type": "hologram", "data": { "depth": 1e2 } },
        ],
        "structuredContent": [1.0, 9_007_199_254_740_993_u64, "\u{2028}"],
        "xFuture": { "a": null },
        "_meta": { "example.com/kept": true },
    })
}

fn flood_stderr(bytes: usize) {
    use std::io::Write;
    let line = [b"flood ".repeat(20), b"\n".to_vec()].concat();
    let mut stderr = std::io::stderr().lock();
    for _ in 0..bytes / line.len() {
        if stderr.write_all(&line).is_err() {
            return;
        }
    }
}

#[expect(clippy::exit, reason = "a fake that dies is the point")]
fn exit(code: i32) -> ! {
    std::process::exit(code)
}
