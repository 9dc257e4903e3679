//! Which step runs when, how many at a time, and for how long.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use vmcp_tests::{Behaviour, Era, FakeBackend, ScriptedReply};

use super::{composites, failure, host_of, most_at_a_time, run};
use crate::bridge::{call_and_be_asked, client_of};

#[tokio::test]
async fn cmp_05_steps_that_do_not_wait_for_each_other_run_side_by_side() {
    let tools = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1", "c2", "c3"];
    let backend = tools.iter().fold(FakeBackend::new(), |backend, tool| {
        backend.scripted(tool, [ScriptedReply::structured(&json!({ "by": tool })).after_ms(100)])
    });
    let levels = "steps: [
        { id: a1, tool: a1 }, { id: a2, tool: a2 }, { id: a3, tool: a3 }, { id: a4, tool: a4 },
        { id: b1, tool: b1, dependsOn: [a1, a2] }, { id: b2, tool: b2, dependsOn: [a2, a3] }, { id: b3, tool: b3,
            dependsOn: [a4] },
        { id: c1, tool: c1, dependsOn: [b1, b2] }, { id: c2, tool: c2, dependsOn: [b3, a1] }, { id: c3, tool: c3,
            dependsOn: [b2] } ]";
    let (host, calls) = host_of(backend, &composites(&[("levels", levels)])).await;
    let client = host.connect().await;
    let began = Instant::now();
    assert_eq!(run(&client, "levels", json!({})).await, json!({ "by": "c3" }));
    // One after the other they take a second. No measure: a busy machine may take three times what it should.
    assert!(began.elapsed() < Duration::from_millis(900), "{:?}", began.elapsed());
    assert!(calls.events()[..4].iter().all(|event| event.starts_with("begin a")), "{:?}", calls.events());
    let waits = [
        ("a1", "b1"),
        ("a2", "b1"),
        ("a2", "b2"),
        ("a3", "b2"),
        ("a4", "b3"),
        ("b1", "c1"),
        ("b2", "c3"),
        ("b3", "c2"),
    ];
    for (first, then) in waits {
        let (first, then) = (format!("end {first}"), format!("begin {then}"));
        assert!(calls.has_in_order(&first, &then), "{first}, {then}: {:?}", calls.events());
    }
}

#[tokio::test]
async fn cmp_05_a_slow_sibling_delays_nobody() {
    // `slow` ends when `last` was called, which a barrier after the first level would keep from ever happening.
    let backend = FakeBackend::echo(["first", "middle", "last"]).tool("slow", Behaviour::Calls);
    let chain = "steps: [
        { id: slow, tool: slow, arguments: { tool: last } }, { id: first, tool: first },
        { id: middle, tool: middle, dependsOn: [first] }, { id: last, tool: last, dependsOn: [middle] } ]";
    let (host, calls) = host_of(backend, &composites(&[("chain", chain)])).await;
    run(&host.connect().await, "chain", json!({})).await;
    for (first, then) in [("end first", "begin middle"), ("end middle", "begin last"), ("begin last", "end slow")] {
        assert!(calls.has_in_order(first, then), "{first}, {then}: {:?}", calls.events());
    }
}

#[tokio::test]
async fn cmp_05_the_first_failure_cancels_what_is_under_way_and_starts_nothing_more() {
    let backend = FakeBackend::echo(["after"])
        .tool("never", Behaviour::Never)
        .tool("fails", Behaviour::ToolError)
        .tool("meets", Behaviour::Calls);
    // The failing step waits for the other to be under way.
    let stops = "steps: [
        { id: never, tool: never }, { id: meets, tool: meets, arguments: { tool: never } },
        { id: fails, tool: fails, dependsOn: [meets] }, { id: after, tool: after, dependsOn: [never, fails] } ]";
    let (host, calls) = host_of(backend, &composites(&[("stops", stops)])).await;
    let said = failure(&host.connect().await, "stops", json!({})).await;
    assert!(said.ends_with("step `fails` failed: tool `fails`: it did not work"), "{said}");
    calls.wait_for("cancelled never").await;
    assert!(calls.arguments("after").is_empty());
}

