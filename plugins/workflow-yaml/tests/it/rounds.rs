//! Steps of type `while`.

use serde_json::{Value, json};

use crate::world::{FakeWorld, error, ms, steps, structured};

/// A tool that counts its calls.
fn counting(tool: &str) -> FakeWorld {
    FakeWorld::new().tool(tool, |number, _| (ms(1), Ok(structured(json!({"n": number, "done": number >= 2})))))
}

fn while_(more: Value) -> Value {
    let mut step = json!({"id": "wait", "type": "while", "while": "{{not .round.previous.ask.output.done}}",
        "steps": [{"id": "ask", "tool": "ask"}]});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    steps(json!([step]))
}

#[test]
fn rounds_follow_each_other_while_the_template_yields_true() {
    let world = counting("ask");
    let last = json!({"n": 2, "done": true});
    let output = world.run(&while_(json!({})), json!({})).unwrap();
    assert_eq!(output, json!({"count": 3, "output": last, "steps": {"ask": last}}));
    assert_eq!(world.called().len(), 3);
}

#[test]
fn a_round_sees_its_index_the_round_before_and_the_steps_around_the_loop() {
    let document = steps(json!([
        {"id": "first", "tool": "echo", "arguments": {"n": "f"}},
        {"id": "loop", "type": "while", "dependsOn": ["first"], "while": "{{lt .round.index 3}}", "steps": [
            {"id": "a", "tool": "echo", "arguments": {"n": "{{.steps.first.output.n}}{{.round.index}}"}},
            {"id": "b", "tool": "echo", "dependsOn": ["a"],
                "arguments": {"n": "{{with .round.previous.b}}{{.output.n}}{{end}}{{.steps.a.output.n}}"}},
        ]},
    ]));
    let output = FakeWorld::new().echo("echo").run(&document, json!({})).unwrap();
    assert_eq!(output["output"], json!({"n": "f0f1f2"}));
    assert_eq!(output["steps"]["a"], json!({"n": "f2"}));
}

#[test]
fn a_loop_may_have_no_round() {
    let output = FakeWorld::new().run(&while_(json!({"while": "false"})), json!({})).unwrap();
    assert_eq!(output, json!({"count": 0, "output": {}, "steps": {}}));
}

#[test]
fn too_many_rounds_fail_the_step() {
    let check = |more: Value, rounds: usize| {
        let world = counting("ask");
        let mut more = more;
        more["while"] = "true".into();
        let said = world.run(&while_(more), json!({})).unwrap_err().to_string();
        let expected = format!("`while` still yields true after {rounds} rounds, and `maxIterations` is {rounds}");
        assert_eq!(said, format!("step `wait` failed: {expected}"));
        assert_eq!(world.called().len(), rounds);
    };
    check(json!({}), 100);
    check(json!({"maxIterations": 2}), 2);
    check(json!({"maxIterations": 1000}), 1000);
    let exactly = counting("ask").run(&while_(json!({"maxIterations": 3})), json!({})).unwrap();
    assert_eq!(exactly["count"], 3);
}

#[test]
fn a_round_that_fails_is_named() {
    let world = FakeWorld::new().tool("ask", |number, _| {
        (ms(1), Ok(if number == 1 { error("no") } else { structured(json!({"done": false})) }))
    });
    let said = world.run(&while_(json!({})), json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `wait` failed: round 1: step `ask` failed: tool `ask`: no");
    let said = counting("ask").run(&while_(json!({"while": "perhaps"})), json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `wait` failed: while: it must yield `true` or `false`, not \"perhaps\"");
}

#[test]
fn loops_and_switches_nest() {
    let inner = json!({"id": "inner", "type": "while", "while": "{{lt .round.index 2}}",
        "steps": [{"id": "call", "tool": "echo", "arguments": {"n": "{{.round.index}}"}}]});
    let choose = json!({"id": "choose", "type": "switch", "on": "{{.round.index}}",
        "cases": [{"equals": 1, "steps": [inner]}]});
    let outer = json!({"id": "outer", "type": "while", "while": "{{lt .round.index 3}}", "steps": [choose]});
    let world = FakeWorld::new().echo("echo");
    world.run(&steps(json!([outer])), json!({})).unwrap();
    assert_eq!(world.called().len(), 2);
}
