//! Elicitation from legacy backends to legacy clients: each client gets its own question, and nobody else's answer counts.

use serde_json::{Value, json};
use vmcp_tests::{FixtureBackend, TestHost, process::ServerProcess};

use super::wire::{Answer, Lines, Wire, call};

const REVISION: &str = "2025-11-25";

async fn host(fixture: FixtureBackend) -> (TestHost, Option<ServerProcess>) {
    let (entry, process) = fixture.entry("b").await;
    (TestHost::builder().entry(entry).start().await, process)
}

fn able() -> Value {
    json!({ "elicitation": {} })
}

fn accept(question: &Value, answer: &str) -> Value {
    let result = json!({ "action": "accept", "content": { "answer": answer } });
    json!({ "jsonrpc": "2.0", "id": question["id"], "result": result })
}

/// Begins a call of a tool that asks `message`, and waits for the question.
async fn asked(client: &Wire, message: &str) -> (Answer, Value) {
    let mut stream = client.call(7, "ask", json!({ "message": message })).await;
    assert!(stream.is_stream(), "{}", stream.status);
    let question = stream.wait_for("elicitation/create").await;
    assert_eq!(question["params"]["message"], message, "{question}");
    (stream, question)
}

async fn assert_answered(stream: &mut Answer, message: &str, answer: &str) {
    let reply = stream.wait_for("").await;
    assert_eq!(reply["id"], 7, "{reply}");
    let text = reply["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{reply}"));
    let said: Value = serde_json::from_str(text).unwrap();
    assert_eq!(said["asked"], message);
    assert_eq!(said["answer"]["content"]["answer"], answer, "{said}");
}

#[tokio::test]
async fn two_clients_at_once_each_get_their_own_question() {
    for fixture in [FixtureBackend::legacy(), FixtureBackend::legacy().http()] {
        let (host, _backend) = host(fixture).await;
        let one = Wire::open(&host.url, REVISION, &able()).await;
        let two = Wire::open(&host.url, REVISION, &able()).await;
        let (mut first, question_one) = asked(&one, "who is one?").await;
        let (mut second, question_two) = asked(&two, "who is two?").await;
        assert_eq!(two.post(&accept(&question_two, "II")).await.status, 202);
        assert_eq!(one.post(&accept(&question_one, "I")).await.status, 202);
        assert_answered(&mut second, "who is two?", "II").await;
        assert_answered(&mut first, "who is one?", "I").await;
    }
}

#[tokio::test]
async fn an_answer_in_another_session_is_nobodys() {
    let (host, _backend) = host(FixtureBackend::legacy()).await;
    let one = Wire::open(&host.url, REVISION, &able()).await;
    let other = Wire::open(&host.url, REVISION, &able()).await;
    let (mut stream, question) = asked(&one, "who?").await;
    assert_eq!(other.post(&accept(&question, "an impostor")).await.status, 202);
    host.wait_for_log("was not asked").await;
    let stranger = Wire { session: "made-up".into(), ..other };
    assert_eq!(stranger.post(&accept(&question, "a stranger")).await.status, 404);
    assert_eq!(one.post(&accept(&question, "me")).await.status, 202);
    assert_answered(&mut stream, "who?", "me").await;
}

#[tokio::test]
async fn a_question_is_withdrawn_when_its_request_is_cancelled() {
    let (host, _backend) = host(FixtureBackend::legacy()).await;
    let client = Wire::open(&host.url, REVISION, &able()).await;
    let (mut stream, question) = asked(&client, "who?").await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 7 } });
    assert_eq!(client.post(&cancel).await.status, 202);
    let withdrawn = stream.wait_for("notifications/cancelled").await;
    assert_eq!(withdrawn["params"]["requestId"], question["id"]);
    assert!(stream.wait_for("").await.get("error").is_some());
}

#[tokio::test]
async fn a_client_that_cannot_answer_is_not_asked() {
    let (host, _backend) = host(FixtureBackend::legacy()).await;
    let client = Wire::open(&host.url, REVISION, &json!({})).await;
    let reply = client.call(7, "ask", json!({ "message": "who?" })).await;
    assert!(!reply.is_stream());
    let reply = reply.json().await;
    assert!(reply.get("error").is_some() || reply["result"]["isError"] == true, "{reply}");
}

#[tokio::test]
async fn questions_are_asked_and_answered_over_stdio() {
    let (entry, _backend) = FixtureBackend::legacy().entry("b").await;
    let written = TestHost::builder().entry(entry).write().await;
    let mut client = Lines::open(&written, REVISION, &able()).await;
    client.write(&call(7, "ask", json!({ "message": "who?" }))).await;
    let question = client.read().await;
    assert_eq!((&question["method"], &question["params"]["message"]), (&json!("elicitation/create"), &json!("who?")));
    client.write(&accept(&question, "me")).await;
    let reply = client.read().await;
    assert!(reply["result"]["content"][0]["text"].as_str().unwrap().contains(r#""me""#), "{reply}");
}
