//! Steps that ask the client, of either era: what it is asked, and what its answer leads to.

use std::time::Duration;

use serde_json::{Value, json};
use vmcp_tests::{
    Behaviour, Era, FakeBackend, FixtureBackend, Mcp, Recording, Reply, ScriptedReply, TestClient, TestHost,
};

use super::{assert_refused, composites, failure, host_of};
use crate::bridge::{call_and_be_asked, client_of};

/// A client of each era that can be asked.
async fn clients(host: &TestHost) -> [TestClient; 2] {
    let able = json!({ "elicitation": { "form": {} } });
    [client_of(host, Era::Legacy, able.clone()).await, client_of(host, Era::Modern, able).await]
}

/// A question with `keys`, and a step after it that is told of the answer.
fn asking(keys: &str) -> String {
    format!(
        "steps: [
            {{ id: before, tool: echo, arguments: {{ n: 1 }} }},
            {{ id: ask, type: elicitation, dependsOn: [before], message: 'Delete {{{{.params.what}}}}?', {keys}
               schema: {{ type: object, properties: {{ why: {{ type: string, description: '{{{{.params.what}}}}' }} }} }} }},
            {{ id: after, tool: echo, dependsOn: [ask], arguments: {{ action: '{{{{.steps.ask.output.action}}}}',
               why: '{{{{.steps.ask.output.content.why}}}}', was: '{{{{.steps.ask.status}}}}' }} }} ]",
    )
}

fn accept(content: &Value) -> Value {
    json!({ "action": "accept", "content": content })
}

#[track_caller]
fn said(reply: &Reply) -> &str {
    assert_eq!(reply.result()["isError"], true, "{}", reply.raw);
    reply.text()
}

/// What the step after the question was called with, if it was.
fn told(calls: &Recording) -> Option<Value> {
    let told = calls.arguments("echo").into_iter().nth(1);
    calls.clear();
    told
}

#[tokio::test]
async fn cmp_14_the_question_reaches_the_client_and_its_answer_the_next_step() {
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("delete", &asking(""))])).await;
    for client in clients(&host).await {
        let asked = call_and_be_asked(&client, "delete", json!({ "what": "all" }), 1).await;
        let question = &asked.questions[0].0;
        assert_eq!((&question["method"], asked.message()), (&json!("elicitation/create"), "Delete all?"));
        let why = json!({ "type": "string", "description": "{{.params.what}}" });
        let schema = json!({ "type": "object", "properties": { "why": why } });
        assert_eq!(question["params"]["requestedSchema"], schema, "the schema is no template");
        assert_eq!(calls.tools(), ["echo"], "the step after waits");
        let reply = asked.answer(&accept(&json!({ "why": "old" }))).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        assert_eq!(told(&calls), Some(json!({ "action": "accept", "why": "old", "was": "completed" })));
    }
}

#[tokio::test]
async fn cmp_14_two_questions_come_one_after_the_other() {
    let steps = "steps: [
        { id: one, type: elicitation, message: 'First?', schema: { type: object, properties: {} } },
        { id: two, type: elicitation, dependsOn: [one], message: 'Second?', schema: { type: object, properties: {} } },
        { id: after, tool: echo, dependsOn: [two],
            arguments: { x: '{{.steps.one.output.content.a}}{{.steps.two.output.content.a}}' } } ]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("twice", steps)])).await;
    for client in clients(&host).await {
        let asked = call_and_be_asked(&client, "twice", json!({}), 1).await;
        assert_eq!(asked.message(), "First?");
        let asked = asked.answer_and_be_asked(&accept(&json!({ "a": "x" }))).await;
        assert_eq!(asked.message(), "Second?");
        asked.answer(&accept(&json!({ "a": "y" }))).await;
        assert_eq!(calls.arguments("echo"), [json!({ "x": "xy" })]);
        calls.clear();
    }
}

#[tokio::test]
async fn cmp_14_no_for_an_answer_fails_the_run_unless_something_else_is_said() {
    let tools = composites(&[
        ("nothing", &asking("")),
        (
            "abort",
            &asking(
                "onDecline: { action: abort }, onCancel: { action: abort },
                onError: { action: continue }, defaultResults: { action: a, content: c },",
            ),
        ),
    ]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    for client in clients(&host).await {
        for tool in ["nothing", "abort"] {
            for (action, reason) in [("decline", "the user declined"), ("cancel", "the user cancelled")] {
                let asked = call_and_be_asked(&client, tool, json!({}), 1).await;
                let reply = asked.answer(&json!({ "action": action })).await;
                assert!(said(&reply).ends_with(&format!("step `ask` failed: {reason}")), "{tool}: {}", reply.raw);
                assert_eq!(told(&calls), None, "{tool}");
            }
        }
    }
}

#[tokio::test]
async fn cmp_15_a_run_goes_on_without_an_answer_when_the_step_says_so() {
    let goes_on =
        "onDecline: { action: continue }, onCancel: { action: continue }, defaultResults: { content: { why: none } },";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("delete", &asking(goes_on))])).await;
    for client in clients(&host).await {
        for action in ["decline", "cancel"] {
            let asked = call_and_be_asked(&client, "delete", json!({}), 1).await;
            asked.answer(&json!({ "action": action })).await;
            assert_eq!(told(&calls), Some(json!({ "action": action, "why": "none", "was": "completed" })));
        }
    }
}

