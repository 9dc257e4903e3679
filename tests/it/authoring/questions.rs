//! What `workflow run` is asked: answers from a file, from a person at a terminal, or from nobody.

use std::{fs, process::Stdio};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    time::timeout,
};
use vmcp_tests::{
    FixtureBackend, TestHost,
    host::WrittenHost,
    process::{self, PATIENCE},
};

const ASKS: &str = "
name: asks
description: Asks twice
steps:
  - id: stage
    type: elicitation
    message: Roll out?
    schema:
      type: object
      required: [stage]
      properties:
        count: { type: integer, default: 3 }
        forced: { type: boolean }
        stage: { type: string, enum: [canary, all], description: How far }
    onDecline: { action: skip_remaining }
  - { id: sure, type: elicitation, dependsOn: [stage], message: \"Sure?\\e[2K\", schema: { type: object, properties: {} } }
output:
  properties:
    stage: { type: object, description: d, value: '{{json .steps.stage.output}}' }
    sure: { type: string, description: d, value: '{{.steps.sure.output.action}}' }
";

/// A host without backends, and the file `asks.yaml` beside its configuration.
async fn asking() -> WrittenHost {
    let written = TestHost::builder().yaml("backends: []").write().await;
    fs::write(written.config.with_file_name("asks.yaml"), ASKS).unwrap();
    written
}

/// `workflow run asks.yaml --json` in the folder of the configuration.
fn command(written: &WrittenHost) -> Command {
    let mut command = written.subcommand("workflow");
    command.args(["run", "asks.yaml", "--json", "-c", "vmcp.yaml"]).current_dir(written.config.parent().unwrap());
    command
}

/// `(exit code, stdout, stderr)` of a run with these answers in `answers.json`.
async fn answered(written: &WrittenHost, answers: Value) -> (Option<i32>, String, String) {
    fs::write(written.config.with_file_name("answers.json"), answers.to_string()).unwrap();
    process::run(command(written).args(["--answers", "answers.json", "--journal", "run.json"])).await
}

fn structured(stdout: &str) -> Value {
    serde_json::from_str::<Value>(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))["structuredContent"]
        .take()
}

#[tokio::test]
async fn questions_get_the_answers_of_a_file_in_order() {
    let written = asking().await;
    let check = async |answers: Value, stage: Value, sure: &str| {
        let (code, stdout, stderr) = answered(&written, answers).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(structured(&stdout), json!({ "stage": stage, "sure": sure }));
        assert!(stderr.contains("2/2  step `sure`") && !stderr.contains("Roll out?"), "{stderr}");
        stderr
    };
    let canary = json!({ "action": "accept", "content": { "stage": "canary" } });
    check(json!([{ "stage": "canary" }, {}]), canary.clone(), "accept").await;
    let mut replay = written.subcommand("workflow");
    replay.args(["replay", "asks.yaml", "--journal", "run.json"]).current_dir(written.config.parent().unwrap());
    let (code, _, stderr) = process::run(&mut replay).await;
    assert_eq!(code, Some(0), "the answers are part of what a run was told: {stderr}");

    check(json!([canary, { "action": "accept" }]), canary, "accept").await;
    let stderr = check(json!([{ "action": "decline" }, {}]), json!({ "action": "decline" }), "<no value>").await;
    assert!(stderr.contains("`answers.json` has 1 answer more, which nothing asked for"), "{stderr}");
    let (code, stdout, _) = answered(&written, json!([{ "action": "cancel" }])).await;
    assert_eq!((code, stdout.contains("step `stage` failed: the user cancelled")), (Some(7), true), "{stdout}");
}

#[tokio::test]
async fn answers_that_are_too_few_or_do_not_fit_end_the_run_and_say_which() {
    let written = asking().await;
    let check = async |answers: Value, expected: &str| {
        let (code, stdout, stderr) = answered(&written, answers).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    };
    check(json!([{ "stage": "all" }]), "`answers.json` has 1 answer, and there is one more question: Sure?").await;
    let said = "answer 1 of `answers.json` does not fit the question \"Roll out?\": /stage \"most\" is not one of";
    check(json!([{ "stage": "most" }, {}]), said).await;
    check(json!({ "stage": "all" }), "`answers.json` is no JSON list of answers").await;
    check(json!(["all"]), "`answers.json` is no JSON list of answers").await;
}

#[tokio::test]
async fn where_nobody_can_answer_the_step_fails_and_a_hint_says_how_to() {
    let written = asking().await;
    let (code, stdout, stderr) = process::run(&mut command(&written)).await;
    assert_eq!((code, stdout.contains("step `stage` failed: ")), (Some(7), true), "{stdout}");
    assert!(stderr.contains("hint: ") && stderr.contains("'--answers FILE'"), "{stderr}");
}

