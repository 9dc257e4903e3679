//! Clients without a session: those that forgot its id, and those of the modern era, which never have one.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, TestHost};

use super::wire::{JSON, call, send};

async fn host() -> TestHost {
    let backend = FakeBackend::echo(["echo"])
        .tool("steps", Behaviour::Progress { every_ms: 10, times: 2 })
        .prompt("p")
        .resource("r://x");
    TestHost::builder().backend("b", backend).start().await
}

#[expect(clippy::needless_pass_by_value, reason = "params are written where the request is")]
fn request(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })
}

#[tokio::test]
async fn a_client_that_forgot_its_id_is_served_where_that_is_safe() {
    let host = host().await;
    let check = async |message: Value, headers: &[(&str, &str)], status: u16, code: Option<i64>| {
        let answer = send("POST", &host.url, &[&JSON[..], headers].concat(), message.to_string()).await;
        assert_eq!(answer.status, status, "{message}");
        let reply = answer.json().await;
        assert_eq!(reply["error"]["code"].as_i64(), code, "{message}: {reply}");
    };
    let legacy = [("mcp-protocol-version", "2025-11-25")];
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "ping"] {
        check(request(method, json!({})), &[], 200, None).await;
        check(request(method, json!({})), &legacy, 200, None).await;
    }
    check(request("tools/call", json!({ "name": "echo", "arguments": {} })), &[], 200, None).await;
    check(request("prompts/get", json!({ "name": "p" })), &legacy, 200, None).await;
    check(request("resources/read", json!({ "uri": "r://x" })), &legacy, 200, None).await;
    check(request("resources/subscribe", json!({ "uri": "r://x" })), &legacy, 400, Some(-32600)).await;
    check(request("logging/setLevel", json!({ "level": "info" })), &[], 400, Some(-32600)).await;
    check(request("tools/list", json!({})), &[("mcp-protocol-version", "2026-07-28")], 400, Some(-32602)).await;
    check(request("tools/list", json!({})), &[("mcp-protocol-version", "1999-01-01")], 400, Some(-32022)).await;
}

#[tokio::test]
async fn the_stream_of_such_a_client_cannot_be_resumed() {
    let host = host().await;
    let mut stream = send("POST", &host.url, &JSON, call(1, "steps", json!({})).to_string()).await;
    let mut count = 0;
    while let Some(event) = stream.try_event().await {
        assert_eq!(event.id, None, "{event:?}");
        count += 1;
    }
    assert_eq!(count, 3);
}

#[tokio::test]
async fn without_a_session_there_is_nothing_to_listen_to_to_end_or_to_answer() {
    let host = host().await;
    let check = async |method: &str, headers: &[(&str, &str)], body: &str, status: u16, allow: Option<&str>| {
        let answer = send(method, &host.url, headers, body.to_owned()).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {headers:?} {body}");
    };
    let modern = ("mcp-protocol-version", "2026-07-28");
    let accept = ("accept", "text/event-stream");
    check("GET", &[accept], "", 405, Some("POST")).await;
    check("GET", &[accept, modern], "", 405, Some("POST")).await;
    check("GET", &[accept, modern, ("mcp-session-id", "old")], "", 405, Some("POST")).await;
    check("GET", &[accept, ("mcp-session-id", "old")], "", 404, None).await;
    check("DELETE", &[modern], "", 405, Some("POST")).await;
    check("DELETE", &[], "", 400, None).await;
    check("PUT", &[], "", 405, Some("GET, POST, DELETE")).await;
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    check("POST", &[JSON[0], JSON[1], modern], response, 400, None).await;
    check("POST", &[JSON[0], JSON[1]], response, 400, None).await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    check("POST", &[JSON[0], JSON[1], modern], notification, 202, None).await;
}

#[tokio::test]
async fn a_version_that_header_and_body_disagree_about_is_a_mismatch_before_it_is_unknown() {
    let host = host().await;
    let mut params = json!({});
    vmcp_tests::era::add_modern_meta(&mut params, &json!({}));
    params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("1999-01-01");
    let check = async |version: &str, code: i64| {
        let headers = [&JSON[..], &[("mcp-protocol-version", version), ("mcp-method", "tools/list")]].concat();
        let answer = send("POST", &host.url, &headers, request("tools/list", params.clone()).to_string()).await;
        assert_eq!(answer.status, 400, "{version}");
        assert_eq!(answer.json().await["error"]["code"], code, "{version}");
    };
    check("2026-07-28", -32020).await;
    check("1999-01-01", -32022).await;
}
