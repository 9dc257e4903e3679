//! What a legacy process asks of the clients behind its calls, and whom its processes serve.

#![allow(clippy::unwrap_used, reason = "a failure is the test's")]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{PATIENCE, call, events, eventually, is_alive, of_client, question, said, start, stdio, text, tool};
use tokio::time::timeout;
use vmcp_backend::{Backend, BackendChange, BackendRequest, BackendSpec, ClientProfile, ServerMessage};
use vmcp_core::{call::Reply, capability::Kind, json::RawJson};
use vmcp_mcp::envelope::Notification;

const GRACE: Duration = Duration::from_millis(500);

/// The process that serves a client.
async fn pid(backend: &Backend, capabilities: Value, scope: Option<&str>) -> String {
    let (sender, _received) = events();
    said(backend.call(of_client(tool("pid", json!({}), json!({})), capabilities, scope), sender).await.unwrap())
}

/// Calls and answers the one question of the call after `delay`; the reply, and what was asked.
async fn answered(backend: &Backend, request: BackendRequest, delay: Duration) -> (String, String) {
    let (sender, mut received) = events();
    let client = async {
        let (asked, reply) = question(&mut received).await;
        tokio::time::sleep(delay).await;
        reply.send(Reply::Result(RawJson::of(&json!({"roots": [], "action": "accept"})))).unwrap();
        asked.method
    };
    let (reply, asked) = tokio::join!(backend.call(request, sender), client);
    (said(reply.unwrap()), asked)
}

