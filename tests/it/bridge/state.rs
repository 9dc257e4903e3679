//! `requestState`: what a parked call hands to its client, and which of them are refused.

use serde_json::{Value, json};
use vmcp_tests::{Era, FixtureBackend, Mcp, TestClient, TestHost, process};

use super::{able, accept, call_and_be_asked, client_of, host_of, said};

async fn assert_refused(host: &TestHost, client: &TestClient, params: Value, why: &str) {
    let reply = client.request("tools/call", params).await;
    assert_eq!(reply.error()["code"], -32602, "{}", reply.message);
    let message = reply.error()["message"].as_str().unwrap();
    assert!(message.contains(why), "{message}");
    host.wait_for_log(why).await;
}

#[tokio::test]
async fn a_state_is_good_for_one_round_of_one_call() {
    let (host, _backend) = host_of(FixtureBackend::legacy()).await;
    let client = client_of(&host, Era::Modern, able()).await;
    let asked = call_and_be_asked(&client, "ask", json!({ "message": "who?" }), 1).await;
    let retry = asked.retry(&accept("me"));

    let mut forged = retry.clone();
    let text = forged["requestState"].as_str().unwrap();
    let middle = text.len() / 2;
    let other = if &text[middle..=middle] == "A" { "B" } else { "A" };
    forged["requestState"] = json!(format!("{}{other}{}", &text[..middle], &text[middle + 1..]));
    assert_refused(&host, &client, forged, "not made by this host").await;

    let mut foreign = retry.clone();
    foreign["name"] = json!("ask_url");
    assert_refused(&host, &client, foreign, "belongs to another call").await;

    let reply = client.request("tools/call", retry.clone()).await;
    assert_eq!(said(&reply)["answer"]["content"]["answer"], "me", "the refused ones did not consume the call");
    assert_refused(&host, &client, retry, "has ended").await;
}

#[tokio::test]
async fn an_answer_that_is_missing_or_wrong_is_asked_for_again() {
    for fixture in [FixtureBackend::legacy(), FixtureBackend::legacy().http()] {
        let (host, _backend) = host_of(fixture).await;
        let client = client_of(&host, Era::Modern, able()).await;
        let mut asked = call_and_be_asked(&client, "ask", json!({ "message": "who?" }), 1).await;
        let first = asked.state.clone();

        let mut missing = asked.retry(&Value::Null);
        missing.as_object_mut().unwrap().remove("inputResponses");
        let reply = client.request("tools/call", missing).await;
        asked.take_input_required(&reply);
        assert_ne!(asked.state, first, "each round has a state of its own");
        let reply = client.request("tools/call", asked.retry(&json!({ "action": "perhaps" }))).await;
        asked.take_input_required(&reply);
        assert_eq!(asked.message(), "who?");

        let mut stale = asked.retry(&accept("me"));
        stale["requestState"] = first;
        assert_refused(&host, &client, stale, "used before").await;
        assert_eq!(said(&asked.answer(&accept("me")).await)["answer"]["content"]["answer"], "me");
    }
}

#[tokio::test]
async fn several_questions_are_asked_together() {
    let (host, _backend) = host_of(FixtureBackend::legacy().http()).await;
    let client = client_of(&host, Era::Modern, able()).await;
    let reply = client.call("test_input_required_result_multiple_inputs", json!({})).await;
    let requests = reply.result()["inputRequests"].as_object().unwrap();
    assert!(requests.len() >= 2, "{}", reply.message);
}

#[tokio::test]
async fn a_client_that_does_not_come_back_gives_up_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (entry, _backend) = FixtureBackend::legacy().log(&log).entry("b").await;
    let host = TestHost::builder().entry(entry).yaml("server: { inputTimeout: 1s }").start().await;
    let client = client_of(&host, Era::Modern, able()).await;
    let asked = call_and_be_asked(&client, "ask", json!({}), 1).await;
    process::eventually("the backend hears of it", process::PATIENCE, async || {
        std::fs::read_to_string(&log).unwrap().contains("notifications/cancelled")
    })
    .await;
    let reply = client.request("tools/call", asked.retry(&accept("late"))).await;
    assert_eq!(reply.error()["code"], -32602, "{}", reply.message);
}

#[tokio::test]
async fn a_state_of_before_a_restart_is_refused_and_the_call_can_be_made_anew() {
    let (entry, _backend) = FixtureBackend::legacy().entry("b").await;
    let host = TestHost::builder().entry(entry).start().await;
    let client = client_of(&host, Era::Modern, able()).await;
    let asked = call_and_be_asked(&client, "ask", json!({}), 1).await;
    let host = host.crash().await;
    assert_refused(&host, &client, asked.retry(&accept("me")), "has ended").await;
    let asked = call_and_be_asked(&client, "ask", json!({}), 1).await;
    assert_eq!(said(&asked.answer(&accept("me")).await)["answer"]["action"], "accept");
}
