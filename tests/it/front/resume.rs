//! Streams that break and go on where they were.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, TestHost};

use super::wire::{Answer, Wire};

const REVISION: &str = "2025-11-25";

async fn host() -> TestHost {
    let backend = FakeBackend::echo(["echo"])
        .tool("steps", Behaviour::Progress { every_ms: 40, times: 10 })
        .tool("slow_steps", Behaviour::Progress { every_ms: 400, times: 10 })
        .tool("quick", Behaviour::Progress { every_ms: 5, times: 2 })
        .tool("grow", Behaviour::AddTool);
    TestHost::builder().backend("b", backend).start().await
}

/// Steps of progress up to the end of the stream, and whether the reply came; no message may come twice.
async fn rest(stream: &mut Answer) -> (Vec<u64>, bool) {
    let mut steps = Vec::new();
    let mut is_answered = false;
    while let Some(event) = stream.try_event().await {
        if event.data.is_empty() {
            continue;
        }
        let message = event.message();
        match message["params"]["progress"].as_u64() {
            Some(step) => steps.push(step),
            None => is_answered = message.get("result").is_some(),
        }
    }
    (steps, is_answered)
}

#[tokio::test]
async fn a_call_goes_on_while_its_connection_is_broken() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "steps", json!({})).await;
    let priming = stream.event().await;
    assert!(priming.data.is_empty() && priming.retry.is_some() && priming.id.is_some(), "{priming:?}");
    assert_eq!(stream.message().await["params"]["progress"], 1);
    let seen = stream.event().await;
    assert_eq!(seen.message()["params"]["progress"], 2);
    drop(stream);
    sleep(Duration::from_millis(100)).await;
    let mut again = client.get(Some(seen.id())).await;
    assert_eq!((again.status, again.is_stream()), (200, true));
    assert_eq!(rest(&mut again).await, ((3..=10).collect(), true));
}

#[tokio::test]
async fn a_finished_stream_is_still_there_for_who_missed_its_end() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "quick", json!({})).await;
    let priming = stream.event().await;
    assert_eq!(rest(&mut stream).await, (vec![1, 2], true));
    for _ in 0..2 {
        assert_eq!(rest(&mut client.get(Some(priming.id())).await).await, (vec![1, 2], true));
    }
}

#[tokio::test]
async fn who_comes_back_takes_the_stream_over() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "slow_steps", json!({})).await;
    let priming = stream.event().await;
    let mut again = client.get(Some(priming.id())).await;
    assert_eq!(rest(&mut again).await, ((1..=10).collect(), true));
    let (_, is_answered) = rest(&mut stream).await;
    assert!(!is_answered, "the reply goes to one connection");
}

#[tokio::test]
async fn only_the_newest_revision_begins_with_an_event_without_data() {
    let host = host().await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18"] {
        let client = Wire::open(&host.url, revision, &json!({})).await;
        let mut stream = client.call(1, "quick", json!({})).await;
        let first = stream.event().await;
        assert_eq!(first.message()["params"]["progress"], 1, "{revision}: {first:?}");
        assert!(first.id.is_some(), "{revision}: {first:?}");
        drop(stream);
        assert_eq!(rest(&mut client.get(Some(first.id())).await).await, (vec![2], true), "{revision}");
    }
}

#[tokio::test]
async fn events_of_another_session_are_not_found() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let other = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "quick", json!({})).await;
    let priming = stream.event().await;
    for id in [priming.id(), "made-up", "r0000000000000000-1"] {
        let answer = other.get(Some(id)).await;
        assert_eq!(answer.status, 400, "{id}");
        assert!(answer.text().await.contains("Last-Event-ID"));
    }
    assert_eq!(rest(&mut stream).await, (vec![1, 2], true));
}

#[tokio::test]
async fn a_get_stream_keeps_what_came_while_it_was_broken() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.get(None).await;
    let priming = stream.event().await;
    drop(stream);
    assert_eq!(client.call(1, "grow", json!({})).await.status, 200);
    host.wait_for_tool("added_0").await;
    let mut again = client.get(Some(priming.id())).await;
    let changed = again.event().await;
    assert_eq!(changed.message()["method"], "notifications/tools/list_changed");
    assert_eq!(client.call(2, "grow", json!({})).await.status, 200);
    assert_eq!(again.wait_for("notifications/tools/list_changed").await.get("id"), None);
    // What was seen does not come again.
    let mut third = client.get(Some(changed.id())).await;
    third.wait_for("notifications/tools/list_changed").await;
    assert!(timeout(Duration::from_millis(300), third.event()).await.is_err());
}

#[tokio::test]
async fn who_comes_back_too_late_for_its_get_stream_hears_that_all_lists_may_have_changed() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.get(Some("s0000000000000000-7")).await;
    let mut changed = Vec::new();
    for _ in 0..3 {
        changed.push(stream.message().await["method"].as_str().unwrap().to_owned());
    }
    let expected = ["tools", "prompts", "resources"].map(|list| format!("notifications/{list}/list_changed"));
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn modern_streams_have_no_ids_and_cannot_be_resumed() {
    let host = host().await;
    let client = host.connect_modern();
    let params = json!({ "name": "quick", "arguments": {}, "_meta": { "progressToken": 1 } });
    let call = client.start("tools/call", params).await;
    assert!(call.response.is_stream);
    let text = call.response.text().await;
    assert!(!text.contains("id: "), "{text}");
    assert_eq!(client.call("echo", json!({})).await.answered_by(), "b");
    let headers = [("accept", "text/event-stream"), ("mcp-protocol-version", "2026-07-28"), ("last-event-id", "x")];
    let answer = super::wire::send("GET", &host.url, &headers, "").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

#[tokio::test]
async fn an_ended_session_has_no_streams() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "slow_steps", json!({})).await;
    let priming = stream.event().await;
    let ended = super::wire::send("DELETE", &host.url, &[("mcp-session-id", &client.session)], "").await;
    assert_eq!(ended.status, 200);
    assert_eq!(client.get(Some(priming.id())).await.status, 404);
    let reply: Value = stream.wait_for("").await;
    assert!(reply.get("error").is_some(), "{reply}");
}

#[tokio::test]
async fn a_host_that_stops_does_not_wait_for_those_who_left_their_streams() {
    let backend = FakeBackend::new().tool("steps", Behaviour::Progress { every_ms: 20, times: 10_000 });
    let mut host = TestHost::builder().backend("b", backend).start().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let mut stream = client.call(1, "steps", json!({})).await;
    stream.wait_for("notifications/progress").await;
    drop(stream);
    sleep(Duration::from_millis(100)).await;
    // The call would go on for minutes.
    let status = host.terminate().await;
    assert!(status.success(), "{status}");
}
