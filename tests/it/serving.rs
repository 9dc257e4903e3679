//! The HTTP front: who may come in, how much they may bring, and what a browser sees.

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, FakeBackend, Mcp, TestClient, TestHost, era, eventually, http,
    process::{PATIENCE, free_port},
};

async fn host() -> TestHost {
    TestHost::builder().backend("b", FakeBackend::echo(["echo"])).start().await
}

const JSON: (&str, &str) = ("content-type", "application/json");
const ACCEPT: (&str, &str) = ("accept", "application/json, text/event-stream");

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused() {
    let host = host().await;
    let body =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": era::initialize_params(&json!({})) });
    let check = async |header: (&str, &str), status: u16| {
        let response = http::send("POST", &host.url, &[JSON, ACCEPT, header], body.to_string()).await.unwrap();
        assert_eq!(response.status, status, "{header:?}");
    };
    check(("host", "attacker.example"), 403).await;
    check(("origin", "https://attacker.example"), 403).await;
    check(("origin", "null"), 403).await;
    check(("host", "localhost:4483"), 200).await;
    check(("origin", "http://localhost:6274"), 200).await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_the_next_one_passes() {
    let host = TestHost::builder()
        .backend("b", FakeBackend::echo(["echo"]))
        .yaml("server: { bodyLimit: 64KiB }")
        .start()
        .await;
    let response = http::send("POST", &host.url, &[JSON, ACCEPT], vec![b' '; 100 << 10]).await.unwrap();
    assert_eq!(response.status, 413);
    assert!(response.text().await.contains("bodyLimit"));
    assert_eq!(host.connect().await.call("echo", json!({ "x": "y".repeat(50 << 10) })).await.answered_by(), "b");
}

#[tokio::test]
async fn a_browser_gets_a_page_that_says_how_to_connect() {
    let host = host().await;
    for path in ["/", "/mcp"] {
        let accept = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        let response = http::send("GET", &host.at(path), &[accept], "").await.unwrap();
        assert_eq!(response.status, 200, "{path}");
        assert!(response.header("content-type").unwrap().starts_with("text/html"), "{path}");
        let page = response.text().await;
        assert!(page.contains("/mcp") && page.contains("mcpServers"), "{path}: {page}");
    }
}

#[tokio::test]
async fn readiness_waits_for_the_first_catalog_and_health_does_not() {
    let builder = TestHost::builder();
    let gate = builder.dir().join("gate");
    let slow = FakeBackend::echo(["slow"]).with(|spec| spec.starts_with = Some(gate.clone()));
    let written = builder.backend("slow", slow).write().await;
    let mut host = written.launch(free_port());
    let status = async |path: &str| http::get(&host.at(path)).await.ok().map(|response| response.status);
    eventually("the port is open", PATIENCE, || async { status("/health").await == Some(200) }).await;
    assert_eq!(status("/readyz").await, Some(503));
    assert_eq!(status("/ping").await, Some(200));
    std::fs::write(&gate, "").unwrap();
    host.wait_until_ready().await;
    assert_eq!(host.connect().await.tool_names().await, ["slow"]);
}

#[tokio::test]
async fn status_names_every_backend() {
    let host = TestHost::builder()
        .backend("old", FakeBackend::echo(["a"]))
        .backend("new", FakeBackend::echo(["b"]).modern().http())
        .start()
        .await;
    let status = host.status().await;
    assert_eq!(status["healthy"], true, "{status}");
    assert!(status["version"].is_string() && status.get("group_ref").is_some(), "{status}");
    let facts = async |name: &str| {
        let backend = host.backend_status(name).await;
        ["health", "transport", "mcp_revision"].map(|key| backend[key].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(facts("old").await, ["healthy", "stdio", "2025-11-25"]);
    assert_eq!(facts("new").await, ["healthy", "streamable-http", "2026-07-28"]);
}

#[tokio::test]
async fn a_session_belongs_to_its_id() {
    let host = host().await;
    let mut client = host.connect().await;
    assert_eq!(client.request("ping", json!({})).await.result(), &json!({}));
    assert_eq!(client.request("logging/setLevel", json!({ "level": "debug" })).await.result(), &json!({}));
    let session = client.session.replace("made-up".to_owned()).unwrap();
    assert_eq!(client.request("tools/list", json!({})).await.status, 404);
    client.session = Some(session.clone());
    let ended = http::send("DELETE", &host.url, &[("mcp-session-id", &session)], "").await.unwrap();
    assert!((200..300).contains(&ended.status));
    assert_eq!(client.request("tools/list", json!({})).await.status, 404);
}

#[tokio::test]
async fn modern_headers_must_say_what_the_body_says() {
    let host = host().await;
    let client = host.connect_modern();
    let mut params = json!({ "name": "echo", "arguments": {} });
    era::add_modern_meta(&mut params, &json!({}));
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let check = async |headers: &[(&str, &str)], code: i64| {
        let headers = [&[JSON, ACCEPT], headers].concat();
        let response = http::send("POST", &client.url, &headers, body.to_string()).await.unwrap();
        assert_eq!(response.status, 400, "{headers:?}");
        let reply: Value = serde_json::from_str(&response.text().await).unwrap();
        assert_eq!(reply["error"]["code"], code, "{headers:?}: {reply}");
    };
    let version = ("mcp-protocol-version", "2026-07-28");
    check(&[version, ("mcp-method", "tools/call")], -32020).await;
    check(&[version, ("mcp-method", "tools/list"), ("mcp-name", "echo")], -32020).await;
    check(&[version, ("mcp-method", "tools/call"), ("mcp-name", "other")], -32020).await;
    check(&[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/call"), ("mcp-name", "echo")], -32020).await;
}

#[tokio::test]
async fn both_eras_share_one_endpoint_and_one_catalog() {
    let host = TestHost::builder()
        .backend("old", FakeBackend::echo(["a"]))
        .backend("new", FakeBackend::echo(["b"]).modern())
        .start()
        .await;
    let (legacy, modern) = (host.connect().await, host.connect_modern());
    assert_eq!(legacy.tool_names().await, modern.tool_names().await);
    for tool in ["a", "b"] {
        let old = legacy.call(tool, json!({})).await;
        assert!(old.result().get("resultType").is_none(), "{}", old.raw);
        let new = modern.call(tool, json!({})).await;
        assert_eq!(new.result()["resultType"], "complete", "{}", new.raw);
    }
    let listed = modern.request("tools/list", json!({})).await;
    assert!(listed.result()["ttlMs"].is_number() && listed.result()["cacheScope"].is_string(), "{}", listed.raw);
    let discovered = modern.request("server/discover", json!({})).await;
    assert!(discovered.result()["supportedVersions"].as_array().unwrap().contains(&json!("2026-07-28")));
    assert!(legacy.initialized["capabilities"]["tools"]["listChanged"] == true, "{}", legacy.initialized);
}

#[tokio::test]
async fn a_client_that_vanishes_costs_nobody_else() {
    let backend = FakeBackend::echo(["echo"]).tool("never", Behaviour::Never).tool("calls", Behaviour::Calls);
    let host = TestHost::builder().backend("b", backend).start().await;
    let client = host.connect().await;
    let other = TestClient::legacy(&host.url).await;
    tokio::select! {
        reply = other.call("never", json!({})) => panic!("{}", reply.raw),
        _ = client.call("calls", json!({ "tool": "never" })) => {}
    }
    drop(other);
    for _ in 0..20 {
        assert_eq!(client.call("echo", json!({})).await.answered_by(), "b");
    }
}
