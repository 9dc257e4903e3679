//! Questions to the user.

use std::time::Duration;

use serde_json::{Map, Value, json};
use workflow_yaml::Elicited;

use crate::world::{FakeWorld, ms, steps, steps_and_output, text};

fn answer(answer: Value) -> Elicited {
    let Value::Object(answer) = answer else { panic!("answers are objects") };
    Elicited::Accepted(answer)
}

fn question(more: Value) -> Value {
    let mut step = json!({"id": "ask", "type": "elicitation", "message": "Deploy {{.params.what}}?",
        "schema": {"type": "object", "properties": {"where": {"type": "string"}}}});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

#[test]
fn an_answer_is_the_output() {
    let world = FakeWorld::new().user(ms(7000), answer(json!({"where": "here"})));
    let output = world.run(&steps(json!([question(json!({}))])), json!({"what": "it"}));
    assert_eq!(output, Ok(json!({"action": "accept", "content": {"where": "here"}})));
    let schema = json!({"type": "object", "properties": {"where": {"type": "string"}}});
    assert_eq!(*world.questions.borrow(), [("Deploy it?".to_owned(), schema, ms(300_000))]);
}

#[test]
fn the_wait_for_an_answer_is_as_long_as_the_step_says() {
    let check = |timeout: &str, expected: u64| {
        let world = FakeWorld::new().user(ms(0), answer(json!({})));
        world.run(&steps(json!([question(json!({"timeout": timeout}))])), json!({})).unwrap();
        assert_eq!(world.questions.borrow()[0].2, Duration::from_secs(expected));
    };
    check("30s", 30);
    check("72h", 259_200);
}

#[test]
fn without_an_answer_the_handler_decides() {
    let check = |more: Value, user: Elicited, expected: Result<Value, &str>| {
        let world = FakeWorld::new().user(ms(0), user);
        let result = world.run(&steps(json!([question(more.clone())])), json!({})).map_err(|error| error.to_string());
        assert_eq!(result, expected.map_err(|reason| format!("step `ask` failed: {reason}")), "{more}");
    };
    let on = |event: &str, action: &str| json!({event: {"action": action}, "defaultResults": {"content": {"where": "there"}}});
    let default = |action: &str| json!({"action": action, "content": {"where": "there"}});
    check(json!({}), Elicited::Declined, Err("the user declined"));
    check(json!({}), Elicited::Cancelled, Err("the user cancelled"));
    check(json!({}), Elicited::Failed("the client cannot ask".into()), Err("the client cannot ask"));
    check(on("onDecline", "abort"), Elicited::Declined, Err("the user declined"));
    check(on("onDecline", "continue"), Elicited::Declined, Ok(default("decline")));
    check(on("onDecline", "continue"), Elicited::Cancelled, Err("the user cancelled"));
    check(on("onCancel", "continue"), Elicited::Cancelled, Ok(default("cancel")));
    check(on("onCancel", "continue"), Elicited::TimedOut, Ok(default("cancel")));
    check(on("onDecline", "skip_remaining"), Elicited::Declined, Ok(default("decline")));
    let both = json!({"onDecline": {"action": "abort"}, "onError": {"action": "continue"}});
    check(both, Elicited::Declined, Err("the user declined"));
}

#[test]
fn skip_remaining_skips_what_has_not_started_and_lets_the_rest_finish() {
    let world = FakeWorld::new().answers("slow", ms(100), text("done")).echo("echo").user(ms(10), Elicited::Declined);
    let document = steps_and_output(
        json!([
            question(json!({"onDecline": {"action": "skip_remaining"}})),
            {"id": "running", "tool": "slow"},
            {"id": "after", "tool": "echo", "dependsOn": ["ask"], "defaultResults": {"x": "default"}},
            {"id": "later", "tool": "echo", "dependsOn": ["running"]},
        ]),
        &[("all", "string", "{{range $id, $step := .steps}}{{$id}}={{$step.status}} {{end}}{{.steps.after.output.x}}")],
    );
    let all = "after=skipped ask=completed later=skipped running=completed default";
    assert_eq!(world.run(&document, json!({})), Ok(json!({"all": all})));
    assert_eq!(world.called(), [(0, "slow".to_owned())]);
    assert_eq!(world.progress.borrow().len(), 4);
}

#[test]
fn answers_have_limits() {
    let check = |content: Value, reason: &str| {
        let world = FakeWorld::new().user(ms(0), answer(json!({"a": content})));
        let error = world.run(&steps(json!([question(json!({}))])), json!({})).unwrap_err();
        assert_eq!(error.to_string(), format!("step `ask` failed: the answer is {reason}"));
    };
    check("x".repeat(1024 * 1024).into(), "larger than 1024 KB");
    check(
        (0..10).fold(json!({}), |inner, _| Map::from_iter([("a".to_owned(), inner)]).into()),
        "nested deeper than 10",
    );
}
