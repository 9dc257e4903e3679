//! Steps beyond those of the reference: other composite tools, choices, loops with a condition, calls that undo, and keys of the
//! wrong kind.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, Era, FakeBackend, Mcp, Recording, ScriptedReply, TestHost};

use super::{assert_refused, composites, failure, host_of, run};
use crate::bridge::{call_and_be_asked, client_of};

#[tokio::test]
async fn a_workflow_step_calls_a_composite_tool_and_sees_its_output() {
    let outer = "parameters: { type: object, properties: { n: { type: integer } } }, steps: [
        { id: in, type: workflow, workflow: inner, arguments: { n: '{{.params.n}}' } },
        { id: each, type: forEach, dependsOn: [in], collection: '[8, 9]', maxParallel: 1,
          step: { type: workflow, workflow: inner, arguments: { n: '{{.forEach.item}}' } } } ],
        output: { properties: { twice: { type: integer, description: d, value: '{{.steps.in.output.twice}}' },
          all: { type: array, description: d, value: '{{json .steps.each.output.iterations}}' } } }";
    let inner = "parameters: { type: object, properties: { n: { type: integer } } }, steps: [
        { id: s, tool: echo, arguments: { n: '{{.params.n}}' } } ],
        output: { properties: { twice: { type: integer, description: d, value: '{{.params.n}}{{.params.n}}' } } }";
    let fails = "steps: [{ id: s, type: workflow, workflow: broken }]";
    let broken = "steps: [{ id: bad, tool: fails }]";
    let tools = composites(&[("outer", outer), ("inner", inner), ("calls_broken", fails), ("broken", broken)]);
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError);
    let (host, calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        calls.clear();
        let output = run(&client, "outer", json!({ "n": 7 })).await;
        assert_eq!(output["twice"], 77);
        let all: Vec<_> = output["all"].as_array().unwrap().iter().map(|one| one["output"]["twice"].clone()).collect();
        assert_eq!(all, [88, 99]);
        let seen: Vec<_> = calls.arguments("echo").iter().map(|arguments| arguments["n"].to_string()).collect();
        assert_eq!(seen, ["\"7\"", "\"8\"", "\"9\""]);
        let said = failure(&client, "calls_broken", json!({})).await;
        assert!(said.contains("step `s` failed: workflow `broken`: ") && said.contains("step `bad` failed"), "{said}");
    }
}

#[tokio::test]
async fn a_composite_is_absent_without_the_workflows_that_it_calls() {
    let tools = composites(&[
        ("calls_none", "steps: [{ id: s, type: workflow, workflow: nowhere }]"),
        ("calls_tool", "steps: [{ id: s, type: workflow, workflow: echo }]"),
    ]);
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    assert_eq!(host.connect().await.tool_names().await, ["echo"], "a tool of a backend is no workflow");
    host.wait_for_log("there is no tool `vmcp/composite.nowhere` now").await;
}

#[tokio::test]
async fn workflows_that_lead_back_are_refused_at_their_place() {
    assert_refused("{ id: s, type: workflow, workflow: t }", "6:44", "`t` would call itself: `t` → `t`").await;
    let inside = "{ id: s, type: while, while: 'true', steps: [{ id: r, type: workflow, workflow: t }] }";
    assert_refused(inside, "6:89", "`t` would call itself").await;
    let round = composites(&[
        ("a", "steps: [{ id: s, type: workflow, workflow: b }]"),
        ("b", "steps: [{ id: s, type: workflow, workflow: a }]"),
    ]);
    let said = super::refusal(&round).await;
    assert!(said.contains("compositeTools[0].steps[0].workflow: `a` would call itself: `a` → `b` → `a`"), "{said}");
}