#[tokio::test]
async fn cmp_15_skip_remaining_skips_what_remains() {
    let ends = asking("onDecline: { action: skip_remaining }, onCancel: { action: skip_remaining },");
    let with_output = format!(
        "{ends}, output: {{ properties: {{
            was: {{ type: string, description: d, value: '{{{{.steps.after.status}}}}' }},
            said: {{ type: string, description: d, value: '{{{{.steps.ask.output.action}}}}' }} }} }}"
    );
    let tools = composites(&[("delete", &ends), ("tells", &with_output)]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    for client in clients(&host).await {
        for action in ["decline", "cancel"] {
            let asked = call_and_be_asked(&client, "delete", json!({}), 1).await;
            let reply = asked.answer(&json!({ "action": action })).await;
            assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
            assert_eq!(told(&calls), None, "{action}");
            let asked = call_and_be_asked(&client, "tells", json!({}), 1).await;
            let reply = asked.answer(&json!({ "action": action })).await;
            assert_eq!(reply.result()["structuredContent"], json!({ "was": "skipped", "said": action }));
            assert_eq!(told(&calls), None, "{action}");
        }
    }
}

#[tokio::test]
async fn cmp_15_no_answer_in_time_is_a_cancel() {
    let tools = composites(&[
        ("fails", &asking("timeout: 300ms,")),
        (
            "goes_on",
            &asking(
                "timeout: 300ms, onCancel: { action: continue }, onDecline: { action: abort },
                defaultResults: { content: {} },",
            ),
        ),
        ("ends", &asking("timeout: 300ms, onCancel: { action: skip_remaining },")),
    ]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    let [legacy, modern] = clients(&host).await;
    for client in [&legacy, &modern] {
        let check = async |tool: &str, message: &str, expected: Option<Value>| {
            let asked = call_and_be_asked(client, tool, json!({}), 1).await;
            // A legacy client answers nothing; a modern one is heard only when it comes back, which is too late.
            let reply = match client.era {
                Era::Legacy => asked.unanswered().await,
                Era::Modern => {
                    tokio::time::sleep(Duration::from_millis(600)).await;
                    asked.answer(&accept(&json!({ "why": "late" }))).await
                }
            };
            assert!(reply.raw.contains(message), "{tool}: {}", reply.raw);
            assert_eq!(told(&calls), expected, "{tool}");
        };
        check("fails", "step `ask` failed: the user did not answer in time", None).await;
        check("goes_on", "cancel", Some(json!({ "action": "cancel", "why": "<no value>", "was": "completed" }))).await;
        check("ends", "cancel", None).await;
    }
}

#[tokio::test]
async fn cmp_14_a_client_that_cannot_be_asked_fails_the_step_at_once() {
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("delete", &asking(""))])).await;
    for client in [host.connect().await, host.connect_modern()] {
        let said = failure(&client, "delete", json!({})).await;
        assert!(said.contains("step `ask` failed: ") && said.contains("does not offer `elicitation/create`"), "{said}");
        assert_eq!(told(&calls), None);
    }
}

#[tokio::test]
async fn cmp_14_questions_and_answers_have_their_limits() {
    let nested = |depth: usize| (1..depth).fold(json!({}), |inner, _| json!({ "a": inner }));
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("delete", &asking(""))])).await;
    for client in clients(&host).await {
        let check = async |content: Value, message: Option<&str>| {
            let asked = call_and_be_asked(&client, "delete", json!({}), 1).await;
            let reply = asked.answer(&accept(&content)).await;
            assert_eq!(reply.result()["isError"], message.is_some(), "{}", reply.raw);
            assert!(reply.text().contains(message.unwrap_or_default()), "{}", reply.raw);
            calls.clear();
        };
        check(nested(10), None).await;
        check(nested(11), Some("step `ask` failed: the answer is nested deeper than 10")).await;
        check(json!({ "why": "x".repeat((1 << 20) + 1) }), Some("the answer is larger than 1024 KB")).await;
    }
    let check = async |schema: Value, place: &str, message: &str| {
        let step = format!("{{ id: s, type: elicitation, message: m, schema: {schema} }}");
        assert_refused(&step, place, message).await;
    };
    check(nested(11), "6:57", "schema: nested deeper than 10").await;
    check(json!({ "type": "object", "description": "x".repeat(100 * 1024) }), "6:57", "schema: larger than 100 KB")
        .await;
    check(json!({ "type": 1 }), "6:65", "schema.type: no JSON Schema").await;
}

