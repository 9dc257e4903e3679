//! Clients that leave in the middle of a request: what the backend hears of it.

use std::time::Duration;

use serde_json::json;
use tokio::time::{sleep, timeout};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, TestClient, TestHost, process::PATIENCE};

use super::wire::Wire;

/// Before one of its calls: none ends by itself, and none times out for ten minutes.
async fn host() -> TestHost {
    let backend = FakeBackend::echo(["echo"])
        .tool("steps", Behaviour::Progress { every_ms: 20, times: 100_000 })
        .tool("never", Behaviour::Never)
        .tool("calls", Behaviour::Calls)
        .tool("cancellations", Behaviour::Cancellations);
    TestHost::builder().backend_with("b", backend, json!({ "requestTimeout": "10m" })).start().await
}

/// Waits until the backend has seen `count` cancellations.
async fn until_cancelled(watcher: &TestClient, count: u64) {
    let seen = timeout(PATIENCE, watcher.call("cancellations", json!({ "atLeast": count }))).await;
    assert_eq!(seen.expect("the backend hears of it").text(), count.to_string());
}

#[tokio::test]
async fn a_modern_client_that_leaves_its_stream_cancels_at_once() {
    let host = host().await;
    let (client, watcher) = (host.connect_modern(), host.connect().await);
    for count in 1..=3 {
        let params = json!({ "name": "steps", "arguments": {}, "_meta": { "progressToken": 1 } });
        let mut call = client.start("tools/call", params).await;
        call.notification().await;
        drop(call);
        until_cancelled(&watcher, count).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_there_is_a_stream_cancels_at_once() {
    let host = host().await;
    let (legacy, modern, watcher) = (host.connect().await, host.connect_modern(), host.connect().await);
    let mut count = 0;
    for client in [legacy, modern] {
        for _ in 0..3 {
            count += 1;
            tokio::select! {
                reply = client.call("never", json!({})) => panic!("{}", reply.raw),
                _ = watcher.call("calls", json!({ "tool": "never", "atLeast": count })) => {}
            }
            until_cancelled(&watcher, count).await;
        }
    }
}

#[tokio::test]
async fn a_legacy_client_that_leaves_its_stream_may_come_back() {
    let host = host().await;
    let client = Wire::open(&host.url, "2025-11-25", &json!({})).await;
    let watcher = host.connect().await;
    let mut stream = client.call(1, "steps", json!({})).await;
    let priming = stream.event().await;
    drop(stream);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(watcher.call("cancellations", json!({ "atLeast": 0 })).await.text(), "0");
    let mut again = client.get(Some(priming.id())).await;
    assert_eq!(again.wait_for("notifications/progress").await["params"]["progress"], 1);
    // Whoever means to cancel says so.
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(client.post(&cancel).await.status, 202);
    until_cancelled(&watcher, 1).await;
}
