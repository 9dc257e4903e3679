//! Calls that take back what was done when a run fails.

use serde_json::{Value, json};
use workflow_yaml::{CallError, Elicited};

use crate::world::{FakeWorld, What, error, ms, steps, structured, text};

fn with_undo(id: &str, depends_on: &[&str]) -> Value {
    json!({"id": id, "tool": "make", "dependsOn": depends_on, "arguments": {"name": id}, "undo": {"tool": "drop",
        "arguments": {"what": format!("{{{{.steps.{id}.output.made}}}}"), "team": "{{.params.team}}"}}})
}

fn world() -> FakeWorld {
    FakeWorld::new()
        .tool("make", |number, arguments| {
            let time = if arguments["name"] == "slow" { ms(50) } else { ms(number as u64 + 1) };
            (time, Ok(structured(json!({"made": arguments["name"]}))))
        })
        .answers("drop", ms(5), text("gone"))
        .answers("bad", ms(100), error("no"))
}

/// What was dropped, and when, in ms.
fn dropped(world: &FakeWorld) -> Vec<(u64, Value)> {
    let events = world.events.borrow();
    let calls = events.iter().filter(|event| event.tool == "drop").filter_map(|event| match &event.what {
        What::Called(arguments) => Some((u64::try_from(event.at.as_millis()).unwrap(), arguments["what"].clone())),
        _ => None,
    });
    calls.collect()
}

#[test]
fn what_completed_is_undone_one_after_another_the_last_first() {
    let document = steps(json!([
        with_undo("slow", &[]), with_undo("a", &[]), with_undo("b", &["a"]),
        {"id": "bad", "tool": "bad", "dependsOn": ["a"]},
    ]));
    let world = world();
    let said = world.run(&document, json!({"team": "sre"})).unwrap_err().to_string();
    assert_eq!(said, "step `bad` failed: tool `bad`: no; undone: `slow`, `b`, `a`");
    assert_eq!(dropped(&world), [(102, json!("slow")), (107, json!("b")), (112, json!("a"))]);
    let events = world.events.borrow();
    let last = events.iter().rev().find_map(|event| match &event.what {
        What::Called(arguments) => Some(arguments.clone()),
        _ => None,
    });
    assert_eq!(last.unwrap(), json!({"what": "a", "team": "sre"}));
}

#[test]
fn what_did_not_complete_is_not_undone() {
    let mut skipped = with_undo("skipped", &[]);
    skipped["condition"] = "false".into();
    let mut failed = with_undo("failed", &[]);
    failed["tool"] = "bad".into();
    failed["onError"] = json!({"action": "continue"});
    let fails = json!({"id": "fails", "tool": "bad", "dependsOn": ["failed", "skipped"]});
    let world = world();
    let said = world.run(&steps(json!([skipped, failed, fails])), json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `fails` failed: tool `bad`: no");
    assert_eq!(dropped(&world), []);
}

#[test]
fn a_run_that_goes_on_undoes_nothing() {
    let bad = json!({"id": "bad", "tool": "bad", "dependsOn": ["a"], "onError": {"action": "continue"}});
    let world = world();
    world.run(&steps(json!([with_undo("a", &[]), bad])), json!({})).unwrap();
    assert_eq!(dropped(&world), []);
}

#[test]
fn an_undo_that_fails_is_told_and_keeps_none_of_the_others() {
    let document = steps(json!([
        with_undo("a", &[]), with_undo("b", &["a"]), with_undo("c", &["b"]), {"id": "bad", "tool": "bad", "dependsOn": ["c"]},
    ]));
    let world = world().tool("drop", |_, arguments| match arguments["what"].as_str() {
        Some("b") => (ms(1), Ok(error("held"))),
        Some("a") => (ms(1), Err(CallError::UnknownTool)),
        _ => (ms(1), Ok(text("gone"))),
    });
    let said = world.run(&document, json!({})).unwrap_err().to_string();
    let left = "step `b` could not be undone: tool `drop`: held; \
        step `a` could not be undone: tool `drop`: no tool has this name";
    assert_eq!(said, format!("step `bad` failed: tool `bad`: no; undone: `c`; {left}"));
}

#[test]
fn an_answer_that_ends_the_run_undoes_and_one_that_skips_the_rest_does_not() {
    let check = |action: Option<&str>, answer: Elicited, expected: usize| {
        let mut ask = json!({"id": "ask", "type": "elicitation", "message": "m", "dependsOn": ["a"]});
        if let Some(action) = action {
            ask["onDecline"] = json!({"action": action});
            ask["onCancel"] = json!({"action": action});
        }
        let world = world().user(ms(1), answer);
        let failed = world.run(&steps(json!([with_undo("a", &[]), ask])), json!({})).is_err();
        assert_eq!((dropped(&world).len(), failed), (expected, expected > 0), "{action:?}");
    };
    check(None, Elicited::Declined, 1);
    check(Some("abort"), Elicited::Cancelled, 1);
    check(Some("skip_remaining"), Elicited::Declined, 0);
    check(Some("continue"), Elicited::Cancelled, 0);
}

#[test]
fn iterations_rounds_and_cases_are_undone_too() {
    let mut made = with_undo("made", &[]);
    made["arguments"]["name"] = "{{.round.index}}".into();
    let mut each = with_undo("one", &[]);
    each["arguments"]["name"] = "{{.forEach.item}}".into();
    let document = steps(json!([
        {"id": "loop", "type": "while", "while": "{{lt .round.index 2}}", "steps": [
            {"id": "s", "type": "switch", "on": "x", "cases": [{"equals": "x", "steps": [made]}]}]},
        {"id": "each", "type": "forEach", "dependsOn": ["loop"], "collection": "[\"x\", \"y\"]", "maxParallel": 1, "step": each},
        {"id": "bad", "tool": "bad", "dependsOn": ["each"]},
    ]));
    let world = world();
    let said = world.run(&document, json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `bad` failed: tool `bad`: no; undone: `one`, `one`, `made`, `made`");
    let what: Vec<_> = dropped(&world).into_iter().map(|(_, what)| what).collect();
    assert_eq!(what, ["y", "x", "1", "0"]);
}

#[test]
fn a_run_that_is_too_late_or_has_no_output_is_undone() {
    let mut late = steps(json!([with_undo("a", &[]), {"id": "bad", "tool": "bad", "dependsOn": ["a"]}]));
    late["timeout"] = "20ms".into();
    let said = world().run(&late, json!({})).unwrap_err().to_string();
    assert!(said.ends_with("while these steps were under way: `bad`; undone: `a`"), "{said}");
    let mut document = steps(json!([with_undo("a", &[])]));
    document["output"] = json!({"properties": {"n": {"type": "integer", "description": "d", "value": "none"}}});
    let said = world().run(&document, json!({})).unwrap_err().to_string();
    assert_eq!(said, "output `n`: `none` is no integer; undone: `a`");
}

#[test]
fn an_undo_that_hangs_ends_with_the_time_of_its_step() {
    let mut a = with_undo("a", &[]);
    a["timeout"] = "1s".into();
    let document = steps(json!([a, {"id": "bad", "tool": "bad", "dependsOn": ["a"]}]));
    let world = world().answers("drop", ms(5000), text("gone"));
    let said = world.run(&document, json!({})).unwrap_err().to_string();
    assert!(said.ends_with("step `a` could not be undone: timed out after 1s"), "{said}");
}
