//! Steps that fail: tried again, passed over, or the end of the run.

use std::time::{Duration, Instant};

use serde_json::json;
use vmcp_tests::{Behaviour, FakeBackend, ScriptedReply};

use super::{assert_refused, composites, failure, host_of, run};

#[tokio::test]
async fn cmp_11_what_a_step_may_not_yield_needs_a_default_where_it_is_read() {
    let check = async |step: &str, reader: &str, place: &str| {
        let steps = format!("{{ id: s, tool: a, {step} }}\n{{ id: r, dependsOn: [s], {reader} }}");
        let message = "steps[0].defaultResults.x: step `s` may yield nothing, and `x` of its output is read elsewhere";
        assert_refused(&steps, place, message).await;
    };
    let reads = "'{{.steps.s.output.x}}'";
    let skipped = "condition: '{{.params.go}}'";
    check(skipped, &format!("tool: a, arguments: {{ y: {reads} }}"), "6:9").await;
    check(skipped, &format!("tool: a, condition: {reads}"), "6:9").await;
    check(skipped, &format!("type: elicitation, message: {reads}"), "6:9").await;
    check("onError: { action: continue }", &format!("tool: a, arguments: {{ y: {reads} }}"), "6:9").await;
    let other = "onError: { action: continue }, defaultResults: { y: 1 }";
    check(other, &format!("tool: a, arguments: {{ y: {reads} }}"), "6:58").await;
    // Where the reference does not look.
    check(skipped, &format!("tool: a, arguments: {{ y: [{{ z: {reads} }}] }}"), "6:9").await;
    check(skipped, &format!("type: forEach, collection: {reads}, step: {{ tool: a }}"), "6:9").await;
    let inner = format!("type: forEach, collection: '[]', step: {{ tool: a, arguments: {{ y: {reads} }} }}");
    check(skipped, &inner, "6:9").await;
}

