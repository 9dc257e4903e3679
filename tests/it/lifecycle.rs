//! How the host ends, and what becomes of its children: no orphan survives it.

use std::time::Duration;

use serde_json::json;
use vmcp_tests::{
    Behaviour, FakeBackend, Mcp, TestHost, eventually,
    process::{PATIENCE, descendants, is_running, read_pids},
    real::{RealServer, node_dir},
};

#[tokio::test]
async fn sigterm_ends_an_idle_host_at_once() {
    let mut host = TestHost::builder().backend("b", FakeBackend::echo(["a"])).start().await;
    let children = descendants(host.pid());
    let (status, after) = host.terminate().await;
    assert!(status.success(), "{status}");
    assert!(after < Duration::from_secs(2), "{after:?}");
    eventually("no child is left", Duration::from_secs(2), || async { !children.iter().any(|pid| is_running(*pid)) })
        .await;
}

#[tokio::test]
async fn sigterm_takes_two_seconds_with_backends_that_hang() {
    let stubborn = FakeBackend::new().tool("never", Behaviour::Never).with(|spec| spec.outlives_eof = true);
    let hanging = FakeBackend::new().tool("never_http", Behaviour::Never).http();
    let mut host = TestHost::builder().backend("stubborn", stubborn).backend("hanging", hanging).start().await;
    let client = host.connect().await;
    let children = descendants(host.pid());
    let calls = async { tokio::join!(client.call("never", json!({})), client.call("never_http", json!({}))) };
    let calls = std::pin::pin!(calls);
    // Both calls are under way once their requests are written; the host is asked to end then.
    let begun = tokio::time::timeout(Duration::from_millis(300), calls).await;
    assert!(begun.is_err(), "the calls hang");
    let (_, after) = host.terminate().await;
    assert!(after < Duration::from_millis(2500), "{after:?}");
    eventually("no child is left", Duration::from_secs(3), || async { !children.iter().any(|pid| is_running(*pid)) })
        .await;
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
