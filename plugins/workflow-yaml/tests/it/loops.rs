//! Steps of type `forEach`.

use serde_json::{Value, json};
use workflow_yaml::CallError;

use crate::world::{FakeWorld, error, ms, steps, structured, text};

fn for_each(more: Value, inner: Value) -> Value {
    let mut step = json!({"id": "loop", "type": "forEach", "collection": "{{json .params.items}}", "step": inner});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    steps(json!([step]))
}

#[test]
fn each_element_is_an_iteration() {
    let world = FakeWorld::new().echo("echo").schema("echo", json!({"properties": {"n": {"type": "integer"}}}));
    let inner = json!({"tool": "echo", "arguments": {"n": "{{.forEach.file.size}}", "at": "{{.forEach.index}}"}});
    let output = world.run(&for_each(json!({"itemVar": "file"}), inner), json!({"items": [{"size": 7}, {"size": 8}]}));
    let iteration = |index: u64, size: u64| {
        let output = json!({"n": size, "at": index.to_string()});
        json!({"index": index, "item": {"size": size}, "status": "completed", "output": output})
    };
    let expected = json!({"iterations": [iteration(0, 7), iteration(1, 8)], "count": 2, "completed": 2, "failed": 0});
    assert_eq!(output, Ok(expected));
}

#[test]
fn no_elements_are_no_iterations() {
    let output = FakeWorld::new().run(&for_each(json!({}), json!({"tool": "echo"})), json!({"items": []}));
    assert_eq!(output, Ok(json!({"iterations": [], "count": 0, "completed": 0, "failed": 0})));
}

#[test]
fn iterations_are_limited_in_all_and_at_a_time() {
    let check = |more: Value, items: usize, expected: Result<u64, &str>| {
        let world = FakeWorld::new().answers("wait", ms(100), text("x"));
        let items = vec![1; items];
        let result = world.run(&for_each(more.clone(), json!({"tool": "wait"})), json!({"items": items}));
        let result = result.map(|_| world.now()).map_err(|error| error.to_string());
        assert_eq!(
            result,
            expected.map(ms).map_err(|reason| format!("step `loop` failed: collection: {reason}")),
            "{more}"
        );
    };
    check(json!({}), 100, Ok(1000));
    check(json!({}), 101, Err("101 elements, and `maxIterations` is 100"));
    check(json!({"maxIterations": 1000, "maxParallel": 50}), 1000, Ok(2000));
    check(json!({"maxParallel": 1}), 3, Ok(300));
    check(json!({"maxParallel": 0, "maxIterations": 0}), 20, Ok(200));
}

#[test]
fn the_collection_must_be_an_array() {
    let check = |collection: &str| {
        let document = for_each(json!({"collection": collection}), json!({"tool": "echo"}));
        let error = FakeWorld::new().run(&document, json!({"items": {"a": 1}})).unwrap_err();
        assert!(error.to_string().starts_with("step `loop` failed: collection: it must yield a JSON array"), "{error}");
    };
    check("{{json .params.items}}");
    check("{{.params.missing}}");
    check("{{.params.items}}");
}

/// Fails for odd elements.
fn odd() -> FakeWorld {
    FakeWorld::new().tool("odd", |_, arguments| {
        let n = arguments["n"].as_str().unwrap().parse::<u64>().unwrap();
        (
            ms(10 * (n + 1)),
            if n % 2 == 1 { Err(CallError::Other(format!("{n} is odd"))) } else { Ok(structured(json!({"n": n}))) },
        )
    })
}

#[test]
fn the_first_failure_ends_the_loop_and_cancels_the_rest() {
    let world = odd();
    let inner = json!({"tool": "odd", "arguments": {"n": "{{.forEach.item}}"}});
    let error = world.run(&for_each(json!({"maxParallel": 3}), inner), json!({"items": [0, 1, 2, 3]})).unwrap_err();
    assert_eq!(error.to_string(), "step `loop` failed: iteration 1: tool `odd`: 1 is odd");
    assert_eq!((world.called().len(), world.cancelled().len()), (4, 2));
}

#[test]
fn failing_iterations_pass_when_the_loop_or_its_step_continues() {
    let go_on = json!({"action": "continue"});
    let check = |more: Value, inner: Value, output: Value| {
        let mut inner = inner;
        inner["tool"] = "odd".into();
        inner["arguments"] = json!({"n": "{{.forEach.item}}"});
        let result = odd().run(&for_each(more, inner), json!({"items": [0, 1]})).unwrap();
        assert_eq!((&result["completed"], &result["failed"], &result["count"]), (&json!(1), &json!(1), &json!(2)));
        let failed =
            json!({"index": 1, "item": 1, "status": "failed", "output": output, "error": "tool `odd`: 1 is odd"});
        assert_eq!(result["iterations"][1], failed);
    };
    check(json!({"onError": go_on}), json!({}), json!(null));
    check(json!({}), json!({"onError": go_on, "defaultResults": {"n": 9}}), json!({"n": 9}));
}

#[test]
fn the_inner_step_keeps_its_condition_retries_and_timeout() {
    let world = FakeWorld::new()
        .tool("flaky", |number, _| (ms(0), if number == 0 { Ok(error("again")) } else { Ok(text("up")) }))
        .answers("slow", ms(60_000), text("late"));
    let flaky = json!({"tool": "flaky", "condition": "{{ne .forEach.index 1}}", "defaultResults": {"text": "left out"},
        "onError": {"action": "retry", "retryCount": 1}});
    let result = world.run(&for_each(json!({}), flaky), json!({"items": ["a", "b", "c"]})).unwrap();
    let of =
        |key: &str| result["iterations"].as_array().unwrap().iter().map(|one| one[key].clone()).collect::<Vec<_>>();
    assert_eq!(of("status"), ["completed", "skipped", "completed"]);
    assert_eq!(of("output"), [json!({"text": "up"}), json!({"text": "left out"}), json!({"text": "up"})]);
    assert_eq!((&result["completed"], &result["failed"]), (&json!(2), &json!(0)));
    assert_eq!(world.called().len(), 3);
    let slow = json!({"tool": "slow", "timeout": "2s"});
    let error = world.run(&for_each(json!({}), slow), json!({"items": [1]})).unwrap_err();
    assert_eq!(error.to_string(), "step `loop` failed: iteration 0: timed out after 2s");
}