#[tokio::test]
async fn cmp_12_a_retry_makes_the_same_call_until_it_succeeds_or_was_tried_often_enough() {
    let (bad, worse, good) =
        (ScriptedReply::failure("not yet"), ScriptedReply::error("broken"), ScriptedReply::text("done"));
    let retry = |tool: &str, count: usize| {
        format!(
            "steps: [{{ id: s, tool: {tool}, arguments: {{ at: '{{{{.workflow.duration_ms}}}}' }},
            onError: {{ action: retry, retryCount: {count}, retryDelay: 10ms }} }}]"
        )
    };
    let backend = FakeBackend::new()
        .scripted("third", [bad.clone(), worse.clone(), good.clone()])
        .scripted("fourth", [bad.clone(), bad.clone(), bad.clone(), good.clone()])
        .scripted("never", [worse])
        .scripted("once", [good]);
    let tools = composites(&[
        ("succeeds", &retry("third", 2)),
        ("too_few", &retry("fourth", 2)),
        ("ten", &retry("never", 10)),
        ("needless", &retry("once", 5)),
        ("aborts", "steps: [{ id: s, tool: never, onError: { action: abort } }]"),
        ("says_nothing", "steps: [{ id: s, tool: never }]"),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    assert_eq!(run(&client, "succeeds", json!({})).await, json!({ "text": "done" }));
    let tries = calls.arguments("third");
    assert!(tries.len() == 3 && tries.iter().all(|arguments| *arguments == tries[0]), "{tries:?}");
    let said = failure(&client, "too_few", json!({})).await;
    assert!(said.ends_with("step `s` failed: tool `fourth`: not yet"), "{said}");
    assert_eq!(calls.tools().iter().filter(|tool| *tool == "fourth").count(), 3);
    run(&client, "needless", json!({})).await;
    assert_eq!(calls.arguments("once").len(), 1);
    let check = async |tool: &str, expected: usize| {
        calls.clear();
        let said = failure(&client, tool, json!({})).await;
        assert!(said.contains("step `s` failed: tool `never`: ") && said.contains("broken"), "{said}");
        assert_eq!(calls.tools().len(), expected, "{tool}");
    };
    check("ten", 11).await;
    check("aborts", 1).await;
    check("says_nothing", 1).await;
}

#[tokio::test]
async fn cmp_12_the_waits_between_tries_grow() {
    let bad = ScriptedReply::failure("no");
    let backend = FakeBackend::new().scripted("third", [bad.clone(), bad, ScriptedReply::text("done")]);
    let steps = "steps: [{ id: s, tool: third, onError: { action: retry, retryCount: 2, retryDelay: 200ms } }]";
    let (host, _calls) = host_of(backend, &composites(&[("waits", steps)])).await;
    let client = host.connect().await;
    let began = Instant::now();
    run(&client, "waits", json!({})).await;
    // 200 ms and 300 ms, each at least half of that.
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}

#[tokio::test]
async fn cmp_12_what_another_try_cannot_mend_is_not_tried_again() {
    let retry = "onError: { action: retry, retryCount: 3, retryDelay: 10ms }";
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError);
    let tools = composites(&[
        ("condition", &format!("steps: [{{ id: s, tool: fails, condition: maybe, {retry} }}]")),
        (
            "template",
            &format!("steps: [{{ id: s, tool: fails, arguments: {{ x: '{{{{index .params.list 3}}}}' }}, {retry} }}]"),
        ),
        ("denied", &format!("grants: {{ tools: [b/echo] }}, steps: [{{ id: s, tool: fails, {retry} }}]")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    for tool in ["condition", "template", "denied"] {
        failure(&client, tool, json!({ "list": [] })).await;
    }
    assert!(calls.tools().is_empty(), "{:?}", calls.tools());
    assert!(!host.stderr().contains("retry 1"), "{}", host.stderr());
}

#[tokio::test]
async fn cmp_12_a_failure_that_is_passed_over_leaves_its_defaults() {
    let after = "{ id: after, tool: echo, dependsOn: [s], arguments: { got: '{{.steps.s.output.x}}',
        was: '{{.steps.s.status}}' } }";
    let step = |on_error: &str| {
        format!("steps: [{{ id: s, tool: fails, onError: {{ {on_error} }}, defaultResults: {{ x: 7 }} }}, {after}]")
    };
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError);
    let tools = composites(&[
        ("goes_on", &step("action: continue")),
        ("tries_and_goes_on", &step("action: continue, retryCount: 2, retryDelay: 10ms")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        for (tool, tries) in [("goes_on", 1), ("tries_and_goes_on", 3)] {
            calls.clear();
            run(&client, tool, json!({})).await;
            assert_eq!(calls.arguments("fails").len(), tries, "{tool}");
            assert_eq!(calls.arguments("echo"), [json!({ "got": "7", "was": "failed" })], "{tool}");
        }
    }
}

#[tokio::test]
async fn cmp_13_every_kind_of_failure_is_passed_over_with_defaults() {
    let goes_on = "onError: { action: continue }, defaultResults: { x: 7 }";
    let after = "{ id: after, tool: echo, dependsOn: [s], arguments: { got: '{{.steps.s.output.x}}',
        was: '{{.steps.s.status}}' } }";
    let steps = |step: &str| format!("steps: [{{ id: s, {step}, {goes_on} }}, {after}]");
    let backend = FakeBackend::echo(["echo"]).tool("never", Behaviour::Never);
    let tools = composites(&[
        ("asks", &steps("type: elicitation, message: 'Who?', schema: { type: object, properties: {} }")),
        ("repeats", &steps("type: forEach, collection: 'no list', step: { tool: echo }")),
        ("expands", &steps("tool: echo, arguments: { y: '{{index .params.list 3}}' }")),
        ("decides", &steps("tool: echo, condition: perhaps")),
        ("waits", &steps("tool: never, timeout: 100ms")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    // Clients that cannot be asked.
    for client in [host.connect().await, host.connect_modern()] {
        for tool in ["asks", "repeats", "expands", "decides", "waits"] {
            calls.clear();
            run(&client, tool, json!({ "list": [] })).await;
            assert_eq!(calls.arguments("echo"), [json!({ "got": "7", "was": "failed" })], "{tool}");
        }
    }
}
