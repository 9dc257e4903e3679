//! HTTP+SSE, the HTTP form of revision 2024-11-05.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, FixtureBackend, Mcp, TestHost, eventually, process::PATIENCE};

use super::wire::{Answer, JSON, call, initialize, send};

/// A client with its stream, and where it posts.
struct OldClient {
    stream: Answer,
    messages: String,
}

impl OldClient {
    async fn open(host: &TestHost, revision: &str, capabilities: &Value) -> Self {
        let mut stream = send("GET", &host.at("/sse"), &[("accept", "text/event-stream")], "").await;
        assert_eq!((stream.status, stream.is_stream()), (200, true));
        let endpoint = stream.event().await;
        assert_eq!(endpoint.name.as_deref(), Some("endpoint"));
        assert!(endpoint.data.starts_with("/messages?sessionId="), "{endpoint:?}");
        let mut client = Self { stream, messages: host.at(&endpoint.data) };
        client.post(&initialize(revision, capabilities)).await;
        assert_eq!(client.stream.message().await["result"]["protocolVersion"], revision);
        client
    }

    async fn post(&mut self, message: &Value) {
        assert_eq!(send("POST", &self.messages, &JSON, message.to_string()).await.status, 202, "{message}");
    }
}

#[tokio::test]
async fn every_revision_with_a_handshake_is_served_at_sse() {
    let backend = FakeBackend::echo(["echo"]).tool("steps", Behaviour::Progress { every_ms: 10, times: 2 });
    let host = TestHost::builder().backend("b", backend).start().await;
    for revision in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut client = OldClient::open(&host, revision, &json!({})).await;
        client.post(&call(1, "steps", json!({}))).await;
        for step in 1..=2 {
            assert_eq!(client.stream.message().await["params"]["progress"], step, "{revision}");
        }
        let reply = client.stream.message().await;
        assert_eq!(
            (&reply["id"], &reply["result"]["content"][0]["text"]),
            (&json!(1), &json!("2 steps")),
            "{revision}"
        );
    }
}

#[tokio::test]
async fn questions_are_asked_and_answered_at_sse() {
    let (entry, _backend) = FixtureBackend::legacy().entry("b").await;
    let host = TestHost::builder().entry(entry).start().await;
    let mut client = OldClient::open(&host, "2025-11-25", &json!({ "elicitation": {} })).await;
    client.post(&call(1, "ask", json!({ "message": "who?" }))).await;
    let question = client.stream.wait_for("elicitation/create").await;
    let answer = json!({ "action": "accept", "content": { "answer": "me" } });
    client.post(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": answer })).await;
    let reply = client.stream.wait_for("").await;
    assert!(reply["result"]["content"][0]["text"].as_str().unwrap().contains("me"), "{reply}");
}

#[tokio::test]
async fn what_does_not_fit_is_refused() {
    let host = TestHost::builder()
        .backend("b", FakeBackend::echo(["echo"]))
        .yaml("server: { bodyLimit: 64KiB }")
        .start()
        .await;
    let mut client = OldClient::open(&host, "2024-11-05", &json!({})).await;
    let messages = client.messages.clone();
    let check = async |method: &str, url: &str, headers: &[(&str, &str)], body: String, status: u16| {
        let answer = send(method, url, headers, body).await;
        assert_eq!(answer.status, status, "{method} {url} {headers:?}");
    };
    let sse = host.at("/sse");
    let accept = ("accept", "text/event-stream");
    check("POST", &sse, &JSON, "{}".into(), 405).await;
    check("GET", &sse, &[], String::new(), 406).await;
    check("GET", &sse, &[accept, ("host", "attacker.example")], String::new(), 403).await;
    check("GET", &sse, &[accept, ("origin", "https://attacker.example")], String::new(), 403).await;
    check("GET", &messages, &[], String::new(), 405).await;
    check("POST", &host.at("/messages?sessionId=made-up"), &JSON, "{}".into(), 404).await;
    check("POST", &host.at("/messages"), &JSON, "{}".into(), 404).await;
    check("POST", &messages, &[("content-type", "text/plain")], "{}".into(), 415).await;
    check("POST", &messages, &JSON, " ".repeat(100 << 10), 413).await;
    client.post(&json!({ "jsonrpc": "2.0", "id": 1 })).await;
    assert_eq!(client.stream.message().await["error"]["code"], -32600);
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28" });
    client.post(&json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": { "_meta": meta } })).await;
    assert_eq!(client.stream.message().await["error"]["code"], -32600);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_requests_and_its_connection() {
    let backend = FakeBackend::new().tool("never", Behaviour::Never).tool("cancellations", Behaviour::Cancellations);
    let host = TestHost::builder().backend("b", backend).start().await;
    let mut client = OldClient::open(&host, "2024-11-05", &json!({})).await;
    client.post(&call(1, "never", json!({}))).await;
    // Until the call is at the backend, there is nothing to cancel.
    client.post(&call(2, "cancellations", json!({ "atLeast": 0 }))).await;
    client.stream.wait_for("").await;
    let OldClient { stream, messages } = client;
    drop(stream);
    let watcher = host.connect().await;
    assert_eq!(watcher.call("cancellations", json!({ "atLeast": 1 })).await.text(), "1");
    let ping = json!({ "jsonrpc": "2.0", "id": 3, "method": "ping" });
    eventually("the connection is forgotten", PATIENCE, || async {
        send("POST", &messages, &JSON, ping.to_string()).await.status == 404
    })
    .await;
}
