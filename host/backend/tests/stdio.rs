//! Backends that are child processes, well-behaved and not.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a failure is the test's, and so is the runtime")]

mod support;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use support::{call, context, events, eventually, is_alive, start, stdio, text, tool, wait_for};
use tokio::time::timeout;
use vmcp_backend::{Backend, BackendChange, BackendSpec, BackendState, ServerMessage, Transport};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{era::Era, object::Object};

const GRACE: Duration = Duration::from_millis(500);

fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn both_eras_are_found_out_and_replies_keep_their_bytes() {
    for (kind, era, version) in
        [("legacy", Era::Legacy, "1"), ("modern", Era::Modern, "2"), ("dies-on-probe", Era::Legacy, "1")]
    {
        let backend = start(stdio(kind));
        let info = backend.connected().await.unwrap();
        assert_eq!(info.era, era, "{kind}");
        let (sender, _events) = events();
        let reply = backend.call(tool("echo", json!({"text": "hi"}), json!({"k": [1]})), sender).await.unwrap();
        let Reply::Result(result) = reply else { panic!("{kind}") };
        assert!(result.as_str().contains(r#""future": {"kept": 1.5}"#), "{kind}: {result:?}");
        let meta = Object::parse(&result).unwrap().get_object("meta");
        assert_eq!(meta.get("k").unwrap().as_str(), "[1]");
        assert_eq!(meta.get("io.modelcontextprotocol/clientInfo").is_some(), era == Era::Modern);
        let report = backend.report();
        assert_eq!((report.state, report.server_version.as_deref(), report.in_flight), ("ready", Some(version), 0));
        assert_eq!(report.pids.len(), 1);
        backend.stop(GRACE).await;
        eventually(kind, async || !is_alive(report.pids[0])).await;
        assert!(matches!(call(&backend, tool("echo", json!({}), json!({}))).await, Err(CallError::Unavailable { .. })));
    }
}

#[tokio::test]
async fn a_killed_backend_fails_its_calls_at_once_and_comes_back() {
    let backend = start(stdio("legacy"));
    let pid: u32 = text(&backend, "pid", json!({})).await.parse().unwrap();
    let mut changes = backend.changes();
    let (sender, mut received) = events();
    let endless = tool("progress", json!({"steps": 10_000, "seconds": 0.05}), json!({"progressToken": 1}));
    let calling = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.call(endless, sender).await })
    };
    received.recv().await.expect("the call is under way");
    kill(pid);
    let outcome = calling.await.unwrap();
    let Err(CallError::ConnectionLost { source, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(source.to_string(), "the process was ended by signal 9");
    assert_eq!(changes.recv().await.unwrap(), BackendChange::Lost);
    assert_eq!(changes.recv().await.unwrap(), BackendChange::Reconnected);
    assert_ne!(text(&backend, "pid", json!({})).await, pid.to_string());
    assert_eq!(backend.report().restarts, 1);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_misbehaving_call_harms_no_other() {
    let backend = start(stdio("legacy"));
    let quick = |name| {
        let mut request = tool(name, json!({}), json!({}));
        request.timeout = Some(Duration::from_millis(300));
        call(&backend, request)
    };
    for name in ["wrong_id", "late", "never"] {
        assert!(matches!(quick(name).await, Err(CallError::Timeout { .. })), "{name}");
    }
    let huge = call(&backend, tool("huge", json!({"bytes": 20_000_000}), json!({}))).await;
    assert!(matches!(huge, Err(CallError::ReplyTooLarge { limit: 1_048_576, .. })), "{huge:?}");
    assert_eq!(text(&backend, "noise", json!({})).await, "quiet again");
    assert_eq!(text(&backend, "huge", json!({"bytes": 900_000})).await.len(), 900_000);
    assert_eq!(text(&backend, "flood", json!({})).await, "flooding");
    for n in 0..50 {
        assert_eq!(text(&backend, "echo", json!({"text": n.to_string()})).await, n.to_string());
    }
    eventually("the late reply", async || text(&backend, "late_replies", json!({})).await == "1").await;
    // It went nowhere, and all of this was one process.
    assert_eq!(text(&backend, "echo", json!({"text": "end"})).await, "end");
    assert_eq!(backend.report().restarts, 0);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_dropped_or_late_call_is_cancelled_at_the_backend() {
    let backend = start(stdio("legacy"));
    backend.connected().await.unwrap();
    let dropped = timeout(Duration::from_millis(200), call(&backend, tool("never", json!({}), json!({})))).await;
    assert!(dropped.is_err());
    let mut late = tool("never", json!({}), json!({}));
    late.timeout = Some(Duration::from_millis(100));
    assert!(call(&backend, late).await.is_err());
    let cancelled = async || text(&backend, "cancelled", json!({})).await;
    eventually("both are cancelled", async || serde_json::from_str::<Vec<u64>>(&cancelled().await).unwrap().len() == 2)
        .await;
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn progress_keeps_the_clients_token_and_extends_the_timeout() {
    let backend = start(stdio("legacy"));
    backend.connected().await.unwrap();
    // In all it takes longer than it may, with steps that are ten times shorter.
    let mut request = tool("progress", json!({"steps": 12, "seconds": 0.3}), json!({"progressToken": "mine"}));
    request.timeout = Some(Duration::from_secs(3));
    let (sender, mut received) = events();
    assert!(backend.call(request, sender).await.is_ok());
    let mut steps = Vec::new();
    while let Some(ServerMessage::Notification(notification)) = received.recv().await {
        steps.push(notification.params.unwrap().as_str().to_owned());
    }
    assert_eq!(steps.len(), 12);
    assert_eq!(steps[0], r#"{"progressToken":"mine","progress":1}"#);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn changes_are_told() {
    let backend = start(stdio("legacy"));
    backend.connected().await.unwrap();
    let mut changes = backend.changes();
    text(&backend, "change", json!({})).await;
    assert_eq!(changes.recv().await.unwrap(), BackendChange::ListChanged(Kind::Tool));
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_request_of_the_backend_reaches_the_client_behind_the_only_call() {
    let backend = start(stdio("legacy"));
    let mut request = tool("ask", json!({}), json!({}));
    request.client.capabilities = RawJson::of(&json!({"elicitation": {}}));
    let (sender, mut received) = events();
    let answering = tokio::spawn(async move {
        let Some(ServerMessage::Request { request, reply }) = received.recv().await else { panic!() };
        assert_eq!(request.method, "elicitation/create");
        reply.send(Reply::Result(RawJson::of(&json!({"action": "accept"})))).unwrap();
    });
    let Reply::Result(result) = backend.call(request.clone(), sender).await.unwrap() else { panic!() };
    assert!(result.as_str().contains("accept"), "{result:?}");
    answering.await.unwrap();
    // Nobody listens, or nobody may be asked: the backend hears so at once.
    let Reply::Result(refused) = backend.call(request, support::nobody()).await.unwrap() else { panic!() };
    assert!(refused.as_str().contains("-32601"), "{refused:?}");
    let mute = tool("ask", json!({"method": "roots/list"}), json!({}));
    let Reply::Result(refused) = backend.call(mute, support::nobody()).await.unwrap() else { panic!() };
    assert!(refused.as_str().contains("-32601"), "{refused:?}");
    assert_eq!(text(&backend, "ask", json!({"method": "ping"})).await, r#"{"result": {}}"#);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn clients_that_can_be_asked_have_processes_of_their_own_one_call_at_a_time() {
    let backend = start(BackendSpec { max_processes: 2, ..stdio("legacy") });
    let control = text(&backend, "pid", json!({})).await;
    let pid = async |name: &str, arguments| {
        let mut request = tool(name, arguments, json!({}));
        request.client.capabilities = RawJson::of(&json!({"sampling": {}}));
        call(&backend, request).await.unwrap()["content"][0]["text"].as_str().unwrap().to_owned()
    };
    assert_eq!(pid("initialized_with", json!({})).await, r#"{"sampling": {}}"#);
    let first = pid("pid", json!({})).await;
    assert_ne!(first, control);
    assert_eq!(pid("pid", json!({})).await, first, "a free process is used again");
    let began = Instant::now();
    let sleep = || pid("sleep", json!({"seconds": 0.6}));
    tokio::join!(sleep(), sleep(), sleep());
    assert!(began.elapsed() >= Duration::from_millis(1200), "the third waits: {:?}", began.elapsed());
    assert_eq!(backend.report().pids.len(), 3);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_backend_that_dies_in_its_handshake_is_reported_with_its_last_words() {
    let backend = start(stdio("broken"));
    let BackendState::Failed { error, hint, .. } =
        wait_for(&backend, |s| matches!(s, BackendState::Failed { .. })).await
    else {
        panic!()
    };
    assert!(error.contains("server.py broken` exited with code 7 before it answered `initialize`"), "{error}");
    assert!(error.ends_with("trouble 2\n    trouble 3\n    trouble 4\n    trouble 5\n    trouble 6"), "{error}");
    assert!(!error.contains("trouble 1"));
    assert_eq!(hint, None);
    assert!(matches!(backend.connected().await, Err(CallError::Unavailable { .. })));
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_command_that_is_not_there_is_reported_with_a_hint() {
    let missing = Transport::Stdio { command: "uvx-is-not-here".into(), args: vec![], env: vec![], cwd: None };
    let backend = start(support::spec(missing));
    let BackendState::Failed { hint, .. } = wait_for(&backend, |s| matches!(s, BackendState::Failed { .. })).await
    else {
        panic!()
    };
    assert_eq!(hint.unwrap(), "`uvx-is-not-here` was not found on PATH; install it or write its full path");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn calls_beyond_the_limit_wait_in_a_bounded_line() {
    let backend = start(BackendSpec { max_concurrency: 1, ..stdio("legacy") });
    backend.connected().await.unwrap();
    let sleeps = (0..6).map(|_| {
        let backend = backend.clone();
        tokio::spawn(async move { call(&backend, tool("sleep", json!({"seconds": 0.2}), json!({}))).await })
    });
    let outcomes = futures::future::join_all(sleeps).await;
    let busy = outcomes.iter().filter(|o| matches!(o.as_ref().unwrap(), Err(CallError::Busy { limit: 1, .. }))).count();
    let done = outcomes.iter().filter(|o| o.as_ref().unwrap().is_ok()).count();
    assert_eq!((done, busy), (5, 1));
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_lazy_backend_starts_with_the_first_call_and_an_idle_one_ends() {
    let idle_timeout = Some(Duration::from_millis(300));
    let backend = Backend::new(BackendSpec { lazy: true, idle_timeout, ..stdio("legacy") }, context());
    backend.start();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(backend.report().state, "idle");
    let pid: u32 = text(&backend, "pid", json!({})).await.parse().unwrap();
    wait_for(&backend, |state| matches!(state, BackendState::Idle)).await;
    eventually("its process ends", async || !is_alive(pid)).await;
    assert_ne!(text(&backend, "pid", json!({})).await, pid.to_string());
    assert_eq!(backend.report().restarts, 0);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn stopping_ends_a_process_that_ignores_everything_and_its_children() {
    let backend = start(stdio("legacy"));
    let in_group: u32 = text(&backend, "grandchild", json!({})).await.parse().unwrap();
    let escaped: u32 = text(&backend, "grandchild", json!({"leaves": support::FINDS_ESCAPED})).await.parse().unwrap();
    assert!(is_alive(in_group) && is_alive(escaped));
    backend.stop(GRACE).await;
    eventually("they end", async || !is_alive(in_group) && !is_alive(escaped)).await;
}
