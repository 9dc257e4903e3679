//! The clients that people use, unmodified: they list and call through the host in every era that they speak.

mod asked;

use serde_json::Value;
use tokio::process::Command;
use vmcp_tests::{
    FakeBackend, TestHost,
    process::{run, workspace_dir},
    real::{RealServer, node, node_dir, python},
};

/// One backend of each era, so that every cell of client and backend is met.
async fn host() -> TestHost {
    let host = TestHost::builder()
        .backend("legacy", FakeBackend::echo(["old"]))
        .backend("modern", FakeBackend::echo(["new"]).modern())
        .real("everything", RealServer::Everything)
        .start()
        .await;
    host.wait_for_tool("echo").await;
    host
}

async fn lines(command: &mut Command) -> Vec<Value> {
    let (code, stdout, stderr) = run(command).await;
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Each line says which tools a client saw and what the call of `tool` brought.
fn assert_used(lines: &[Value], modes: &[(&str, &str)], text: &str) {
    let seen: Vec<_> =
        lines.iter().map(|line| (line["mode"].as_str().unwrap(), line["version"].as_str().unwrap())).collect();
    assert_eq!(seen, modes);
    for line in lines {
        let tools: Vec<_> = line["tools"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(["old", "new", "echo"].iter().all(|tool| tools.contains(tool)), "{line}");
        assert_eq!(line["text"], text, "{line}");
    }
}

const PYTHON_MODES: [(&str, &str); 3] =
    [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")];
const TYPESCRIPT_MODES: [(&str, &str); 3] =
    [("sdk", "2025-11-25"), ("client", "2025-11-25"), ("client auto", "2026-07-28")];
/// What a tool of each backend answers to `{"message": "hello"}`.
const ANSWERS: [(&str, &str); 3] =
    [("echo", "Echo: hello"), ("old", r#"{"message":"hello"}"#), ("new", r#"{"message":"hello"}"#)];

#[tokio::test]
async fn the_python_client_lists_and_calls_in_every_mode() {
    let host = host().await;
    for (tool, text) in ANSWERS {
        let mut command = Command::new(python("current", "python"));
        command.arg(workspace_dir().join("tests/clients/client.py")).args([&host.url, tool]);
        assert_used(&lines(&mut command).await, &PYTHON_MODES, text);
    }
}

#[tokio::test]
async fn the_typescript_clients_list_and_call_in_every_mode() {
    let host = host().await;
    for (tool, text) in ANSWERS {
        let mut command = Command::new(node());
        command.arg(workspace_dir().join("tests/clients/client.mjs")).args([&host.url, tool]).current_dir(node_dir());
        assert_used(&lines(&mut command).await, &TYPESCRIPT_MODES, text);
    }
}

#[tokio::test]
async fn the_inspector_lists_and_calls_in_every_era() {
    let host = host().await;
    let inspect = async |era: &str, arguments: &[&str]| {
        let mut command = Command::new(node());
        command.arg(node_dir().join("node_modules/.bin/mcp-inspector"));
        command.args(["--cli", &host.url, "--transport", "http", "--protocol-era", era, "--format", "json"]);
        let (code, stdout, stderr) = run(command.args(arguments)).await;
        assert_eq!(code, Some(0), "{era} {arguments:?}: {stdout}\n{stderr}");
        stdout
    };
    for era in ["legacy", "auto", "modern"] {
        let listed = inspect(era, &["--method", "tools/list"]).await;
        assert!(["\"old\"", "\"new\"", "\"echo\""].iter().all(|name| listed.contains(name)), "{era}: {listed}");
        let called = ["--method", "tools/call", "--tool-name", "echo", "--tool-arg", "message=hello"];
        assert!(inspect(era, &called).await.contains("Echo: hello"), "{era}");
    }
}