#[tokio::test]
async fn roots_asked_for_after_the_handshake_are_those_of_the_first_client() {
    let backend = start(stdio("roots"));
    let roots = json!({"roots": {}});
    let ask = |scope| of_client(tool("roots", json!({}), json!({})), roots.clone(), scope);
    for scope in [None, Some("one")] {
        let (reply, asked) = answered(&backend, ask(scope), Duration::ZERO).await;
        assert_eq!(asked, "roots/list");
        assert!(reply.contains(r#""roots": []"#), "{reply}");
    }
    // The process of the scope goes on; the other knows the roots of a client that may not be the next.
    let (sender, _received) = events();
    assert!(said(backend.call(ask(Some("one")), sender).await.unwrap()).contains(r#""roots": []"#));
    let (_, asked) = answered(&backend, ask(None), Duration::ZERO).await;
    assert_eq!(asked, "roots/list", "another process asked anew");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_scope_has_a_process_of_its_own_that_hears_its_notifications_and_ends_with_it() {
    let backend = start(stdio("legacy"));
    let caps = json!({"roots": {"listChanged": true}});
    let one = pid(&backend, caps.clone(), Some("one")).await;
    let other = pid(&backend, caps.clone(), Some("other")).await;
    assert_ne!(one, other);
    assert_eq!(pid(&backend, caps.clone(), Some("one")).await, one);

    let told = Notification { method: "notifications/roots/list_changed".to_owned(), params: None };
    backend.notify_scope("one", &told);
    backend.notify_scope("nobody", &told);
    let heard = async |scope| {
        let (sender, _received) = events();
        let request = of_client(tool("heard", json!({}), json!({})), caps.clone(), Some(scope));
        said(backend.call(request, sender).await.unwrap())
    };
    eventually("it is told", async || heard("one").await.contains("roots/list_changed")).await;
    assert!(!heard("other").await.contains("roots/list_changed"));

    backend.end_scope("one");
    let ended: u32 = one.parse().unwrap();
    eventually("its process ends", async || !is_alive(ended)).await;
    assert_eq!(pid(&backend, caps.clone(), Some("other")).await, other);
    assert_ne!(pid(&backend, caps, Some("one")).await, one);
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn the_time_of_a_call_stands_still_while_its_client_is_asked() {
    let backend = start(stdio("legacy"));
    let elicitation = json!({"elicitation": {}});
    pid(&backend, elicitation.clone(), None).await;
    let mut request = of_client(tool("ask", json!({}), json!({})), elicitation, None);
    let timeout = Duration::from_secs(3);
    request.timeout = Some(timeout);
    let (reply, _) = answered(&backend, request, timeout + Duration::from_millis(500)).await;
    assert!(reply.contains("accept"), "{reply}");
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_question_that_the_server_withdraws_or_whose_call_ends_is_off() {
    let backend = start(stdio("legacy"));
    let request = |seconds| {
        let request = tool("ask", json!({ "seconds": seconds }), json!({}));
        of_client(request, json!({"elicitation": {}}), Some("one"))
    };
    let (sender, mut received) = events();
    let client = async {
        let (_, mut reply) = question(&mut received).await;
        timeout(PATIENCE, reply.closed()).await.unwrap();
    };
    let (reply, ()) = tokio::join!(backend.call(request(0.2), sender), client);
    assert_eq!(said(reply.unwrap()), "null");

    let (sender, mut received) = events();
    let mut reply = tokio::select! {
        (_, reply) = question(&mut received) => reply,
        _ = backend.call(request(120.0), sender) => panic!(),
    };
    timeout(PATIENCE, reply.closed()).await.unwrap();
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_cancelled_call_does_not_cost_the_process() {
    let backend = start(BackendSpec { max_processes: 1, ..stdio("legacy") });
    let elicitation = || json!({"elicitation": {}});
    let cancel = async |name: &str, scope| {
        let request = of_client(tool(name, json!({}), json!({})), elicitation(), scope);
        assert!(timeout(Duration::from_millis(100), call(&backend, request)).await.is_err());
    };
    for scope in [None, Some("one")] {
        let mut process = pid(&backend, elicitation(), scope).await;
        // A machine that stalls may take the time within which the late reply has to come, but not five times in a row.
        for tries in 1.. {
            cancel("late", scope).await;
            let next = pid(&backend, elicitation(), scope).await;
            if next == process {
                break;
            }
            assert!(tries < 5, "its late reply shows that it is free");
            process = next;
        }

        let began = Instant::now();
        cancel("never", scope).await;
        let next = pid(&backend, elicitation(), scope).await;
        assert!(began.elapsed() >= Duration::from_millis(1500), "{:?}", began.elapsed());
        assert_eq!(next == process, scope.is_some(), "silent, it may still ask, which only the same client may hear");
    }
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn discovery_sees_what_a_client_with_all_capabilities_sees() {
    let idle_timeout = Some(Duration::from_millis(400));
    let backend = start(BackendSpec { idle_timeout, ..stdio("roots") });
    let as_everyone = |name: &str, arguments: Value| {
        let request = tool(name, arguments, json!({}));
        call(&backend, BackendRequest { client: ClientProfile::everyone(), ..request })
    };
    let said = |reply: Result<Value, _>| reply.unwrap()["content"][0]["text"].as_str().unwrap().to_owned();
    let control = text(&backend, "pid", json!({})).await;
    let discovery = said(as_everyone("pid", json!({})).await);
    assert_ne!(discovery, control);
    let told: Value = serde_json::from_str(&said(as_everyone("initialized_with", json!({})).await)).unwrap();
    let expected = json!({"elicitation": {"form": {}, "url": {}}, "roots": {"listChanged": true}, "sampling": {"context": {}, "tools": {}}});
    assert_eq!(told, expected);
    assert!(said(as_everyone("roots", json!({})).await).contains(r#"{"roots": []}"#));
    assert!(said(as_everyone("ask", json!({})).await).contains("-32601"));
    let meet = || as_everyone("meet", json!({}));
    let (one, other, third) = tokio::join!(meet(), meet(), meet());
    assert_eq!([said(one), said(other), said(third)], ["met"; 3], "side by side");
    eventually("idle, it ends", async || !is_alive(discovery.parse().unwrap())).await;
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn discovery_falls_back_to_the_session_without_capabilities() {
    let backend = start(stdio("mute-only"));
    let control = text(&backend, "pid", json!({})).await;
    for _ in 0..2 {
        let request = BackendRequest { client: ClientProfile::everyone(), ..tool("pid", json!({}), json!({})) };
        assert_eq!(call(&backend, request).await.unwrap()["content"][0]["text"], control);
    }
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn a_batch_is_read_as_its_messages() {
    let backend = start(stdio("legacy"));
    let (sender, mut received) = events();
    let reply = backend.call(tool("batch", json!({}), json!({})), sender).await.unwrap();
    assert_eq!(said(reply), "batched");
    assert!(
        matches!(received.recv().await, Some(ServerMessage::Notification(n)) if n.method == "notifications/message")
    );
    backend.stop(GRACE).await;
}

#[tokio::test]
async fn watched_resources_are_told_by_a_modern_process() {
    let backend = start(stdio("modern"));
    backend.connected().await.unwrap();
    let mut changes = backend.changes();
    let touch = |uri: &'static str| text(&backend, "touch", json!({ "uri": uri }));
    let subscribed = async |expected: &str| {
        eventually(expected, async || touch("none").await == expected).await;
    };
    subscribed("[[]]").await;
    backend.watch(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]);
    subscribed(r#"[["a", "b"]]"#).await;
    touch("b").await;
    assert_eq!(changes.recv().await.unwrap(), BackendChange::ResourceUpdated { uri: "b".to_owned() });
    // What may have happened until it is subscribed again counts as happened.
    assert_eq!(text(&backend, "unsubscribe", json!({})).await, "1");
    subscribed(r#"[["a", "b"]]"#).await;
    for change in [
        BackendChange::ListChanged(Kind::Tool),
        BackendChange::ResourceUpdated { uri: "a".to_owned() },
        BackendChange::ResourceUpdated { uri: "b".to_owned() },
    ] {
        assert_eq!(changes.recv().await.unwrap(), change);
    }
    backend.watch(vec!["c".to_owned()]);
    backend.watch(Vec::new());
    subscribed("[[]]").await;
    backend.stop(GRACE).await;
}
