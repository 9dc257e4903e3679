//! What is found before a run in steps inside steps, and in keys of their kinds.

use serde_json::{Value, json};

use crate::{
    checks::{check, problems},
    world::{steps, steps_and_output},
};

fn switch(inner: Value, default: Value) -> Value {
    json!({"id": "sw", "type": "switch", "on": "x", "cases": [{"equals": "x", "steps": inner}], "default": default})
}

fn rounds(inner: Value) -> Value {
    json!({"id": "w", "type": "while", "while": "false", "steps": inner})
}

fn reading(id: &str, template: &str) -> Value {
    json!({"id": id, "tool": "t", "arguments": {"x": template}})
}

#[test]
fn each_kind_needs_its_own_keys() {
    let one = |step: Value, expected: &[&str]| check(steps(json!([step])), expected);
    one(
        json!({"id": "a", "type": "switch"}),
        &["/steps/0/on: a step of type `switch` needs `on`", "/steps/0/cases: a step of type `switch` needs `cases`"],
    );
    one(
        json!({"id": "a", "type": "while"}),
        &[
            "/steps/0/while: a step of type `while` needs `while`",
            "/steps/0/steps: a step of type `while` needs `steps`",
        ],
    );
    one(json!({"id": "a", "type": "workflow"}), &["/steps/0/workflow: a step of type `workflow` needs `workflow`"]);
    one(
        json!({"id": "a", "type": "workflow", "workflow": "x/y"}),
        &["/steps/0/workflow: `x/y` is no name of a composite tool"],
    );
    let cases = |cases: Value| json!({"id": "a", "type": "switch", "on": "x", "cases": cases});
    let place = "/steps/0/cases";
    one(
        cases(json!([{"equals": null, "steps": []}])),
        &[&format!("{place}/0/equals: must be a text, a number or a boolean")],
    );
    one(
        cases(json!([{"equals": "{{.params.x}}", "steps": []}])),
        &[&format!("{place}/0/equals: is compared as it is written, and no template")],
    );
    one(
        cases(json!([{"equals": "1", "steps": []}, {"equals": 1, "steps": []}])),
        &[&format!("{place}/1/equals: another case equals `1`")],
    );
    one(
        json!({"id": "a", "tool": "t", "undo": {"tool": "-", "arguments": {"x": "{{.steps.b.status}}"}}}),
        &[
            "/steps/0/undo/tool: `-` is no name of a tool, like `github.create_issue`",
            "/steps/0/undo/arguments/x: no step is called `b`",
        ],
    );
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let one = |step: Value, expected: &[&str]| {
        let expected: Vec<_> = expected.iter().map(|line| format!("/steps/0/{line}")).collect();
        assert_eq!(problems(&steps(json!([step]))), expected, "{step}");
    };
    one(
        json!({"id": "a", "tool": "t", "collection": "[]", "itemVar": "x", "maxIterations": 1}),
        &[
            "collection: a step of type `tool` has no `collection`",
            "itemVar: a step of type `tool` has no `itemVar`",
            "maxIterations: a step of type `tool` has no `maxIterations`",
        ],
    );
    one(
        json!({"id": "a", "type": "elicitation", "message": "m", "undo": {"tool": "t"}}),
        &["undo: a step of type `elicitation` has no `undo`"],
    );
    one(
        json!({"id": "a", "type": "forEach", "collection": "[]", "step": {"tool": "t", "onDecline": {"action": "abort"}}}),
        &["step/onDecline: a step of type `tool` has no `onDecline`"],
    );
    let mut retried = rounds(json!([{"id": "a", "tool": "t"}]));
    retried["onError"] = json!({"action": "retry", "retryCount": 1});
    one(retried, &["onError/action: a step of type `while` is not tried again, but the steps inside it can be"]);
    // `type` says which of the two is meant
    one(json!({"id": "a", "type": "tool", "tool": "t", "message": "m"}), &[]);
    one(json!({"id": "a", "type": "elicitation", "tool": "t", "message": "m"}), &[]);
}

#[test]
fn ids_are_unique_over_the_whole_document() {
    let a = json!({"id": "a", "tool": "t"});
    check(
        steps(json!([switch(json!([a]), json!([a])), rounds(json!([a]))])),
        &["/steps/0/default/0/id: another step is called `a`", "/steps/1/steps/0/id: another step is called `a`"],
    );
}

#[test]
fn dependencies_stay_within_a_list() {
    let inner = json!({"id": "in", "tool": "t", "dependsOn": ["out"]});
    check(
        steps(json!([{"id": "out", "tool": "t"}, rounds(json!([inner]))])),
        &["/steps/1/steps/0/dependsOn/0: no step of its list is called `out`"],
    );
    check(
        steps(json!([{"id": "out", "tool": "t", "dependsOn": ["in"]}, rounds(json!([{"id": "in", "tool": "t"}]))])),
        &["/steps/0/dependsOn/0: no step is called `in`"],
    );
    check(
        steps(json!([rounds(json!([{"id": "in", "tool": "t", "dependsOn": ["in"]}]))])),
        &["/steps/0/steps/0/dependsOn: step `in` waits for itself, by way of its dependencies"],
    );
}

