//! Steps of type `switch` and `workflow`.

use serde_json::{Value, json};
use workflow_yaml::{Elicited, Workflow};

use crate::world::{FakeWorld, error, ms, steps, steps_and_output, structured, text};

/// Calls `before`, then chooses by `.params.kind`, then calls `after` with all that came of it.
fn switch() -> Value {
    steps(json!([
        {"id": "before", "tool": "before"},
        {"id": "choose", "type": "switch", "dependsOn": ["before"], "on": "{{.params.kind}}", "cases": [
            {"equals": "bug", "steps": [
                {"id": "look", "tool": "echo", "arguments": {"said": "{{.steps.before.output.text}}"}},
                {"id": "file", "tool": "echo", "dependsOn": ["look"], "arguments": {"n": "{{.steps.look.output.said}}!"}},
            ]},
            {"equals": 3, "steps": []},
            {"equals": true, "steps": [{"id": "yes", "tool": "echo", "arguments": {"yes": "1"}}]},
        ], "default": [{"id": "other", "tool": "echo", "arguments": {"other": "{{.params.kind}}"}}]},
        {"id": "after", "tool": "echo", "dependsOn": ["choose"],
            "arguments": {"case": "{{.steps.choose.output.case}}", "output": "{{json .steps.choose.output.output}}",
                "steps": "{{json .steps.choose.output.steps}}"}},
    ]))
}

#[test]
fn the_case_that_equals_runs_and_its_output_is_that_of_its_last_step() {
    let check = |kind: Value, case: &str, output: Value, inner: Value| {
        let world = FakeWorld::new().answers("before", ms(1), text("b")).echo("echo");
        let seen = world.run(&switch(), json!({"kind": kind})).unwrap();
        let parsed = |key: &str| serde_json::from_str::<Value>(seen[key].as_str().unwrap()).unwrap();
        assert_eq!(
            (seen["case"].as_str().unwrap(), parsed("output"), parsed("steps")),
            (case, output, inner),
            "{kind}"
        );
    };
    check(json!("bug"), "bug", json!({"n": "b!"}), json!({"look": {"said": "b"}, "file": {"n": "b!"}}));
    check(json!(3), "3", json!({}), json!({}));
    check(json!(true), "true", json!({"yes": "1"}), json!({"yes": {"yes": "1"}}));
    check(json!("Bug"), "<no value>", json!({"other": "Bug"}), json!({"other": {"other": "Bug"}}));
}

#[test]
fn without_a_case_and_without_default_nothing_runs() {
    let document = steps(json!([{"id": "s", "type": "switch", "on": "x",
        "cases": [{"equals": "y", "steps": [{"id": "a", "tool": "a"}]}]}]));
    let world = FakeWorld::new();
    assert_eq!(world.run(&document, json!({})).unwrap(), json!({"case": null, "output": {}, "steps": {}}));
    assert!(world.called().is_empty());
}

#[test]
fn steps_of_a_case_run_side_by_side_and_their_failure_is_the_switchs() {
    let document = |on_error: Value| {
        let inner = json!([{"id": "a", "tool": "slow"}, {"id": "b", "tool": "bad"}]);
        let step = json!({"id": "s", "type": "switch", "on": "x", "onError": on_error,
            "defaultResults": {"output": {}}, "cases": [{"equals": "x", "steps": inner}]});
        steps_and_output(json!([step]), &[("error", "string", "{{.steps.s.error}}")])
    };
    let world = || FakeWorld::new().answers("slow", ms(50), text("a")).answers("bad", ms(10), error("no"));
    let failing = world();
    let said = failing.run(&document(json!({"action": "abort"})), json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `s` failed: step `b` failed: tool `bad`: no");
    assert_eq!((failing.cancelled(), failing.now()), (vec!["slow".to_owned()], ms(10)));
    let output = world().run(&document(json!({"action": "continue"})), json!({})).unwrap();
    assert_eq!(output, json!({"error": "step `b` failed: tool `bad`: no"}));
}

#[test]
fn a_timeout_of_a_switch_holds_for_all_that_is_inside() {
    let step = json!({"id": "s", "type": "switch", "on": "x", "timeout": "1s", "cases": [
        {"equals": "x", "steps": [{"id": "a", "tool": "a"}, {"id": "b", "tool": "a", "dependsOn": ["a"]}]}]});
    let world = FakeWorld::new().answers("a", ms(600), text("a"));
    let said = world.run(&steps(json!([step])), json!({})).unwrap_err().to_string();
    assert_eq!((said.as_str(), world.now()), ("step `s` failed: timed out after 1s", ms(1000)));
}

#[test]
fn a_question_inside_can_skip_all_that_remains() {
    let ask = json!({"id": "ask", "type": "elicitation", "message": "m", "onDecline": {"action": "skip_remaining"}});
    let document = steps(json!([
        {"id": "s", "type": "switch", "on": "x", "cases": [
            {"equals": "x", "steps": [ask, {"id": "inner", "tool": "a", "dependsOn": ["ask"]}]}]},
        {"id": "outer", "tool": "a", "dependsOn": ["s"]},
    ]));
    let world = FakeWorld::new().user(ms(1), Elicited::Declined);
    world.run(&document, json!({})).unwrap();
    assert!(world.called().is_empty());
    assert_eq!(*world.progress.borrow(), ["1/2 step `s` completed", "2/2 step `outer` skipped"]);
}

#[test]
fn a_workflow_is_called_by_the_name_that_no_backend_can_take() {
    let document = steps(json!([
        {"id": "a", "type": "workflow", "workflow": "brief", "arguments": {"n": "{{.params.n}}"}},
        {"id": "each", "type": "forEach", "collection": "[1]", "step": {"type": "workflow", "workflow": "other"}},
    ]));
    let n = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let called = |result| {
        FakeWorld::new()
            .schema("vmcp/composite.brief", n.clone())
            .tool("vmcp/composite.brief", move |_, arguments| {
                assert_eq!(json!(arguments), json!({"n": 4}));
                (ms(1), Ok(Value::clone(&result)))
            })
            .answers("vmcp/composite.other", ms(2), structured(json!({})))
    };
    called(structured(json!({"x": 1}))).run(&document, json!({"n": 4})).unwrap();
    let said = called(error("step `s` failed")).run(&document, json!({"n": 4})).unwrap_err().to_string();
    assert_eq!(said, "step `a` failed: workflow `brief`: step `s` failed");
    let definition = Workflow::parse(&document).unwrap().definition();
    assert_eq!(definition.tools, ["vmcp/composite.brief", "vmcp/composite.other"]);
}

#[test]
fn each_step_is_in_the_log_from_its_start_to_its_end() {
    let document = steps(json!([
        {"id": "s", "type": "switch", "on": "x", "cases": [{"equals": "x", "steps": [
            {"id": "in", "tool": "a"}, {"id": "not", "tool": "a", "dependsOn": ["in"], "condition": "false"}]}]},
        {"id": "bad", "tool": "bad", "dependsOn": ["s"]},
    ]));
    let world = FakeWorld::new().answers("a", ms(1), text("a")).answers("bad", ms(1), error("no"));
    world.run(&document, json!({})).unwrap_err();
    let said: Vec<String> = world.logged.borrow().iter().map(|(level, line)| format!("{level:?} {line}")).collect();
    let expected = [
        "`s` started",
        "`in` started",
        "`in` completed",
        "`not` started",
        "`not` skipped",
        "`s` completed",
        "`bad` started",
        "`bad` failed: tool `bad`: no",
    ];
    assert_eq!(said, expected.map(|line| format!("Debug step {line}")));
}
