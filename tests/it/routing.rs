//! A call on its way: progress, cancellation, concurrency, and errors that say whose fault it was.

use futures::future::join_all;
use serde_json::json;
use vmcp_tests::{Behaviour, FakeBackend, Mcp, TestHost, eventually, process::PATIENCE};

fn transports() -> [FakeBackend; 5] {
    let new = FakeBackend::new;
    [new(), new().http(), new().sse(), new().modern(), new().modern().http()]
}

#[tokio::test]
async fn progress_passes_through_and_extends_the_timeout() {
    // In all the call takes longer than it may, with steps that are ten times shorter.
    let check = async |backend: FakeBackend| {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let slow = backend.tool("slow", Behaviour::Progress { every_ms: 300, times: 12 });
        let host = TestHost::builder().backend_with("b", slow, json!({ "requestTimeout": "3s" })).start().await;
        let params = json!({ "name": "slow", "arguments": {}, "_meta": { "progressToken": "mine" } });
        let (legacy, modern) = (host.connect().await, host.connect_modern());
        let calls = [&legacy, &modern].map(|client| client.request("tools/call", params.clone()));
        for reply in join_all(calls).await {
            assert_eq!(reply.text(), "12 steps", "{what}");
            let tokens: Vec<_> = reply.notifications.iter().map(|one| &one["params"]["progressToken"]).collect();
            assert_eq!(tokens, ["mine"; 12], "{what}");
            assert_eq!(reply.notifications[0]["params"]["xFuture"], 1, "{what}");
        }
    };
    join_all(transports().map(check)).await;
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_backend() {
    for backend in transports() {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let backend = backend
            .tool("never", Behaviour::Progress { every_ms: 20, times: 100_000 })
            .tool("count", Behaviour::Cancellations);
        let host = TestHost::builder().backend_with("b", backend, json!({ "maxProcesses": 1 })).start().await;
        let params = json!({ "name": "never", "arguments": {}, "_meta": { "progressToken": 1 } });
        let legacy = host.connect().await;
        let mut pending = legacy.start("tools/call", params.clone()).await;
        pending.notification().await;
        legacy.notify("notifications/cancelled", json!({ "requestId": pending.id, "reason": "no more" })).await;
        assert_eq!(legacy.call("count", json!({ "atLeast": 1 })).await.text(), "1", "{what}");

        // In the modern era closing the stream cancels.
        let modern = host.connect_modern();
        let mut pending = modern.start("tools/call", params).await;
        pending.notification().await;
        drop(pending);
        assert_eq!(modern.call("count", json!({ "atLeast": 2 })).await.text(), "2", "{what}");
    }
}

#[tokio::test]
async fn calls_of_one_client_run_side_by_side() {
    for backend in transports() {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let host = TestHost::builder().backend("b", backend.tool("meet", Behaviour::Meet { calls: 4 })).start().await;
        let client = host.connect().await;
        for reply in join_all((0..4).map(|_| client.call("meet", json!({})))).await {
            assert_eq!(reply.text(), "met", "{what}");
        }
    }
}

#[tokio::test]
async fn a_backend_that_does_not_answer_is_named_with_a_kind() {
    let check = async |backend: FakeBackend| {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let backend =
            backend.tool("never", Behaviour::Never).tool("wrong_id", Behaviour::WrongId).tool("echo", Behaviour::Echo);
        let host = TestHost::builder().backend_with("lame", backend, json!({ "requestTimeout": "3s" })).start().await;
        let client = host.connect().await;
        let tools = ["never", "wrong_id"];
        for (tool, reply) in tools.iter().zip(join_all(tools.map(|tool| client.call(tool, json!({})))).await) {
            let kind = reply.error_kind();
            assert!(kind == "timeout" || (*tool == "wrong_id" && kind == "protocol"), "{what}: {}", reply.raw);
            assert_eq!(reply.error()["data"]["backend"], "lame", "{what}");
        }
        assert_eq!(client.call("echo", json!({})).await.answered_by(), "lame", "{what}");
    };
    join_all(transports().map(check)).await;
}

#[tokio::test]
async fn a_reply_beyond_the_limit_is_refused_and_the_backend_lives_on() {
    for backend in transports() {
        let what = format!("{:?} {:?}", backend.spec.era, backend.spec.transport);
        let backend = backend.tool("big", Behaviour::Big { bytes: 3 << 20 }).tool("echo", Behaviour::Echo);
        let host = TestHost::builder().backend("b", backend).yaml("server: { replyLimit: 1MiB }").start().await;
        let client = host.connect().await;
        let reply = client.call("big", json!({})).await;
        if what.ends_with("Sse") {
            // All replies share one stream, and an event that is never read to its end names no call: the session ends.
            assert_eq!(reply.error_kind(), "connectionLost");
            eventually("a new session", PATIENCE, || async {
                client.call("echo", json!({})).await.message.get("result").is_some()
            })
            .await;
            continue;
        }
        assert_eq!(reply.error_kind(), "replyTooLarge", "{what}");
        assert_eq!(client.call("echo", json!({})).await.answered_by(), "b", "{what}");
    }
}

#[tokio::test]
async fn a_large_reply_below_the_limit_arrives() {
    for backend in transports() {
        let backend = backend.tool("big", Behaviour::Big { bytes: 9 << 20 });
        let host = TestHost::builder().backend("b", backend).start().await;
        assert_eq!(host.connect().await.call("big", json!({})).await.text().len(), 9 << 20);
    }
}

#[tokio::test]
async fn what_is_not_there_is_an_error_of_its_kind() {
    let host = TestHost::builder().backend("b", FakeBackend::echo(["echo"]).resource("fake://one")).start().await;
    let (legacy, modern) = (host.connect().await, host.connect_modern());
    let code = async |client: &vmcp_tests::TestClient, method: &str, params| {
        client.request(method, params).await.error()["code"].clone()
    };
    assert_eq!(code(&legacy, "tools/call", json!({ "name": "nope", "arguments": {} })).await, -32602);
    assert_eq!(code(&modern, "tools/call", json!({ "name": "nope", "arguments": {} })).await, -32602);
    assert_eq!(code(&legacy, "prompts/get", json!({ "name": "nope" })).await, -32602);
    assert_eq!(code(&legacy, "resources/read", json!({ "uri": "fake://nope" })).await, -32002);
    assert_eq!(code(&modern, "resources/read", json!({ "uri": "fake://nope" })).await, -32602);
    assert_eq!(code(&legacy, "no/such", json!({})).await, -32601);
    let unknown = modern.request("no/such", json!({})).await;
    assert_eq!((unknown.status, &unknown.error()["code"]), (404, &json!(-32601)));
}

#[tokio::test]
async fn static_headers_reach_the_backend_and_the_clients_own_do_not() {
    let show = || FakeBackend::new().tool("show", Behaviour::Handshake).modern().http();
    let host = TestHost::builder()
        .backend_with("a", show(), json!({ "headers": { "X-Static": "one", "X-Secret": { "fromEnv": "TEST_SECRET" } } }))
        .backend("b", show())
        .env("TEST_SECRET", "from the environment")
        .yaml("outgoingAuth: { source: inline, backends: { b: { type: header_injection, headerInjection: { headerName: X-Injected, headerValue: two } } } }")
        .yaml("aggregation: { conflictResolution: prefix }")
        .start()
        .await;
    let client = host.connect_modern();
    let headers = async |tool: &str| -> serde_json::Value {
        let meta: serde_json::Value = serde_json::from_str(client.call(tool, json!({})).await.text()).unwrap();
        meta["example.com/headers"].clone()
    };
    let (a, b) = (headers("a_show").await, headers("b_show").await);
    assert_eq!((&a["x-static"], &a["x-secret"]), (&json!("one"), &json!("from the environment")), "{a}");
    assert_eq!(b["x-injected"], "two", "{b}");
    assert!(b.get("x-static").is_none() && a.get("x-injected").is_none());
    assert_eq!(
        (&a["mcp-method"], &a["mcp-name"]),
        (&json!("tools/call"), &json!("show")),
        "the backend's own name: {a}"
    );
    assert_eq!(a["mcp-protocol-version"], "2026-07-28");
    assert!(!host.stderr().contains("from the environment"), "secrets are not logged");
}