#[tokio::test]
async fn cmp_04_ten_steps_run_at_a_time_and_no_more() {
    let ids = |count: usize, tool: &str| -> String {
        let steps: Vec<_> = (0..count).map(|index| format!("{{ id: s{index}, tool: {tool} }}")).collect();
        format!("steps: [{}]", steps.join(", "))
    };
    let backend = FakeBackend::new()
        .tool("meet", Behaviour::Meet { calls: 10 })
        .scripted("short", [ScriptedReply::text("x").after_ms(50)]);
    let tools = composites(&[("ten", &ids(10, "meet")), ("many", &ids(25, "short"))]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    run(&client, "ten", json!({})).await;
    calls.clear();
    run(&client, "many", json!({})).await;
    assert!(calls.tools().len() == 25 && most_at_a_time(&calls) <= 10, "{:?}", calls.events());
}

#[tokio::test]
async fn cmp_04_a_step_or_a_workflow_that_takes_too_long_fails_and_its_call_is_cancelled() {
    let backend = FakeBackend::echo(["echo"]).tool("never", Behaviour::Never);
    let tools = composites(&[
        ("step", "steps: [{ id: hangs, tool: never, timeout: 200ms }]"),
        (
            "whole",
            "timeout: 200ms, steps: [{ id: quick, tool: echo }, { id: one, tool: never, dependsOn: [quick] },
                { id: two, tool: never }]",
        ),
        (
            "goes_on",
            "steps: [
            { id: hangs, tool: never, timeout: 200ms, onError: { action: continue }, defaultResults: { text: none } },
            { id: after, tool: echo, dependsOn: [hangs], arguments: { got: '{{.steps.hangs.output.text}}' } } ]",
        ),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        let check = async |tool: &str, parts: &[&str]| {
            let said = failure(&client, tool, json!({})).await;
            assert!(parts.iter().all(|part| said.contains(part)), "{said}");
            calls.wait_for("cancelled never").await;
            calls.clear();
        };
        check("step", &["step `hangs` failed", "200ms"]).await;
        check("whole", &["the workflow timed out after 200ms", "`one`, `two`"]).await;
        assert_eq!(run(&client, "goes_on", json!({})).await, json!({ "text": r#"{"got":"none"}"# }));
        calls.clear();
    }
}

#[tokio::test]
async fn cmp_05_many_runs_at_a_time_do_not_mix_nor_wait_for_each_other() {
    let steps = "steps: [
        { id: one, tool: inner, arguments: { n: '{{.params.n}}' } }, { id: two, tool: inner,
            arguments: { n: '{{.params.n}}' } },
        { id: last, tool: echo, dependsOn: [one, two], arguments: { n: '{{.params.n}}',
            got: '{{.steps.one.output.text}} {{.steps.two.output.text}}' } } ]";
    let asks = "steps: [{ id: s, type: elicitation, message: 'Go on?', schema: { type: object, properties: {} } }]";
    let inner = "steps: [{ id: s, tool: echo, arguments: { n: '{{.params.n}}' } }]";
    let tools = composites(&[("outer", steps), ("inner", inner), ("asks", asks)]);
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    // Runs that wait for a person hold nothing that others need.
    let able = client_of(&host, Era::Modern, json!({ "elicitation": { "form": {} } })).await;
    let waiting = join_all((0..60).map(|_| call_and_be_asked(&able, "asks", json!({}), 1))).await;
    let client = host.connect().await;
    let runs = (0..60).map(|n| {
        let client = &client;
        async move {
            let said = format!(r#"{{"n":"{n}"}}"#);
            let expected = json!({ "n": n.to_string(), "got": format!("{said} {said}") });
            let output = run(client, "outer", json!({ "n": n })).await;
            assert_eq!(serde_json::from_str::<Value>(output["text"].as_str().unwrap()).unwrap(), expected);
        }
    });
    join_all(runs).await;
    for asked in waiting {
        let reply = asked.answer(&json!({ "action": "accept", "content": {} })).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    }
}