#[tokio::test]
async fn a_switch_runs_the_case_that_equals_or_the_default() {
    let chooses = "steps: [
        { id: look, tool: echo, arguments: { kind: '{{.params.kind}}' } },
        { id: choose, type: switch, dependsOn: [look], on: '{{.params.kind}}', cases: [
            { equals: bug, steps: [
                { id: file, tool: echo, arguments: { as: '{{(fromJson .steps.look.output.text).kind}}' } },
                { id: page, tool: echo, dependsOn: [file], arguments: { after: '{{.steps.file.status}}' } } ] },
            { equals: 3, steps: [{ id: count, tool: echo, arguments: { count: three } }] } ],
          default: [{ id: other, tool: echo, arguments: { other: '1' } }] } ]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("chooses", chooses)])).await;
    let client = host.connect().await;
    let check = async |kind: Value, case: Value, ran: &[&str], last: Value| {
        calls.clear();
        let output = run(&client, "chooses", json!({ "kind": kind })).await;
        assert_eq!(output["case"], case);
        let said: Value = serde_json::from_str(output["output"]["text"].as_str().unwrap()).unwrap();
        assert_eq!(said, last);
        let inside: Vec<_> = output["steps"].as_object().unwrap().keys().cloned().collect();
        assert_eq!((inside, calls.tools().len()), (ran.iter().map(ToString::to_string).collect(), ran.len() + 1));
    };
    check(json!("bug"), json!("bug"), &["file", "page"], json!({ "after": "completed" })).await;
    assert_eq!(calls.arguments("echo")[1], json!({ "as": "bug" }));
    check(json!(3), json!(3), &["count"], json!({ "count": "three" })).await;
    check(json!("idea"), Value::Null, &["other"], json!({ "other": "1" })).await;
}

#[tokio::test]
async fn a_while_goes_round_until_its_condition_or_its_limit_ends_it() {
    let state = |state: &str| ScriptedReply::structured(&json!({ "state": state }));
    let backend = FakeBackend::new()
        .scripted("poll", [state("queued"), state("running"), state("done")])
        .scripted("never", [state("running")]);
    let wait = |tool: &str, keys: &str| {
        format!(
            "steps: [{{ id: wait, type: while, {keys} while: '{{{{ne .round.previous.ask.output.state \"done\"}}}}',
              steps: [{{ id: ask, tool: {tool}, arguments: {{ n: '{{{{.round.index}}}}' }} }}] }}]"
        )
    };
    let tools = composites(&[("waits", &wait("poll", "")), ("gives_up", &wait("never", "maxIterations: 4,"))]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    let done = json!({ "state": "done" });
    let output = run(&client, "waits", json!({})).await;
    assert_eq!(output, json!({ "count": 3, "output": done, "steps": { "ask": done } }));
    let seen: Vec<_> = calls.arguments("poll").iter().map(|arguments| arguments["n"].clone()).collect();
    assert_eq!(seen, ["0", "1", "2"]);
    let said = failure(&client, "gives_up", json!({})).await;
    assert!(said.contains("step `wait` failed: ") && said.contains("`maxIterations` is 4"), "{said}");
    assert_eq!(calls.arguments("never").len(), 4);
}

#[tokio::test]
async fn a_question_inside_a_case_is_asked() {
    let asks = "steps: [{ id: s, type: switch, on: x, cases: [{ equals: x, steps: [
        { id: ask, type: elicitation, message: 'Go on?', schema: { type: object, properties: {} } },
        { id: go, tool: echo, dependsOn: [ask] } ] }] }]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("asks", asks)])).await;
    for era in [Era::Legacy, Era::Modern] {
        calls.clear();
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
        let reply = asked.answer(&json!({ "action": "accept", "content": {} })).await;
        assert_eq!(reply.result()["structuredContent"]["case"], "x", "{}", reply.raw);
        assert_eq!(calls.tools(), ["echo"]);
    }
}

