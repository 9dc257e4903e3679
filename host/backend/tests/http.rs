//! Backends over HTTP, in all three forms, well-behaved and not.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod fake_http;
mod support;

use std::{sync::atomic::Ordering, time::Duration};

use fake_http::{FakeHttp, Mode};
use serde_json::{Value, json};
use support::{
    PATIENCE, call, events, eventually, of_client, question, said, sse, start, streamable, text, tool, wait_for,
};
use tokio::time::timeout;
use vmcp_backend::{Backend, BackendChange, BackendRequest, BackendState, ClientProfile, ServerMessage, Transport};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::era::Era;

const GRACE: Duration = Duration::from_millis(500);

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
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn progress_extends_the_timeout() {
    let check = async |mode| {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        backend.connected().await.unwrap();
        let mut slow = tool("slow", json!({}), json!({"progressToken": 1}));
        slow.timeout = Some(Duration::from_secs(3));
        assert_eq!(call(&backend, slow).await.unwrap()["content"][0]["text"], "slow");
        backend.stop(GRACE).await;
    };
    tokio::join!(check(Mode::Legacy), check(Mode::Modern));
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
        tokio::select! {
            outcome = call(&backend, request) => panic!("{outcome:?}"),
            () = eventually("it arrives", async || fake.count("tools/call") == 1) => {}
        }
        eventually("the stream is closed", async || fake.abandoned.load(Ordering::SeqCst) == 1).await;
        if mode == Mode::Legacy {
            eventually("it is told", async || fake.count("notifications/cancelled") == 1).await;
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
        let change = timeout(PATIENCE, heard).await.unwrap();
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

/// The session that serves a client.
async fn session(backend: &Backend, capabilities: Value, scope: Option<&str>) -> String {
    let (sender, _received) = events();
    said(backend.call(of_client(tool("session", json!({}), json!({})), capabilities, scope), sender).await.unwrap())
}

#[tokio::test]
async fn a_question_apart_from_the_stream_of_its_call_reaches_the_only_call() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    let ask = |name| of_client(tool(name, json!({}), json!({})), json!({"elicitation": {}}), Some("one"));
    for forgotten in [false, true] {
        if forgotten {
            // The next call makes a new session, and the stream goes with it.
            fake.sessions.lock().unwrap().clear();
        }
        let before = fake.count("initialize");
        assert!(call(&backend, ask("echo")).await.is_ok());
        assert!(!forgotten || fake.count("initialize") == before + 1);
        let session = fake.headers_of("tools/call")["mcp-session-id"].to_str().unwrap().to_owned();
        eventually("its stream is open", async || fake.streams.lock().unwrap().contains(&session)).await;
        let (sender, mut received) = events();
        let client = async {
            let (asked, reply) = question(&mut received).await;
            assert_eq!(asked.method, "elicitation/create");
            reply.send(Reply::Result(RawJson::of(&json!({"action": "decline"})))).unwrap();
        };
        let (reply, ()) = tokio::join!(backend.call(ask("ask_aside"), sender), client);
        assert!(said(reply.unwrap()).contains("decline"));
    }
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_session_that_knows_the_roots_of_a_client_serves_no_other() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    let roots = || json!({"roots": {}});
    for scope in [None, Some("one")] {
        let before = session(&backend, roots(), scope).await;
        assert_eq!(session(&backend, roots(), scope).await, before);
        let (sender, mut received) = events();
        let client = async {
            let (asked, reply) = question(&mut received).await;
            assert_eq!(asked.method, "roots/list");
            reply.send(Reply::Result(RawJson::of(&json!({"roots": []})))).unwrap();
        };
        let request = of_client(tool("ask", json!({"method": "roots/list"}), json!({})), roots(), scope);
        let (reply, ()) = tokio::join!(backend.call(request, sender), client);
        assert!(said(reply.unwrap()).contains("roots"));
        assert_eq!(session(&backend, roots(), scope).await == before, scope.is_some());
    }
    assert_ne!(session(&backend, roots(), Some("other")).await, session(&backend, roots(), Some("one")).await);
    let deleted = fake.deleted.load(Ordering::SeqCst);
    backend.end_scope("one");
    eventually("it is ended", async || fake.deleted.load(Ordering::SeqCst) == deleted + 1).await;
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn sessions_with_clients_have_a_limit_and_unused_ones_give_way() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    let sampling = || json!({"sampling": {}});
    let first = session(&backend, sampling(), Some("0")).await;
    for n in 1..=256 {
        session(&backend, sampling(), Some(&n.to_string())).await;
    }
    eventually("one gives way", async || fake.deleted.load(Ordering::SeqCst) == 1).await;
    assert_ne!(session(&backend, sampling(), Some("0")).await, first, "the one used least recently");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn discovery_shows_all_capabilities_to_either_era() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let backend = start(streamable(&fake.url));
        let request = tool("echo", json!({}), json!({}));
        assert!(call(&backend, BackendRequest { client: ClientProfile::everyone(), ..request }).await.is_ok());
        let method = if mode == Mode::Legacy { "initialize" } else { "tools/call" };
        let seen = fake.seen.lock().unwrap();
        let (_, message) = seen.iter().rev().find(|(_, message)| message["method"] == method).unwrap();
        let (told, changes) = match mode {
            Mode::Legacy => (&message["params"]["capabilities"], json!({"listChanged": true})),
            _ => (&message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"], json!({})),
        };
        let expected =
            json!({"elicitation": {"form": {}, "url": {}}, "roots": changes, "sampling": {"context": {}, "tools": {}}});
        assert_eq!(*told, expected);
    }
}

#[tokio::test]
async fn watched_resources_are_told_and_no_change_of_them_makes_the_host_deaf() {
    let fake = FakeHttp::start(Mode::Modern).await;
    let backend = start(streamable(&fake.url));
    backend.connected().await.unwrap();
    let mut changes = backend.changes();
    let watched = || {
        let seen = fake.seen.lock().unwrap();
        let last = seen.iter().rev().find(|(_, message)| message["method"] == "subscriptions/listen");
        last.map(|(_, message)| message["params"]["notifications"]["resourceSubscriptions"].clone())
    };
    eventually("it listens", async || fake.listening.load(Ordering::SeqCst) == 1).await;
    backend.watch(vec!["test://a".to_owned()]);
    backend.watch(vec!["test://a".to_owned(), "test://b".to_owned()]);
    let both = json!(["test://a", "test://b"]);
    eventually("it watches", async || watched().as_ref() == Some(&both)).await;
    assert_eq!(fake.count("subscriptions/listen"), 2, "two changes in a row are one");
    eventually("one stream is left", async || fake.listening.load(Ordering::SeqCst) == 1).await;
    for uri in ["test://other", "test://b"] {
        text(&backend, "change", json!({ "uri": uri })).await;
    }
    assert_eq!(changes.recv().await.unwrap(), BackendChange::ResourceUpdated { uri: "test://b".to_owned() });
    backend.watch(Vec::new());
    eventually("it watches nothing", async || watched() == Some(Value::Null)).await;
    assert_eq!(fake.deaf.load(Ordering::SeqCst), 0);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_backend_sees_the_configured_headers_and_those_of_the_protocol_only() {
    for mode in [Mode::Legacy, Mode::Modern] {
        let fake = FakeHttp::start(mode).await;
        let mut spec = streamable(&fake.url);
        let Transport::StreamableHttp { headers, .. } = &mut spec.transport else { panic!() };
        headers.insert("authorization", "Bearer of the host".parse().unwrap());
        let backend = start(spec);
        let meta =
            json!({"authorization": "Bearer of the client", "io.modelcontextprotocol/clientInfo": {"name": "client"}});
        call(&backend, tool("echo", json!({}), meta)).await.unwrap();
        for (headers, message) in fake.seen.lock().unwrap().iter() {
            assert_eq!(headers["authorization"], "Bearer of the host");
            let known =
                ["authorization", "content-type", "accept", "host", "content-length", "accept-encoding", "user-agent"];
            let odd = headers.keys().find(|name| !known.contains(&name.as_str()) && !name.as_str().starts_with("mcp-"));
            assert_eq!(odd, None);
            let info = &message["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"];
            assert!(info.is_null() || info == "vmcp-host", "{info}");
        }
        backend.stop(GRACE).await;
    }
}

#[tokio::test]
async fn results_keep_their_type_or_the_lack_of_one() {
    let fake = FakeHttp::start(Mode::Modern).await;
    let backend = start(streamable(&fake.url));
    let result = async |name: &str| call(&backend, tool(name, json!({}), json!({}))).await.unwrap();
    assert_eq!(result("odd").await["resultType"], "unheard of");
    assert_eq!(result("echo").await.get("resultType"), None);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_batch_is_read_as_its_messages() {
    let fake = FakeHttp::start(Mode::Legacy).await;
    let backend = start(streamable(&fake.url));
    for name in ["batch", "batch_stream"] {
        let (sender, mut received) = events();
        let reply = backend.call(tool(name, json!({}), json!({})), sender).await.unwrap();
        assert_eq!(said(reply), "batched");
        assert!(
            matches!(received.recv().await, Some(ServerMessage::Notification(n)) if n.method == "notifications/message")
        );
    }
    backend.stop(GRACE).await;
}