#[test]
fn templates_inside_read_what_is_done_by_then() {
    let check = |template: &str, expected: Option<&str>| {
        let mut sw = switch(
            json!([{"id": "first", "tool": "t"}, {"id": "in", "tool": "t", "dependsOn": ["first"], "arguments": {"x": template}}]),
            json!([{"id": "other", "tool": "t"}]),
        );
        sw["dependsOn"] = json!(["done"]);
        let wait = rounds(json!([{"id": "turn", "tool": "t"}]));
        let document = steps(json!([{"id": "done", "tool": "t"}, {"id": "late", "tool": "t"}, sw, wait]));
        let expected: Vec<_> =
            expected.map(|line| format!("/steps/2/cases/0/steps/1/arguments/x: {line}")).into_iter().collect();
        assert_eq!(problems(&document), expected, "{template}");
    };
    check("{{.steps.done.output.x}}{{.steps.first.output.x}}", None);
    check(
        "{{.steps.late.status}}",
        Some("step `in` reads step `late`, which need not be done before: add it to `dependsOn` of `sw`"),
    );
    check("{{.steps.sw.status}}", Some("step `in` reads step `sw`, which it is inside of"));
    check("{{.steps.other.status}}", Some("step `in` reads step `other`, which is in another case of step `sw`"));
    check(
        "{{.steps.turn.status}}",
        Some("step `in` reads step `turn`, which is inside step `w`: read `.steps.w.output.steps.turn`"),
    );
    check("{{.round.index}}", Some("`.round` is there only inside a step of type `while`"));
}

#[test]
fn outputs_of_steps_around_others_have_their_keys() {
    let check = |template: &str, expected: Option<&str>| {
        let mut after = reading("after", template);
        after["dependsOn"] = json!(["sw", "w"]);
        let sw = switch(json!([{"id": "a", "tool": "t"}]), json!([{"id": "b", "tool": "t"}]));
        let document = steps(json!([sw, rounds(json!([{"id": "c", "tool": "t"}])), after]));
        let expected: Vec<_> = expected.map(|line| format!("/steps/2/arguments/x: {line}")).into_iter().collect();
        assert_eq!(problems(&document), expected, "{template}");
    };
    check("{{.steps.sw.output.case}}{{.steps.sw.output.steps.b.text}}{{.steps.sw.output.output.any}}", None);
    check("{{.steps.w.output.count}}{{.steps.w.output.steps.c}}", None);
    check("{{.steps.sw.output.text}}", Some("the output of step `sw` has `case`, `output`, `steps`, and no `text`"));
    check("{{.steps.sw.output.steps.c}}", Some("no step inside step `sw` is called `c`"));
    check(
        "{{.steps.a.output.x}}",
        Some("step `after` reads step `a`, which is inside step `sw`: read `.steps.sw.output.steps.a`"),
    );
    let document =
        steps_and_output(json!([rounds(json!([{"id": "c", "tool": "t"}]))]), &[("o", "string", "{{.steps.c.status}}")]);
    assert_eq!(
        problems(&document),
        ["/output/properties/o/value: step `c` is inside step `w`: read `.steps.w.output.steps.c`"]
    );
}

#[test]
fn rounds_read_the_steps_of_the_round_before() {
    let check = |template: &str, expected: Option<&str>| {
        let mut document = rounds(json!([reading("c", template)]));
        document["while"] = "{{.round.previous.c.status}}".into();
        let expected: Vec<_> =
            expected.map(|line| format!("/steps/0/steps/0/arguments/x: {line}")).into_iter().collect();
        assert_eq!(problems(&steps(json!([document]))), expected, "{template}");
    };
    check("{{.round.previous.c.output.x}}{{.round.index}}", None);
    check("{{.round.previous.d.output.x}}", Some("no step of the loop is called `d`"));
    let mut document = rounds(json!([{"id": "c", "tool": "t"}]));
    document["condition"] = "{{.round.index}}".into();
    document["while"] = "{{.steps.c.status}}".into();
    assert_eq!(problems(&steps(json!([document]))).len(), 2);
}

#[test]
fn nesting_and_the_number_of_steps_have_limits() {
    let nested = |depth: usize| {
        let inner = json!([{"id": "last", "tool": "t"}]);
        (0..depth)
            .fold(inner, |inner, n| json!([{"id": format!("w{n}"), "type": "while", "while": "false", "steps": inner}]))
    };
    check(steps(nested(8)), &[]);
    assert!(problems(&steps(nested(9)))[0].ends_with("/steps: steps are nested deeper than 8"));
    let many = |name: &str| (0..50).map(|n| json!({"id": format!("{name}{n}"), "tool": "t"})).collect::<Value>();
    check(
        steps(json!([switch(many("a"), many("b"))])),
        &["/steps: 101 steps, those inside others included, are more than 100"],
    );
}

#[test]
fn a_workflow_that_calls_itself_is_refused() {
    let call = json!({"id": "a", "type": "workflow", "workflow": "w"});
    check(steps(json!([call])), &["/steps/0/workflow: `w` would call itself"]);
    let each = json!({"id": "l", "type": "forEach", "collection": "[]", "step": call});
    check(steps(json!([each])), &["/steps/0/step/workflow: `w` would call itself"]);
    check(steps(json!([rounds(json!([call]))])), &["/steps/0/steps/0/workflow: `w` would call itself"]);
}

#[test]
fn an_undo_reads_what_its_step_reads_and_the_step_itself() {
    let undo = |template: &str| json!({"id": "a", "tool": "t", "condition": "true", "undo": {"tool": "t", "arguments": {"x": template}}});
    check(steps(json!([undo("{{.steps.a.output.id}}")])), &[]);
    check(
        steps(json!([undo("{{.steps.b.output.id}}"), {"id": "b", "tool": "t"}])),
        &["/steps/0/undo/arguments/x: step `a` reads step `b`, which need not be done before: add it to `dependsOn`"],
    );
}