#[tokio::test]
async fn a_transform_yields_values_of_their_types() {
    let rows = json!({ "rows": [{ "n": 1, "ok": true }, { "n": 2, "ok": false }, { "n": 3, "ok": true }] });
    let backend = FakeBackend::echo(["echo"]).scripted("rows", [ScriptedReply::structured(&rows)]);
    let sums = "steps: [
        { id: rows, tool: rows },
        { id: sum, type: transform, dependsOn: [rows], expression: \"{
            'good': steps.rows.output.rows.filter(r, r.ok).map(r, r.n), 'half': double(params.n) / 2.0,
            'who': params.?who.orValue('nobody'), 'all': steps.rows.output.rows.all(r, r.n > 0), 'none': null }\" } ]";
    let each = "steps: [{ id: each, type: forEach, collection: '[3, 4]',
          step: { type: transform, expression: forEach.item * params.n } },
        { id: last, type: transform, dependsOn: [each], expression: 'steps.each.output.iterations.map(i, i.output.output)' } ]";
    let tools = composites(&[
        ("sums", sums),
        ("each", each),
        ("missing", "steps: [{ id: s, type: transform, expression: params.none }]"),
        (
            "endless",
            "steps: [{ id: s, type: transform, expression: 'lists.range(1000).map(x, lists.range(1000).map(y, y))' }]",
        ),
    ]);
    let (host, _calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    let output = run(&client, "sums", json!({ "n": 3 })).await;
    assert_eq!(output, json!({ "good": [1, 3], "half": 1.5, "who": "nobody", "all": true, "none": null }));
    assert_eq!(run(&client, "each", json!({ "n": 5 })).await, json!({ "output": [15, 20] }));
    let said = failure(&client, "missing", json!({})).await;
    assert!(said.contains("step `s` failed: expression: no such key: none"), "{said}");
    let said = failure(&client, "endless", json!({})).await;
    assert!(said.contains("more than 100000 turns"), "{said}");
}

#[tokio::test]
async fn an_expression_that_cannot_be_right_is_refused_at_its_place() {
    let refused = async |expression: &str, message: &str| {
        assert_refused(&format!("{{ id: s, type: transform, expression: '{expression}' }}"), "6:47", message).await;
    };
    refused("[1, 2", "the expression does not parse, at 1:6").await;
    refused("param.x", "`param` is not defined").await;
    refused("steps.r.output", "no step is called `r`").await;
    refused(&"(".repeat(500), "the expression is nested too deeply").await;
    // As deep as is allowed, which the interpreter has room for.
    let deep = format!("{}1{}{}", "[1, ".repeat(20), "]".repeat(20), " + [1]".repeat(190));
    let tools = format!("steps: [{{ id: s, type: transform, expression: '{deep}' }}]");
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("deep", &tools)])).await;
    run(&host.connect().await, "deep", json!({})).await;
}

/// Two steps that make something, one after the other, and what comes `then`.
fn makes_two(then: &str) -> String {
    format!(
        "steps: [
        {{ id: one, tool: make, undo: {{ tool: drop, arguments: {{ id: '{{{{.steps.one.output.id}}}}' }} }} }},
        {{ id: two, tool: make, dependsOn: [one],
          undo: {{ tool: drop, arguments: {{ id: '{{{{.steps.two.output.id}}}}' }} }} }}, {then} ]"
    )
}

fn making() -> FakeBackend {
    let made = |id| ScriptedReply::structured(&json!({ "id": id }));
    FakeBackend::new()
        .scripted("make", [1, 2, 3, 4, 5, 6, 7, 8].map(made))
        .defined(
            "drop",
            json!({ "inputSchema": { "type": "object", "properties": { "id": { "type": "integer" } } } }),
            Behaviour::Echo,
        )
        .tool("fails", Behaviour::ToolError)
}

#[tokio::test]
async fn a_run_that_fails_is_undone_from_the_last_step_to_the_first() {
    let tools = composites(&[
        ("fails_then", &makes_two("{ id: bad, tool: fails, dependsOn: [two] }")),
        ("goes_on", &makes_two("{ id: bad, tool: fails, dependsOn: [two], onError: { action: continue } }")),
        ("asks", &makes_two("{ id: ask, type: elicitation, dependsOn: [two], message: m, schema: { type: object } }")),
    ]);
    let (host, calls) = host_of(making(), &tools).await;
    let client = host.connect().await;
    let said = failure(&client, "fails_then", json!({})).await;
    assert!(said.contains("step `bad` failed: ") && said.ends_with("; undone: `two`, `one`"), "{said}");
    assert_eq!(calls.arguments("drop"), [json!({ "id": 2 }), json!({ "id": 1 })]);
    assert_eq!(calls.tools(), ["make", "make", "fails", "drop", "drop"]);
    calls.clear();
    run(&client, "goes_on", json!({})).await;
    assert_eq!(calls.tools(), ["make", "make", "fails"]);
    for era in [Era::Legacy, Era::Modern] {
        calls.clear();
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let asked = call_and_be_asked(&client, "asks", json!({}), 1).await;
        let reply = asked.answer(&json!({ "action": "decline" })).await;
        assert!(reply.text().ends_with("the user declined; undone: `two`, `one`"), "{}", reply.raw);
        assert_eq!(calls.tools(), ["make", "make", "drop", "drop"]);
    }
}

