//! The host as a child of a desktop client: `serve --stdio`.

use serde_json::json;
use tokio::time::timeout;
use vmcp_tests::{
    Behaviour, Era, FakeBackend, Mcp, TestHost,
    process::{PATIENCE, descendants, eventually, is_running},
};

#[tokio::test]
async fn both_eras_are_served_over_stdio() {
    for era in [Era::Legacy, Era::Modern] {
        let written = TestHost::builder()
            .backend("old", FakeBackend::echo(["a"]))
            .backend("new", FakeBackend::echo(["b"]).modern())
            .write()
            .await;
        let client = written.serve_stdio(era).await;
        assert_eq!(client.tool_names().await, ["a", "b"]);
        assert_eq!(client.call("a", json!({ "x": 1 })).await.answered_by(), "old");
        assert_eq!(client.call("b", json!({ "x": 1 })).await.answered_by(), "new");
    }
}

#[tokio::test]
async fn stdio_clients_hear_of_changed_lists_and_progress() {
    let backend = FakeBackend::new()
        .tool("grow", Behaviour::AddTool)
        .tool("steps", Behaviour::Progress { every_ms: 10, times: 2 });
    let client = TestHost::builder().backend("b", backend).write().await.serve_stdio(Era::Legacy).await;
    let meta = json!({ "progressToken": 7 });
    let reply = client.request("tools/call", json!({ "name": "steps", "arguments": {}, "_meta": meta })).await;
    assert_eq!(reply.text(), "2 steps");
    assert_eq!(client.wait_for("notifications/progress").await["params"]["progressToken"], 7);
    client.call("grow", json!({})).await;
    client.wait_for("notifications/tools/list_changed").await;
    assert!(client.tool_names().await.contains(&"added_0".to_owned()));
}

#[tokio::test]
async fn end_of_input_ends_the_host_and_its_children() {
    let written = TestHost::builder().backend("b", FakeBackend::echo(["a"])).write().await;
    let mut client = written.serve_stdio(Era::Legacy).await;
    assert_eq!(client.tool_names().await, ["a"]);
    let children = descendants(client.child.id().unwrap());
    assert!(!children.is_empty());
    client.close_stdin().await;
    let status = timeout(PATIENCE, client.child.wait()).await.expect("EOF ends the host").unwrap();
    assert!(status.success(), "{status}: {}", client.stderr());
    eventually("no child is left", PATIENCE, || async { !children.iter().any(|pid| is_running(*pid)) }).await;
}
