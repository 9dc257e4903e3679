//! Backends over HTTP, in all three forms, well-behaved and not.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod fake_http;
mod support;

use std::{sync::atomic::Ordering, time::Duration};

use fake_http::{FakeHttp, Mode};
use serde_json::json;
use support::{call, events, sse, start, streamable, text, tool, wait_for};
use tokio::time::timeout;
use vmcp_backend::{BackendChange, BackendState, ServerMessage};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::era::Era;

const GRACE: Duration = Duration::from_millis(500);

/// Waits until `check` holds.
async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    for _ in 0..200 {
        if check() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn each_form_is_found_out_and_answers() {
    for (mode, era) in [(Mode::Legacy, Era::Legacy), (Mode::Modern, Era::Modern), (Mode::Sse, Era::Legacy)] {
        let fake = FakeHttp::start(mode).await;
        // An URL of HTTP+SSE is also found when the configuration takes it for streamable HTTP.
        let specs =
            if mode == Mode::Sse { vec![sse(&fake.url), streamable(&fake.url)] } else { vec![streamable(&fake.url)] };
        for spec in specs {
            let backend = start(spec);
            assert_eq!(backend.connected().await.unwrap().era, era);
            assert_eq!(text(&backend, "echo", json!({"text": "hi"})).await, "hi");
            assert_eq!(text(&backend, "echo", json!({"text": "again"})).await, "again");
            backend.stop(GRACE).await;
        }
    }
}

#[tokio::test]
async fn a_modern_server_gets_its_headers_and_no_handshake() {
    let fake = FakeHttp::start(Mode::Modern).await;
    let backend = start(streamable(&fake.url));
    let mut request = tool("echo", json!({"text": "hi"}), json!({}));
    request.headers.push(("mcp-param-region".parse().unwrap(), "eu".parse().unwrap()));
    call(&backend, request).await.unwrap();
    let headers = fake.headers_of("tools/call");
    let header = |name: &str| headers[name].to_str().unwrap();
    assert_eq!(header("mcp-protocol-version"), "2026-07-28");
    assert_eq!((header("mcp-method"), header("mcp-name"), header("mcp-param-region")), ("tools/call", "echo", "eu"));
    assert_eq!((fake.count("initialize"), fake.count("server/discover")), (0, 1));
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_legacy_session_is_made_once_made_anew_when_forgotten_and_ended() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    for _ in 0..5 {
        text(&backend, "echo", json!({})).await;
    }
    assert_eq!(fake.count("initialize"), 1);
    assert_eq!(fake.headers_of("tools/call")["mcp-session-id"], "session-0");
    assert_eq!(fake.headers_of("tools/call")["mcp-protocol-version"], "2025-11-25");

    let mut changes = backend.changes();
    fake.sessions.lock().unwrap().clear();
    let calls = (0..8).map(|_| text(&backend, "echo", json!({"text": "still here"})));
    assert!(futures::future::join_all(calls).await.iter().all(|text| text == "still here"));
    assert_eq!(fake.count("initialize"), 2);
    assert_eq!(changes.recv().await.unwrap(), BackendChange::Reconnected);
    backend.stop(GRACE).await;
    assert_eq!(fake.deleted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn streams_bring_events_and_then_the_reply() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        let (sender, mut received) = events();
        let request = tool("stream", json!({}), json!({"progressToken": "mine"}));
        let Reply::Result(result) = backend.call(request, sender).await.unwrap() else { panic!() };
        assert!(result.as_str().contains("streamed"));
        let mut seen = Vec::new();
        while let Some(ServerMessage::Notification(notification)) = received.recv().await {
            seen.push((notification.method, notification.params.unwrap()));
        }
        assert_eq!(seen[0].0, "notifications/progress");
        assert_eq!(seen[0].1.as_str(), r#"{"progressToken":"mine","progress":1}"#);
        assert_eq!(seen[1].0, "notifications/message");
        let mut slow = tool("slow", json!({}), json!({"progressToken": 1}));
        slow.timeout = Some(Duration::from_millis(400));
        assert!(call(&backend, slow).await.is_ok(), "progress extends the timeout");
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn a_legacy_stream_that_is_cut_goes_on_elsewhere() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    assert_eq!(text(&backend, "cut", json!({})).await, "resumed");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_question_during_a_call_reaches_its_client() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    let mut request = tool("ask", json!({}), json!({}));
    request.client.capabilities = RawJson::of(&json!({"elicitation": {}}));
    let (sender, mut received) = events();
    let asked = async {
        let Some(ServerMessage::Request { request, reply }) = received.recv().await else { panic!() };
        assert_eq!(request.method, "elicitation/create");
        reply.send(Reply::Result(RawJson::of(&json!({"action": "decline"})))).unwrap();
    };
    let (outcome, ()) = tokio::join!(backend.call(request.clone(), sender), asked);
    let Ok(Reply::Result(result)) = outcome else { panic!("{outcome:?}") };
    assert!(result.as_str().contains("decline"));
    assert_eq!(fake.count("initialize"), 2, "a session of its own, since its client can be asked");
    let Ok(Reply::Result(result)) = backend.call(request, support::nobody()).await else { panic!() };
    assert!(result.as_str().contains("-32601"), "nobody listens: {result:?}");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn odd_answers_become_typed_errors() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        let outcome = async |name: &str| call(&backend, tool(name, json!({}), json!({}))).await;
        assert!(matches!(outcome("huge").await, Err(CallError::ReplyTooLarge { limit: 1_048_576, .. })));
        assert!(matches!(outcome("huge_stream").await, Err(CallError::ReplyTooLarge { .. })));
        assert!(matches!(outcome("locked").await, Err(CallError::Refused { status: 401, .. })));
        let Err(CallError::Protocol { what, .. }) = outcome("wrong_id").await else { panic!() };
        assert_eq!(what, "it answered with the id of another request");
        let Err(CallError::Protocol { what, .. }) = outcome("page").await else { panic!() };
        assert_eq!(what, "it answered HTTP 500 Internal Server Error: <h1>oops</h1>");
        assert_eq!(outcome("unheard of").await.unwrap()["error"]["code"], -32602);
        assert_eq!(text(&backend, "echo", json!({"text": "well"})).await, "well");
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn a_dropped_call_is_cancelled() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        backend.connected().await.unwrap();
        let request = tool("never", json!({}), json!({}));
        assert!(timeout(Duration::from_millis(200), call(&backend, request)).await.is_err());
        eventually("the stream is closed", || fake.abandoned.load(Ordering::SeqCst) == 1).await;
        if mode == Mode::Legacy {
            eventually("it is told", || fake.count("notifications/cancelled") == 1).await;
        }
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn changes_are_heard_between_calls() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        backend.connected().await.unwrap();
        let mut changes = backend.changes();
        let heard = async {
            loop {
                text(&backend, "change", json!({})).await;
                if let Ok(change) = timeout(Duration::from_millis(100), changes.recv()).await {
                    return change.unwrap();
                }
            }
        };
        let change = timeout(Duration::from_secs(5), heard).await.unwrap();
        assert_eq!(change, BackendChange::ListChanged(Kind::Tool));
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let backend = start(streamable(&url));
    let BackendState::Failed { error, .. } = wait_for(&backend, |s| matches!(s, BackendState::Failed { .. })).await
    else {
        panic!()
    };
    assert!(error.contains("Connection refused"), "{error}");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_lost_event_stream_ends_its_calls_and_is_opened_again() {
    let fake = FakeHttp::start(Mode::Sse).await;
    let backend = start(sse(&fake.url));
    backend.connected().await.unwrap();
    let mut changes = backend.changes();
    fake.end_stream();
    assert_eq!(changes.recv().await.unwrap(), BackendChange::Lost);
    assert_eq!(changes.recv().await.unwrap(), BackendChange::Reconnected);
    assert_eq!(text(&backend, "echo", json!({"text": "back"})).await, "back");
    backend.stop(GRACE).await;
}