#[tokio::test]
async fn an_undo_that_fails_is_told_and_a_cancelled_run_undoes_nothing() {
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    let backend =
        FakeBackend::echo(["make", "drop"]).tool("fails", Behaviour::ToolError).tool("never", Behaviour::Never);
    let two = |last: &str| {
        format!(
            "steps: [{{ id: one, tool: make, undo: {{ tool: drop }} }},
            {{ id: two, tool: make, dependsOn: [one], undo: {{ tool: fails }} }},
            {{ id: last, tool: {last}, dependsOn: [two] }}]"
        )
    };
    let tools = composites(&[
        ("fails_twice", &two("fails")),
        ("hangs", &two("never")),
        ("plain", "steps: [{ id: s, tool: make }]"),
    ]);
    let host = host.backend("b", backend.record(&calls)).yaml(&tools).start().await;
    let client = host.connect().await;
    let said = failure(&client, "fails_twice", json!({})).await;
    assert!(said.contains("; undone: `one`; step `two` could not be undone: tool `fails`: "), "{said}");
    assert_eq!(calls.tools(), ["make", "make", "fails", "fails", "drop"]);
    calls.clear();
    let params = json!({ "name": "hangs", "arguments": {}, "_meta": { "progressToken": 1 } });
    let mut pending = client.start("tools/call", params).await;
    pending.notification().await;
    calls.wait_for("begin never").await;
    client.notify("notifications/cancelled", json!({ "requestId": pending.id })).await;
    calls.wait_for("cancelled never").await;
    run(&client, "plain", json!({})).await;
    assert_eq!(calls.tools(), ["make", "make", "never", "make"]);
}

#[tokio::test]
async fn keys_of_another_kind_are_refused_at_their_place() {
    assert_refused("{ id: s, tool: a, collection: '[]' }", "6:27", "a step of type `tool` has no `collection`").await;
    assert_refused("{ id: s, tool: a, maxIterations: 3 }", "6:27", "a step of type `tool` has no `maxIterations`")
        .await;
    let asks = "{ id: s, type: elicitation, message: m, schema: { type: object }, step: { tool: a } }";
    assert_refused(asks, "6:75", "a step of type `elicitation` has no `step`").await;
    let inner = "{ id: s, type: forEach, collection: '[]', step: { tool: a, itemVar: x } }";
    assert_refused(inner, "6:68", "a step of type `tool` has no `itemVar`").await;
    let unknown = "{ id: s, type: switch, on: x, cases: [{ equals: x, steps: [] }] }\n\
        { id: r, tool: a, dependsOn: [s], arguments: { x: '{{.steps.s.output.text}}' } }";
    assert_refused(unknown, "7:59", "the output of step `s` has `case`, `output`, `steps`, and no `text`").await;
    let outside = "{ id: s, type: while, while: 'true', steps: [{ id: in, tool: a }] }\n\
        { id: r, tool: a, dependsOn: [s], arguments: { x: '{{.steps.in.output.text}}' } }";
    assert_refused(outside, "7:59", "step `r` reads step `in`, which is inside step `s`").await;
}

#[tokio::test]
async fn each_step_is_in_the_log_at_debug() {
    let steps = "steps: [{ id: s, type: switch, on: x, cases: [{ equals: x, steps: [
        { id: inside, tool: echo }, { id: not, tool: echo, dependsOn: [inside], condition: 'false' }] }] }]";
    let yaml = format!("{}\noperational: {{ logLevel: debug }}", composites(&[("logged", steps)]));
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &yaml).await;
    run(&host.connect().await, "logged", json!({})).await;
    for line in ["step `s` started", "step `inside` started", "step `inside` completed", "step `not` skipped"] {
        host.wait_for_log(line).await;
    }
}
