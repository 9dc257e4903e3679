//! Conditions, `onError`, retries, timeouts, default results.

use serde_json::{Value, json};
use workflow_yaml::{CallError, Level};

use crate::world::{FakeWorld, error, ms, steps, steps_and_output, text};

/// A tool that fails `failures` times, then answers.
fn flaky(failures: usize) -> FakeWorld {
    FakeWorld::new().tool("flaky", move |number, _| {
        (ms(0), if number < failures { Err(CallError::Unavailable("down".into())) } else { Ok(text("up")) })
    })
}

fn flaky_step(on_error: Value) -> Value {
    steps(json!([{"id": "a", "tool": "flaky", "onError": on_error, "defaultResults": {"text": "default"}}]))
}

fn call_times(world: &FakeWorld) -> Vec<u64> {
    world.called().into_iter().map(|(at, _)| at).collect()
}

#[test]
fn a_condition_is_exactly_true_or_false() {
    let check = |condition: &str, expected: Result<&str, &str>| {
        let world = FakeWorld::new().answers("a", ms(0), text("ran")).echo("echo");
        let document = steps_and_output(
            json!([{"id": "a", "tool": "a", "condition": condition, "defaultResults": {"text": "default"}}]),
            &[("text", "string", "{{.steps.a.status}} {{.steps.a.output.text}}")],
        );
        let result = world.run(&document, json!({"yes": true, "n": 3})).map_err(|error| error.to_string());
        let expected = expected
            .map(|text| json!({"text": text}))
            .map_err(|reason| format!("step `a` failed: condition: {reason}"));
        assert_eq!(result, expected, "{condition}");
    };
    for yes in ["true", "True", "TRUE", "{{.params.yes}}", "{{eq .params.n 3}}", "{{gt .params.n 2.5}}", ""] {
        check(yes, Ok("completed ran"));
    }
    for no in ["false", "False", "FALSE", "{{not .params.yes}}", "{{and .params.yes (lt .params.n 3)}}"] {
        check(no, Ok("skipped default"));
    }
    check(" true", Err("it must yield `true` or `false`, not \" true\""));
    check("{{.params.missing}}", Err("it must yield `true` or `false`, not \"<no value>\""));
    check("{{lt .params.yes 3}}", Err("incompatible types for comparison: bool and int"));
}

#[test]
fn dependants_of_a_skipped_step_run() {
    let world = FakeWorld::new().echo("echo");
    let document = steps(json!([
        {"id": "a", "tool": "echo", "condition": "false"},
        {"id": "b", "tool": "echo", "dependsOn": ["a"], "arguments": {"a": "{{.steps.a.status}} {{.steps.a.output}}"}},
    ]));
    assert_eq!(world.run(&document, json!({})), Ok(json!({"a": "skipped map[]"})));
}

#[test]
fn retries_wait_longer_each_time() {
    let world = flaky(4);
    world.run(&flaky_step(json!({"action": "retry", "retryCount": 4})), json!({})).unwrap();
    assert_eq!(call_times(&world), [0, 1000, 2500, 4750, 8125]);
}

#[test]
fn waits_are_spread_by_half() {
    let check = |chance: f64, expected: [u64; 3]| {
        let world = flaky(2);
        world.chance.set(chance);
        world.run(&flaky_step(json!({"action": "retry", "retryCount": 2, "retryDelay": "2s"})), json!({})).unwrap();
        assert_eq!(call_times(&world), expected);
    };
    check(0.0, [0, 1000, 2500]);
    check(1.0, [0, 3000, 7500]);
}

#[test]
fn retries_end_after_a_quarter_of_an_hour() {
    let world = flaky(9);
    let mut document = flaky_step(json!({"action": "retry", "retryCount": 9, "retryDelay": "4m"}));
    document["steps"][0]["timeout"] = "1h".into();
    assert!(world.run(&document, json!({})).is_err());
    assert_eq!(call_times(&world), [0, 240_000, 600_000]);
}

