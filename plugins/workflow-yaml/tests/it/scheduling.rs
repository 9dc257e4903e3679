//! Which step starts when.

use serde_json::{Value, json};

use crate::world::{FakeWorld, What, ms, steps, text};

fn step(id: &str, depends_on: &[&str]) -> Value {
    json!({"id": id, "tool": id, "dependsOn": depends_on})
}

fn world(times: &[(&str, u64)]) -> FakeWorld {
    times.iter().fold(FakeWorld::new(), |world, (tool, time)| world.answers(tool, ms(*time), text(tool)))
}

#[test]
fn three_levels_of_parallel_steps_take_three_times_one() {
    let tools = ["a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "c3"];
    let world = world(&tools.map(|tool| (tool, 100)));
    let level = |name: &str, before: &[&str]| (1..=3).map(|n| step(&format!("{name}{n}"), before)).collect::<Vec<_>>();
    let all = [level("a", &[]), level("b", &["a1", "a2", "a3"]), level("c", &["b1", "b2", "b3"])].concat();
    assert_eq!(world.run(&steps(all.into()), json!({})), Ok(json!({"text": "c3"})));
    assert_eq!(world.now(), ms(300));
}

#[test]
fn a_step_waits_for_its_own_dependencies_only() {
    let world = world(&[("slow", 500), ("quick", 10), ("after-quick", 400), ("end", 50)]);
    let document = steps(json!([
        step("slow", &[]),
        step("quick", &[]),
        step("after-quick", &["quick"]),
        step("end", &["slow", "after-quick"]),
    ]));
    world.run(&document, json!({})).unwrap();
    let called = [(0, "slow"), (0, "quick"), (10, "after-quick"), (500, "end")];
    assert_eq!(world.called(), called.map(|(at, tool)| (at, tool.to_owned())));
    assert_eq!(world.now(), ms(550));
}

#[test]
fn ten_steps_run_at_once_and_the_first_declared_first() {
    let tools: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
    let world = world(&tools.iter().map(|tool| (tool.as_str(), 100)).collect::<Vec<_>>());
    world.run(&steps(tools.iter().map(|tool| step(tool, &[])).collect()), json!({})).unwrap();
    let expected: Vec<_> = tools.iter().enumerate().map(|(n, tool)| (n as u64 / 10 * 100, tool.clone())).collect();
    assert_eq!(world.called(), expected);
}

#[test]
fn dependencies_may_be_declared_later() {
    let world = world(&[("a", 10), ("b", 10)]);
    assert_eq!(world.run(&steps(json!([step("a", &["b"]), step("b", &[])])), json!({})), Ok(json!({"text": "a"})));
    assert_eq!(world.called(), [(0, "b".to_owned()), (10, "a".to_owned())]);
}

#[test]
fn the_first_failure_cancels_what_runs_and_starts_nothing() {
    let world = world(&[("slow", 100), ("next", 10)]).answers("bad", ms(50), crate::world::error("no"));
    let document = steps(json!([step("slow", &[]), step("bad", &[]), step("next", &["slow"])]));
    let error = world.run(&document, json!({})).unwrap_err();
    assert_eq!(error.to_string(), "step `bad` failed: tool `bad`: no");
    assert_eq!(world.cancelled(), ["slow"]);
    assert_eq!(world.now(), ms(50));
    assert!(!world.called().iter().any(|(_, tool)| tool == "next"));
}

#[test]
fn a_workflow_ends_when_its_time_is_up() {
    let world = world(&[("a", 1500), ("b", 5000)]);
    let mut document = steps(json!([step("a", &[]), step("b", &["a"])]));
    document["timeout"] = "2s".into();
    let error = world.run(&document, json!({})).unwrap_err();
    assert_eq!(error.to_string(), "the workflow timed out after 2s, while these steps were under way: `b`");
    assert_eq!((world.now(), world.cancelled()), (ms(2000), vec!["b".to_owned()]));
}

#[test]
fn one_sleep_stands_for_the_deadlines_of_all_steps() {
    let world = world(&[("a", 100), ("b", 200), ("c", 100)]);
    let limited = |id: &str, timeout: &str, depends_on: &[&str]| json!({"id": id, "tool": id, "timeout": timeout, "dependsOn": depends_on});
    let all = json!([limited("a", "1s", &[]), limited("b", "10s", &[]), limited("c", "10s", &["a", "b"])]);
    world.run(&steps(all), json!({})).unwrap();
    assert_eq!(*world.sleeps.borrow(), [(ms(0), ms(1000))]);
}

#[test]
fn each_deadline_is_kept_whichever_comes_first() {
    let world = world(&[("a", 5000), ("b", 5000), ("c", 5000)]);
    let limited = |id: &str, timeout: &str, depends_on: &[&str]| {
        let on_error = json!({"action": "continue"});
        json!({"id": id, "tool": id, "timeout": timeout, "dependsOn": depends_on, "onError": on_error})
    };
    let all = json!([limited("a", "300ms", &[]), limited("b", "100ms", &[]), limited("c", "50ms", &["b"])]);
    world.run(&steps(all), json!({})).unwrap();
    let ends = world
        .events
        .borrow()
        .iter()
        .filter(|event| event.what == What::Cancelled)
        .map(|event| (event.at, event.tool.clone()))
        .collect::<Vec<_>>();
    assert_eq!(ends, [(ms(100), "b".to_owned()), (ms(150), "c".to_owned()), (ms(300), "a".to_owned())]);
}

#[test]
fn every_finished_step_is_progress() {
    let world = world(&[("a", 20), ("b", 10)]);
    let document = steps(json!([
        step("a", &[]), step("b", &[]), {"id": "c", "tool": "a", "condition": "false", "dependsOn": ["a"]},
    ]));
    world.run(&document, json!({})).unwrap();
    let expected = ["1/3 step `b` completed", "2/3 step `a` completed", "3/3 step `c` skipped"];
    assert_eq!(*world.progress.borrow(), expected);
}

#[test]
fn a_step_sees_the_steps_that_it_depends_on_and_no_others() {
    let world = FakeWorld::new().echo("echo").answers("a", ms(0), text("x"));
    let document = steps(json!([
        {"id": "a", "tool": "a"}, {"id": "b", "tool": "a"}, {"id": "c", "tool": "a", "dependsOn": ["a"]},
        {"id": "d", "tool": "echo", "dependsOn": ["c"],
         "arguments": {"ids": "{{range $id, $step := .steps}}{{$id}} {{end}}", "count": "{{.workflow.step_count}}"}},
    ]));
    assert_eq!(world.run(&document, json!({})), Ok(json!({"ids": "a c ", "count": "2"})));
}
