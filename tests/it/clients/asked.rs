//! The official Python client while the host is killed in the middle of its call: nothing in the client knows of it.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use vmcp_tests::{
    Behaviour, FakeBackend, Recording, TestHost,
    process::{PATIENCE, workspace_dir},
    real::python,
};

const RUNS: &str = "runs: { path: runs.db }
compositeTools:
  - name: asks
    description: Calls a tool, asks, and calls another one with the answer
    steps:
      - { id: before, tool: before }
      - id: ask
        type: elicitation
        dependsOn: [before]
        message: Go on?
        schema: { type: object, properties: { why: { type: string } } }
      - { id: after, tool: after, dependsOn: [ask], arguments: { why: '{{.steps.ask.output.content.why}}' } }
";

/// A client process that calls `asks`.
struct Caller {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Caller {
    fn start(url: &str, mode: &str) -> Self {
        let mut command = Command::new(python("current", "python"));
        command.arg(workspace_dir().join("tests/clients/asked.py")).args([url, "asks", mode]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// The next line that it prints; panics with what it says otherwise when there is none.
    async fn line(&mut self) -> Value {
        match timeout(PATIENCE, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line).unwrap(),
            _ => {
                self.process.start_kill().unwrap();
                let mut said = String::new();
                self.process.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                panic!("the client prints no more: {said}");
            }
        }
    }

    /// Lets it answer all that it is asked.
    async fn let_answer(&mut self) {
        self.process.stdin.as_mut().unwrap().write_all(b"\n").await.unwrap();
    }

    /// The result of its call, after any questions that were put again.
    async fn result(mut self) -> Value {
        loop {
            let line = self.line().await;
            if line.get("asked").is_none() {
                return line;
            }
        }
    }
}

/// Kills the host while the user thinks, and lets the client answer once it has been asked `questions` times.
async fn check(mode: &str, version: &str, questions: usize) {
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    // None of them may be called a second time to be sure.
    let effect = json!({ "inputSchema": { "type": "object" }, "annotations": { "idempotentHint": false } });
    let backend = ["before", "after"]
        .into_iter()
        .fold(FakeBackend::new(), |backend, tool| backend.defined(tool, effect.clone(), Behaviour::Echo))
        .record(&calls);
    let host = host.backend("b", backend).yaml(RUNS).start().await;
    let mut client = Caller::start(&host.url, mode);
    assert_eq!(client.line().await, json!({ "asked": "Go on?" }));
    let _host = host.crash().await;
    for _ in 1..questions {
        assert_eq!(client.line().await, json!({ "asked": "Go on?" }));
    }
    client.let_answer().await;
    let result = client.result().await;
    assert_eq!((&result["version"], &result["isError"]), (&json!(version), &json!(false)), "{result}");
    assert!(result["text"].to_string().contains("it is time"), "{result}");
    assert_eq!(calls.tools(), ["before", "after"]);
    assert_eq!(calls.arguments("after"), [json!({ "why": "it is time" })]);
}

#[tokio::test]
async fn a_python_client_with_a_session_gets_its_result_from_a_host_that_was_killed_while_it_was_asked() {
    // It answers before it has its stream again, and after the question came again on that.
    for questions in [1, 2] {
        check("legacy", "2025-11-25", questions).await;
    }
}

#[tokio::test]
async fn a_python_client_without_a_session_gets_its_result_from_a_host_that_was_killed_while_it_was_asked() {
    for mode in ["auto", "2026-07-28"] {
        check(mode, "2026-07-28", 1).await;
    }
}