#[test]
fn after_the_last_retry_the_workflow_fails_or_goes_on() {
    let world = flaky(9);
    let failed = world.run(&flaky_step(json!({"action": "retry", "retryCount": 2})), json!({})).unwrap_err();
    assert_eq!(failed.to_string(), "step `a` failed: tool `flaky`: unavailable: down");
    assert_eq!(world.called().len(), 3);
    let world = flaky(9);
    let mut document = flaky_step(json!({"action": "continue", "retryCount": 2}));
    document["output"] =
        json!({"properties": {"a": {"type": "object", "description": "d", "value": "{{json .steps.a}}"}}});
    let step = json!({"status": "failed", "output": {"text": "default"}, "error": "tool `flaky`: unavailable: down"});
    assert_eq!(world.run(&document, json!({})), Ok(json!({"a": step})));
    assert_eq!(world.called().len(), 3);
    assert!(world.logged.borrow().iter().any(|(level, message)| *level == Level::Warn && message.contains("goes on")));
}

#[test]
fn results_that_are_errors_are_retried_and_lasting_failures_are_not() {
    let retry = json!({"action": "retry", "retryCount": 3});
    let check = |result: Result<Value, CallError>, calls: usize| {
        let world = FakeWorld::new().tool("flaky", move |_, _| (ms(0), result.clone()));
        assert!(world.run(&flaky_step(retry.clone()), json!({})).is_err());
        assert_eq!(world.called().len(), calls);
    };
    check(Ok(error("bad")), 4);
    check(Err(CallError::TimedOut), 4);
    check(Err(CallError::Other("?".into())), 4);
    check(Err(CallError::UnknownTool), 1);
    check(Err(CallError::Denied("not yours".into())), 1);
    check(Err(CallError::Cancelled), 1);
}

#[test]
fn conditions_and_templates_are_not_retried() {
    for broken in [json!({"condition": "maybe"}), json!({"arguments": {"x": "{{index .params.list 9}}"}})] {
        let mut document = flaky_step(json!({"action": "retry", "retryCount": 3}));
        document["steps"][0].as_object_mut().unwrap().extend(broken.as_object().unwrap().clone());
        let world = flaky(0);
        world.run(&document, json!({"list": []})).unwrap_err();
        assert_eq!((world.called().len(), world.now()), (0, ms(0)));
    }
}

#[test]
fn continue_gives_the_default_results_whatever_failed() {
    let check = |step: Value| {
        let mut step = step;
        step["id"] = "a".into();
        step["onError"] = json!({"action": "continue"});
        step["defaultResults"] = json!({"text": "default"});
        let document =
            steps_and_output(json!([step]), &[("a", "string", "{{.steps.a.status}} {{.steps.a.output.text}}")]);
        let world = FakeWorld::new()
            .answers("bad", ms(0), error("bad"))
            .user(ms(0), workflow_yaml::Elicited::Failed("the client cannot ask".into()));
        assert_eq!(world.run(&document, json!({"list": []})), Ok(json!({"a": "failed default"})), "{step}");
    };
    check(json!({"tool": "bad"}));
    check(json!({"tool": "missing"}));
    check(json!({"tool": "bad", "condition": "maybe"}));
    check(json!({"tool": "bad", "arguments": {"x": "{{index .params.list 9}}"}}));
    check(json!({"type": "elicitation", "message": "?"}));
    check(json!({"type": "elicitation", "message": "{{index .params.list 9}}"}));
    check(json!({"type": "forEach", "collection": "none", "step": {"tool": "bad"}}));
    check(json!({"type": "forEach", "collection": "[1, 2]", "maxIterations": 1, "step": {"tool": "bad"}}));
}

#[test]
fn a_step_has_a_timeout_of_five_minutes_or_its_own() {
    let check = |timeout: Option<&str>, expected: u64, message: &str| {
        let world = FakeWorld::new().answers("slow", ms(3_600_000), text("late"));
        let document = steps(json!([{"id": "a", "tool": "slow", "timeout": timeout}]));
        let error = world.run(&document, json!({})).unwrap_err();
        assert_eq!(
            (error.to_string(), world.now()),
            (format!("step `a` failed: timed out after {message}"), ms(expected))
        );
        assert_eq!(world.cancelled(), ["slow"]);
    };
    check(None, 300_000, "5m");
    check(Some("1m30s"), 90_000, "1m30s");
    check(Some("0"), 300_000, "5m");
}
