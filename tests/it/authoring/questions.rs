//! What `workflow run` is asked, and who answers: a file, or nobody. A person does in `terminal`.

use std::fs;

use serde_json::{Value, json};
use tokio::process::Command;
use vmcp_tests::{FixtureBackend, TestHost, host::WrittenHost, process};

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
pub(super) async fn asking() -> WrittenHost {
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

pub(super) fn structured(stdout: &str) -> Value {
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