#[tokio::test]
async fn what_a_backend_asks_in_a_step_is_answered_too() {
    for fixture in [FixtureBackend::legacy(), FixtureBackend::modern()] {
        let (entry, _process) = fixture.entry("b").await;
        let written = TestHost::builder().entry(entry).write().await;
        let steps = "name: asks\ndescription: d\nsteps: [{ id: s, tool: b.ask, arguments: { message: 'Who?' } }]";
        fs::write(written.config.with_file_name("asks.yaml"), steps).unwrap();
        let (code, stdout, stderr) = answered(&written, json!([{ "answer": "me" }])).await;
        assert_eq!((code, stdout.contains("me")), (Some(0), true), "{stdout}{stderr}");
    }
}

/// A command on a terminal of its own, as `script` of util-linux gives one.
#[cfg(target_os = "linux")]
struct Terminal {
    child: Child,
    shown: String,
}

#[cfg(target_os = "linux")]
impl Terminal {
    fn start(written: &WrittenHost) -> Self {
        let line = "exec \"$VMCP_HOST\" workflow run asks.yaml --json -c vmcp.yaml 2>&1 >result.json";
        let child = Command::new("script")
            .args(["--quiet", "--return", "--command", "exec sh -c \"$LINE\"", "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("LINE", line)
            .env("VMCP_HOST", process::binary("vmcp-host"))
            .env("NO_COLOR", "1")
            .current_dir(written.config.parent().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("util-linux has `script`");
        Self { child, shown: String::new() }
    }

    /// Waits until the terminal shows `prompt` after all that was entered, and enters `keys`.
    async fn enter(&mut self, prompt: &str, keys: &str) {
        let stdout = self.child.stdout.as_mut().unwrap();
        let mut bytes = [0; 1024];
        while !self.shown.ends_with(prompt) {
            let read = timeout(PATIENCE, stdout.read(&mut bytes)).await;
            let read = read.unwrap_or_else(|_| panic!("no {prompt:?} in {:?}", self.shown)).unwrap_or_default();
            assert_ne!(read, 0, "no {prompt:?} in {:?}", self.shown);
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).await.unwrap();
    }

    /// The exit code, and what was shown.
    async fn end(mut self) -> (Option<i32>, String) {
        let mut stdout = self.child.stdout.take().unwrap();
        // `script` gives a broken pipe to nobody: its own end comes with the command's.
        timeout(PATIENCE, stdout.read_to_string(&mut self.shown)).await.expect("the command ends").unwrap();
        (self.child.wait().await.unwrap().code(), self.shown)
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_person_at_a_terminal_is_asked_line_by_line() {
    let written = asking().await;
    let result = || structured(&fs::read_to_string(written.config.with_file_name("result.json")).unwrap());
    let mut terminal = Terminal::start(&written);
    terminal.enter("count, a whole number [3]> ", "many\n").await;
    terminal.enter("many is no whole number\r\ncount, a whole number [3]> ", "\n").await;
    terminal.enter("forced, yes or no (may be empty)> ", "\n").await;
    terminal.enter("How far\r\n  1  canary\r\n  2  all\r\nstage> ", "\n").await;
    terminal.enter("`stage` is needed\r\nstage> ", "2\n").await;
    terminal.enter("yes or no> ", "y\n").await;
    let (code, shown) = terminal.end().await;
    assert_eq!(code, Some(0), "{shown}");
    let content = json!({ "count": 3, "stage": "all" });
    assert_eq!(result(), json!({ "stage": { "action": "accept", "content": content }, "sure": "accept" }), "{shown}");
    assert!(shown.contains("Roll out?\r\n(!decline says no, !cancel or Ctrl-D gives no answer)\r\n"), "{shown}");
    assert!(shown.contains("Sure?\u{fffd}[2K"), "what is asked does not command the terminal: {shown:?}");

    let mut terminal = Terminal::start(&written);
    terminal.enter("count, a whole number [3]> ", "!decline\n").await;
    assert_eq!(terminal.end().await.0, Some(0));
    assert_eq!(result()["stage"], json!({ "action": "decline" }));

    for end in ["!cancel\n", "\u{4}"] {
        let mut terminal = Terminal::start(&written);
        terminal.enter("count, a whole number [3]> ", end).await;
        let (code, shown) = terminal.end().await;
        assert_eq!(code, Some(7), "{shown}");
        let text = fs::read_to_string(written.config.with_file_name("result.json")).unwrap();
        assert!(text.contains("step `stage` failed: the user cancelled"), "{text}");
    }
}
