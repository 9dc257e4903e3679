//! How the host ends, and what becomes of its children: no orphan survives it.

use serde_json::json;
use vmcp_tests::{
    Behaviour, FakeBackend, Mcp, TestHost, eventually,
    process::{PATIENCE, descendants, is_running, read_pids},
    real::{RealServer, node_dir},
};

#[tokio::test]
async fn sigterm_ends_an_idle_host() {
    let mut host = TestHost::builder().backend("b", FakeBackend::echo(["a"])).start().await;
    let children = descendants(host.pid());
    let status = host.terminate().await;
    assert!(status.success(), "{status}");
    eventually("no child is left", PATIENCE, || async { !children.iter().any(|pid| is_running(*pid)) }).await;
}

#[tokio::test]
async fn sigterm_does_not_wait_for_backends_that_hang() {
    let stubborn = FakeBackend::new()
        .tool("never", Behaviour::Never)
        .tool("calls", Behaviour::Calls)
        .with(|spec| spec.outlives_eof = true);
    let hanging = FakeBackend::new().tool("never_http", Behaviour::Never).tool("calls_http", Behaviour::Calls).http();
    let mut host = TestHost::builder()
        .backend_with("stubborn", stubborn, json!({ "requestTimeout": "10m" }))
        .backend_with("hanging", hanging, json!({ "requestTimeout": "10m" }))
        .start()
        .await;
    let client = host.connect().await;
    let children = descendants(host.pid());
    let calls = async { tokio::join!(client.call("never", json!({})), client.call("never_http", json!({}))) };
    let mut calls = std::pin::pin!(calls);
    let begun = async {
        client.call("calls", json!({ "tool": "never" })).await.text();
        client.call("calls_http", json!({ "tool": "never_http" })).await.text();
    };
    tokio::select! {
        _ = &mut calls => panic!("the calls hang"),
        () = begun => {}
    }
    // Their calls would go on for ten minutes.
    host.terminate().await;
    eventually("no child is left", PATIENCE, || async { !children.iter().any(|pid| is_running(*pid)) }).await;
}

#[tokio::test]
async fn no_orphan_survives_a_killed_host() {
    let builder = TestHost::builder();
    let pids = builder.dir().join("pids");
    let stubborn = FakeBackend::echo(["a"]).pid_file(&pids).with(|spec| {
        spec.outlives_eof = true;
        spec.has_grandchild = true;
    });
    let mut host = builder.backend("stubborn", stubborn).start().await;
    let started = read_pids(&pids);
    assert!(started.len() >= 2 && started.iter().all(|pid| is_running(*pid)), "{started:?}");
    let all = descendants(host.pid());
    host.kill().await;
    eventually("child and grandchild are gone", PATIENCE, || async {
        !started.iter().chain(&all).any(|pid| is_running(*pid))
    })
    .await;
}

#[tokio::test]
async fn no_orphan_of_npx_survives_a_killed_host() {
    // npx starts a shell, which starts node: the host's child is only the first of them.
    let _installed = RealServer::Everything.command(&node_dir());
    let entry = json!({
        "name": "everything", "transport": "stdio", "command": "npx", "cwd": node_dir(),
        "args": ["--no-install", "mcp-server-everything", "stdio"],
    });
    let mut host = TestHost::builder().entry(entry).start().await;
    host.wait_for_tool("echo").await;
    let all = descendants(host.pid());
    assert!(all.len() >= 2, "npx and node at least: {all:?}");
    host.kill().await;
    eventually("npx and node are gone", PATIENCE, || async { !all.iter().any(|pid| is_running(*pid)) }).await;
}