#[tokio::test]
async fn cmp_15_skip_remaining_lets_what_is_under_way_end() {
    let steps = "steps: [
        { id: slow, tool: slow },
        { id: ask, type: elicitation, message: 'Go on?', schema: { type: object, properties: {} },
            onDecline: { action: skip_remaining } },
        { id: after, tool: after, dependsOn: [slow] } ]";
    let backend = FakeBackend::echo(["after"]).scripted("slow", [ScriptedReply::text("done").after_ms(500)]);
    let (host, calls) = host_of(backend, &composites(&[("ends", steps)])).await;
    for client in clients(&host).await {
        let asked = call_and_be_asked(&client, "ends", json!({}), 1).await;
        let reply = asked.answer(&json!({ "action": "decline" })).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
        assert_eq!(calls.events(), ["begin slow", "end slow"]);
        calls.clear();
    }
}

#[tokio::test]
async fn cmp_14_what_a_backend_asks_in_a_step_reaches_the_client_too() {
    for fixture in [FixtureBackend::legacy(), FixtureBackend::modern()] {
        let (entry, _process) = fixture.entry("b").await;
        let tools = composites(&[(
            "asks",
            "steps: [{ id: s, tool: b.ask, arguments: { message: 'Who is {{.params.it}}?' } }]",
        )]);
        let host = TestHost::builder().entry(entry).yaml(&tools).start().await;
        for client in clients(&host).await {
            let asked = call_and_be_asked(&client, "asks", json!({ "it": "there" }), 1).await;
            assert_eq!(asked.message(), "Who is there?");
            let reply = asked.answer(&accept(&json!({ "answer": "me" }))).await;
            assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
            assert!(reply.text().contains("me"), "{}", reply.raw);
        }
    }
}

#[tokio::test]
async fn cmp_14_questions_of_steps_side_by_side_and_of_inner_composites_reach_the_client() {
    let ask = |id: &str, message: &str| {
        format!("{{ id: {id}, type: elicitation, message: '{message}', schema: {{ type: object, properties: {{}} }} }}")
    };
    let tools = composites(&[
        (
            "both",
            &format!(
                "steps: [{}, {}, {{ id: after, tool: echo, dependsOn: [one, two],
                    arguments: {{ x: '{{{{.steps.one.output.action}}}} {{{{.steps.two.output.action}}}}' }} }}]",
                ask("one", "First?"),
                ask("two", "Second?"),
            ),
        ),
        ("inner", &format!("steps: [{}]", ask("one", "Inner?"))),
        (
            "outer",
            "steps: [{ id: s, tool: inner }, { id: after, tool: echo, dependsOn: [s],
                arguments: { x: '{{.steps.s.output.action}}' } }]",
        ),
    ]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    let [legacy, modern] = clients(&host).await;
    for client in [&legacy, &modern] {
        let asked = call_and_be_asked(client, "outer", json!({}), 1).await;
        assert_eq!(asked.message(), "Inner?");
        asked.answer(&accept(&json!({}))).await;
        assert_eq!(calls.arguments("echo"), [json!({ "x": "accept" })]);
        calls.clear();
    }
    let asked = call_and_be_asked(&legacy, "both", json!({}), 2).await;
    let mut messages: Vec<_> =
        asked.questions.iter().map(|(question, _)| question["params"]["message"].clone()).collect();
    messages.sort_by_key(ToString::to_string);
    assert_eq!(messages, ["First?", "Second?"]);
    asked.answer(&accept(&json!({}))).await;
    assert_eq!(calls.arguments("echo"), [json!({ "x": "accept accept" })]);

    // A modern client is asked both at once, or one after the other when the first leaves before the second comes.
    calls.clear();
    let params = json!({ "name": "both", "arguments": {} });
    let mut reply = modern.request("tools/call", params.clone()).await;
    while reply.result()["resultType"] == "input_required" {
        let questions = reply.result()["inputRequests"].as_object().unwrap();
        let answers: serde_json::Map<_, _> = questions.keys().map(|key| (key.clone(), accept(&json!({})))).collect();
        let mut next = params.clone();
        next["inputResponses"] = Value::Object(answers);
        next["requestState"] = reply.result()["requestState"].clone();
        reply = modern.request("tools/call", next).await;
    }
    assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    assert_eq!(calls.arguments("echo"), [json!({ "x": "accept accept" })]);
}

#[tokio::test]
async fn cmp_14_a_client_that_cancels_instead_of_an_answer_ends_the_run() {
    let steps = "steps: [
        { id: open, tool: never }, { id: ask, type: elicitation, message: 'Go on?', schema: { type: object,
            properties: {} } } ]";
    let (host, calls) =
        host_of(FakeBackend::new().tool("never", Behaviour::Never), &composites(&[("asks", steps)])).await;
    let legacy = client_of(&host, Era::Legacy, json!({ "elicitation": {} })).await;
    let mut pending = legacy.start("tools/call", json!({ "name": "asks", "arguments": {} })).await;
    assert_eq!(pending.notification().await["method"], "elicitation/create");
    calls.wait_for("begin never").await;
    legacy.notify("notifications/cancelled", json!({ "requestId": pending.id })).await;
    calls.wait_for("cancelled never").await;
}
