//! The commands that ask a host, running or started for the moment: `tools`, `call`, `doctor`, `connect`.

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, Era, FakeBackend, Mcp, StdioClient, TestHost,
    host::WrittenHost,
    process::{read_pids, run},
};

async fn written() -> WrittenHost {
    let builder = TestHost::builder();
    let pids = builder.dir().join("pids");
    builder
        .backend("github", FakeBackend::echo(["search"]).tool("fail", Behaviour::ToolError).pid_file(&pids))
        .backend("jira", FakeBackend::echo(["search"]).modern())
        .write()
        .await
}

/// A command about `written`; `(exit code, stdout)`.
async fn ask(written: &WrittenHost, name: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = written.subcommand(name);
    let (code, stdout, stderr) = run(command.arg("-c").arg(&written.config).args(arguments)).await;
    assert!(!stderr.contains("panicked"), "{name}: {stderr}");
    (code, stdout)
}

async fn assert_commands_work(written: &WrittenHost) {
    let (code, tools) = ask(written, "tools", &["--json"]).await;
    assert_eq!(code, Some(0));
    let tools: Value = serde_json::from_str(&tools).unwrap();
    let entries = tools["entries"].as_array().unwrap();
    let origin = |backend: &str, original: &str| {
        entries.iter().find(|entry| entry["backend"] == backend && entry["original"] == original).unwrap()
    };
    assert_eq!(origin("jira", "search")["by"], "smart 0.1.0", "{tools}");
    assert!(origin("jira", "search")["why"].is_string() && origin("github", "search")["name"] != "search", "{tools}");

    let name = origin("jira", "search")["name"].as_str().unwrap();
    let (code, said) = ask(written, "call", &[name, "message=hello"]).await;
    assert_eq!((code, said.trim()), (Some(0), r#"{"message":"hello"}"#));
    let (code, said) = ask(written, "call", &["fail"]).await;
    assert!(code.is_some_and(|code| code != 0), "{said}");

    let (code, report) = ask(written, "doctor", &["--json"]).await;
    assert_eq!(code, Some(0));
    assert!(report.contains("2026-07-28") && report.contains("2025-11-25"), "{report}");
}

#[tokio::test]
async fn commands_ask_the_running_host() {
    let host = written().await.start().await;
    let before = read_pids(&host.dir().join("pids"));
    assert_commands_work(&host.written).await;
    assert_eq!(read_pids(&host.dir().join("pids")), before, "no backend was started for a command");
}

#[tokio::test]
async fn commands_start_a_host_when_none_is_running() {
    assert_commands_work(&written().await).await;
}

#[tokio::test]
async fn several_stdio_clients_share_one_host() {
    let host = written().await.start().await;
    let connect = async |era: Era| {
        let mut command = host.written.subcommand("connect");
        command.arg("-c").arg(&host.written.config);
        StdioClient::start(&mut command, era, json!({})).await
    };
    let clients = [connect(Era::Legacy).await, connect(Era::Modern).await, connect(Era::Legacy).await];
    for client in &clients {
        assert_eq!(client.tool_names().await, ["fail", "github_search", "jira_search"]);
        assert_eq!(client.call("jira_search", json!({})).await.answered_by(), "jira");
        assert_eq!(client.call("github_search", json!({})).await.answered_by(), "github");
    }
    let pids = read_pids(&host.dir().join("pids"));
    assert!(pids.len() <= 2, "clients do not start backends of their own: {pids:?}");
}

#[tokio::test]
async fn connect_says_that_no_host_is_running() {
    let written = written().await;
    let (code, _) = ask(&written, "connect", &[]).await;
    assert_eq!(code, Some(6));
}
