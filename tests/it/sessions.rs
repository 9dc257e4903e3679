//! Sessions of legacy clients: how long an id is good, and at which hosts.

use serde_json::json;
use vmcp_tests::{FakeBackend, HostBuilder, Mcp, TestClient, TestHost, http};

fn host() -> HostBuilder {
    TestHost::builder().backend("b", FakeBackend::echo(["echo"]))
}

/// The same session, at another host.
async fn status_at(host: &TestHost, session: &str) -> u16 {
    let mut client = TestClient::legacy(&host.url).await;
    client.session = Some(session.to_owned());
    client.request("tools/list", json!({})).await.status
}

async fn delete(host: &TestHost, session: &str) -> u16 {
    http::send("DELETE", &host.url, &[("mcp-session-id", session)], "").await.unwrap().status
}

/// Writes `sealing.keys`, newest first; each name is that of a file with that key.
fn sealing(names: &[&str]) -> String {
    let keys: Vec<_> = names.iter().map(|name| json!({ "fromFile": format!("{name}.key") })).collect();
    format!("sealing: {}", json!({ "keys": keys }))
}

fn write_keys(host: &HostBuilder) {
    std::fs::write(host.dir().join("old.key"), format!("{}\n", "0f".repeat(32))).unwrap();
    std::fs::write(host.dir().join("new.key"), "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=").unwrap();
}

#[tokio::test]
async fn a_session_outlives_a_crash_of_the_host() {
    let host = host().start().await;
    let client = TestClient::legacy_with(&host.url, json!({ "elicitation": {}, "sampling": {} })).await;
    assert_eq!(client.tool_names().await, ["echo"]);
    let host = host.crash().await;
    assert_eq!(client.tool_names().await, ["echo"]);
    assert_eq!(client.call("echo", json!({})).await.answered_by(), "b");
    client.notify("notifications/initialized", json!({})).await;
    client.listen().await;
    let session = client.session.as_deref().unwrap();
    assert_eq!(delete(&host, session).await, 200);
    assert_eq!(client.request("tools/list", json!({})).await.status, 404);
    assert_eq!(delete(&host, session).await, 404);
}

#[tokio::test]
async fn forged_ids_and_those_of_other_hosts_are_unknown() {
    let (one, two) = tokio::join!(host().start(), host().start());
    let client = TestClient::legacy(&one.url).await;
    let session = client.session.as_deref().unwrap();
    assert_eq!(status_at(&one, session).await, 200);
    assert_eq!(status_at(&two, session).await, 404);
    let middle = session.len() / 2;
    let other = if session[middle..].starts_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{other}{}", &session[..middle], &session[middle + 1..]);
    for forged in [changed.as_str(), &session[1..], "made-up", &"A".repeat(5000)] {
        assert_eq!(status_at(&one, forged).await, 404, "{forged}");
    }
}

#[tokio::test]
async fn a_session_outlives_its_key_while_that_is_listed() {
    let host = host();
    write_keys(&host);
    let host = host.yaml(&sealing(&["old"])).start().await;
    let client = TestClient::legacy(&host.url).await;
    let config = host.written.config.clone();
    let rotate = |from: &[&str], to: &[&str]| {
        let text = std::fs::read_to_string(&config).unwrap();
        assert!(text.contains(&sealing(from)), "{text}");
        std::fs::write(&config, text.replace(&sealing(from), &sealing(to))).unwrap();
    };
    rotate(&["old"], &["new", "old"]);
    let host = host.crash().await;
    assert_eq!(client.tool_names().await, ["echo"]);
    let newer = TestClient::legacy(&host.url).await;
    rotate(&["new", "old"], &["new"]);
    let _host = host.crash().await;
    assert_eq!(client.request("tools/list", json!({})).await.status, 404);
    assert_eq!(newer.tool_names().await, ["echo"]);
}

#[tokio::test]
async fn hosts_with_one_key_take_each_others_sessions() {
    let (one, two) = (host(), host());
    write_keys(&one);
    write_keys(&two);
    let (one, two) = (one.yaml(&sealing(&["old"])), two.yaml(&sealing(&["new", "old"])));
    let (one, two) = tokio::join!(one.start(), two.start());
    let client = TestClient::legacy(&one.url).await;
    assert_eq!(status_at(&two, client.session.as_deref().unwrap()).await, 200);
}

#[tokio::test]
async fn a_key_that_is_none_is_named_and_not_shown() {
    let host = host();
    write_keys(&host);
    std::fs::write(host.dir().join("weak.key"), "correct horse battery staple").unwrap();
    let ended = host.yaml(&sealing(&["old", "weak"])).fail().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["sealing.keys[1]", "openssl rand -hex 32"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    assert!(!ended.stderr.contains("staple"), "{}", ended.stderr);
}
