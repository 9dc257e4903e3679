//! JSON-RPC batches, which revisions before 2025-06-18 have.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, TestHost};

use super::wire::{JSON, Lines, Wire, call, initialize, send};

const REVISION: &str = "2025-03-26";

async fn host() -> TestHost {
    let backend = FakeBackend::echo(["echo"])
        .tool("steps", Behaviour::Progress { every_ms: 10, times: 2 })
        .tool("meet", Behaviour::Meet { calls: 10 });
    TestHost::builder().backend("b", backend).start().await
}

fn ids(replies: &[Value]) -> Vec<Value> {
    let mut ids: Vec<_> = replies.iter().map(|reply| reply["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    ids
}

#[tokio::test]
async fn a_batch_is_answered_with_one_array() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let batch = json!([
        call(1, "echo", json!({ "x": 1 })),
        { "jsonrpc": "2.0", "method": "notifications/progress", "params": {} },
        { "jsonrpc": "2.0", "id": 2, "method": "ping" },
        { "jsonrpc": "2.0", "id": 3, "method": "no/such/method" },
        { "jsonrpc": "2.0", "id": 4, "result": {} },
        initialize(REVISION, &json!({})),
        7,
    ]);
    let answer = client.post(&batch).await;
    assert_eq!((answer.status, answer.is_stream()), (200, false));
    let replies = answer.json().await;
    let replies = replies.as_array().unwrap();
    assert_eq!(ids(replies), [json!(0), json!(1), json!(2), json!(3), Value::Null]);
    let code = |id: Value| replies.iter().find(|reply| reply["id"] == id).unwrap()["error"]["code"].clone();
    assert_eq!([code(json!(0)), code(json!(3)), code(Value::Null)], [-32600, -32601, -32600]);
}

#[tokio::test]
async fn requests_of_a_batch_run_at_the_same_time() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let batch: Value = (1..=10).map(|id| call(id, "meet", json!({}))).collect();
    let replies = client.post(&batch).await.json().await;
    let texts: Vec<_> =
        replies.as_array().unwrap().iter().map(|reply| &reply["result"]["content"][0]["text"]).collect();
    assert_eq!(texts, ["met"; 10]);
}

#[tokio::test]
async fn a_batch_becomes_a_stream_when_a_backend_speaks_before_its_reply() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let batch = json!([call(1, "steps", json!({})), call(2, "echo", json!({}))]);
    let mut stream = client.post(&batch).await;
    assert!(stream.is_stream());
    let mut replies = Vec::new();
    let mut progress = 0;
    while let Some(event) = stream.try_event().await {
        assert!(event.id.is_some(), "{event:?}");
        let message = event.message();
        match message["method"].as_str() {
            Some(method) => {
                assert_eq!(method, "notifications/progress");
                progress += 1;
            }
            None => replies.push(message),
        }
    }
    assert_eq!((ids(&replies), progress), (vec![json!(1), json!(2)], 2));
}

#[tokio::test]
async fn what_is_no_legal_batch_is_refused() {
    let host = host().await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let newer = Wire::open(&host.url, "2025-06-18", &json!({})).await;
    let check = async |client: &Wire, batch: Value, status: u16, code: Option<i64>| {
        let answer = client.post(&batch).await;
        assert_eq!(answer.status, status, "{batch}");
        if let Some(code) = code {
            assert_eq!(answer.json().await["error"]["code"], code, "{batch}");
        }
    };
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    check(&client, json!([]), 400, Some(-32600)).await;
    check(&client, (0..=100).map(|_| ping.clone()).collect(), 400, Some(-32600)).await;
    check(&client, json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }]), 202, None).await;
    check(&newer, json!([ping.clone()]), 400, Some(-32600)).await;
    let without_session = send("POST", &host.url, &JSON, json!([ping]).to_string()).await;
    assert_eq!(without_session.status, 400);
    assert_eq!(without_session.json().await["error"]["code"], -32600);
}

#[tokio::test]
async fn batches_are_answered_over_stdio_too() {
    let written = TestHost::builder().backend("b", FakeBackend::echo(["echo"])).write().await;
    let batch = json!([call(1, "echo", json!({})), { "jsonrpc": "2.0", "id": 2, "method": "ping" }]);
    let mut client = Lines::open(&written, REVISION, &json!({})).await;
    client.write(&batch).await;
    assert_eq!(ids(client.read().await.as_array().unwrap()), [json!(1), json!(2)]);
    let mut newer = Lines::open(&written, "2025-11-25", &json!({})).await;
    newer.write(&batch).await;
    assert_eq!(newer.read().await["error"]["code"], -32600);
}
