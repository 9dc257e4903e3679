//! Clients that leave in the middle of a request: what the backend hears of it, and how soon.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::{sleep, timeout};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, TestClient, TestHost, process::PATIENCE};

use super::wire::Wire;

/// What the backend must have heard of within.
const SOON: Duration = Duration::from_millis(100);

async fn host() -> TestHost {
    let backend = FakeBackend::echo(["echo"])
        .tool("steps", Behaviour::Progress { every_ms: 20, times: 1000 })
        .tool("never", Behaviour::Never)
        .tool("cancellations", Behaviour::Cancellations);
    TestHost::builder().backend("b", backend).start().await
}

/// Waits until the backend has seen `count` cancellations; how long that took.
async fn until_cancelled(watcher: &TestClient, count: u64) -> Duration {
    let begun = Instant::now();
    let seen = timeout(PATIENCE, watcher.call("cancellations", json!({ "atLeast": count }))).await;
    assert_eq!(seen.expect("the backend hears of it").text(), count.to_string());
    begun.elapsed()
}

/// The best of a few times: other tests run beside.
fn assert_soon(times: &[Duration]) {
    assert!(times.iter().any(|time| *time < SOON), "{times:?}");
}

#[tokio::test]
async fn a_modern_client_that_leaves_its_stream_cancels_at_once() {
    let host = host().await;
    let (client, watcher) = (host.connect_modern(), host.connect().await);
    let mut times = Vec::new();
    for count in 1..=3 {
        let params = json!({ "name": "steps", "arguments": {}, "_meta": { "progressToken": 1 } });
        let mut call = client.start("tools/call", params).await;
        call.notification().await;
        drop(call);
        times.push(until_cancelled(&watcher, count).await);
    }
    assert_soon(&times);
}

#[tokio::test]
async fn a_client_that_leaves_before_there_is_a_stream_cancels_at_once() {
    let host = host().await;
    let (legacy, modern, watcher) = (host.connect().await, host.connect_modern(), host.connect().await);
    let mut count = 0;
    for client in [legacy, modern] {
        let mut times = Vec::new();
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(100), client.call("never", json!({}))).await.is_err());
            count += 1;
            times.push(until_cancelled(&watcher, count).await);
        }
        assert_soon(&times);
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
    sleep(SOON * 3).await;
    assert_eq!(watcher.call("cancellations", json!({ "atLeast": 0 })).await.text(), "0");
    let mut again = client.get(Some(priming.id())).await;
    assert_eq!(again.wait_for("notifications/progress").await["params"]["progress"], 1);
    // Whoever means to cancel says so.
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    assert_eq!(client.post(&cancel).await.status, 202);
    until_cancelled(&watcher, 1).await;
}
