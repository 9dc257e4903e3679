//! What the tests of this crate share: specs of fake backends, and calls in one line.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "a failure is the test's, and calls read better"
)]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::HeaderMap;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vmcp_backend::{
    Backend, BackendContext, BackendRequest, BackendSpec, BackendState, ClientProfile, ServerMessage, Transport,
};
use vmcp_core::{
    call::{CallError, Reply},
    id::BackendId,
    json::RawJson,
};
use vmcp_mcp::{envelope::Request, meta::RequestMeta, object::Object};

/// Longest wait for what must happen. No measure of speed: it only ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn context() -> Arc<BackendContext> {
    Arc::new(BackendContext {
        input_timeout: Duration::from_mins(10),
        host_info: RawJson::of(&json!({"name": "vmcp-host", "version": "0"})),
        watcher: None,
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    })
}

pub(crate) fn spec(transport: Transport) -> BackendSpec {
    BackendSpec {
        id: BackendId::new("fake").unwrap(),
        transport,
        request_timeout: PATIENCE,
        start_timeout: PATIENCE,
        idle_timeout: None,
        lazy: false,
        max_concurrency: 32,
        max_processes: 4,
        shared_sessions: false,
        reply_limit: 1024 * 1024,
    }
}

pub(crate) fn script() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/server.py");
    path.to_str().unwrap().to_owned()
}

pub(crate) fn stdio(kind: &str) -> BackendSpec {
    spec(Transport::Stdio { command: "python3".into(), args: vec![script(), kind.into()], env: Vec::new(), cwd: None })
}

pub(crate) fn streamable(url: &str) -> BackendSpec {
    spec(Transport::StreamableHttp { url: url.parse().unwrap(), headers: HeaderMap::new(), ca_bundle: None })
}

pub(crate) fn sse(url: &str) -> BackendSpec {
    spec(Transport::Sse { url: url.parse().unwrap(), headers: HeaderMap::new(), ca_bundle: None })
}

pub(crate) fn start(spec: BackendSpec) -> Arc<Backend> {
    let backend = Backend::new(spec, context());
    backend.start();
    backend
}

/// A `tools/call` whose arguments and `_meta` are as given.
pub(crate) fn tool(name: &str, arguments: Value, meta: Value) -> BackendRequest {
    let params = json!({"name": name, "arguments": arguments, "_meta": meta});
    let mut params = Object::parse(&RawJson::of(&params)).unwrap();
    let meta = RequestMeta::take_from(&mut params);
    BackendRequest { method: "tools/call".into(), params, meta, ..BackendRequest::default() }
}

/// Makes `request` one of a client that can be asked what `capabilities` say.
pub(crate) fn of_client(mut request: BackendRequest, capabilities: Value, scope: Option<&str>) -> BackendRequest {
    request.client = ClientProfile {
        capabilities: RawJson::of(&capabilities),
        scope: scope.map(Arc::from),
        ..ClientProfile::default()
    };
    request
}

/// The request that the backend makes next.
pub(crate) async fn question(received: &mut mpsc::Receiver<ServerMessage>) -> (Request, oneshot::Sender<Reply>) {
    loop {
        match received.recv().await.expect("a question comes") {
            ServerMessage::Request { request, reply } => return (request, reply),
            ServerMessage::Question { .. } => panic!("no backend sends that"),
            ServerMessage::Notification(_) => {}
        }
    }
}

/// The text of a result, or the error.
pub(crate) fn said(reply: Reply) -> String {
    match reply {
        Reply::Result(result) => {
            let result: Value = result.to_value().unwrap();
            result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}")).to_owned()
        }
        Reply::Error(error) => error.as_str().to_owned(),
    }
}

pub(crate) fn events() -> (mpsc::Sender<ServerMessage>, mpsc::Receiver<ServerMessage>) {
    mpsc::channel(64)
}

/// Where events go that no client waits for.
pub(crate) fn nobody() -> mpsc::Sender<ServerMessage> {
    mpsc::channel(1).0
}

pub(crate) async fn call(backend: &Backend, request: BackendRequest) -> Result<Value, CallError> {
    let (sender, _receiver) = events();
    backend.call(request, sender).await.map(|reply| match reply {
        Reply::Result(result) => result.to_value().unwrap(),
        Reply::Error(error) => json!({"error": error.to_value::<Value>().unwrap()}),
    })
}

/// The text of the reply to a call without extras.
pub(crate) async fn text(backend: &Backend, name: &str, arguments: Value) -> String {
    let result = call(backend, tool(name, arguments, json!({}))).await.unwrap();
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text in {result}")).to_owned()
}

pub(crate) async fn wait_for(backend: &Backend, accept: impl FnMut(&BackendState) -> bool) -> BackendState {
    let mut state = backend.state();
    let waited = tokio::time::timeout(PATIENCE, state.wait_for(accept)).await;
    waited.expect("the state comes in time").unwrap().clone()
}

/// Asks again and again until the answer is yes.
pub(crate) async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether processes that left their group are found: only Linux shows the environment of others.
pub(crate) const FINDS_ESCAPED: bool = cfg!(target_os = "linux");

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_alive(pid: u32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

#[cfg(target_os = "linux")]
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}
