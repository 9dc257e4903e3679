//! What steps are, what they call and what they yield, and what the client hears while they run.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, Era, FakeBackend, Mcp, Recording, ScriptedReply, TestHost};

use super::{assert_refused, composites, failure, host_of, run};
use crate::bridge::{call_and_be_asked, client_of};

#[tokio::test]
async fn cmp_01_steps_call_ask_or_repeat_and_call_if_nothing_is_said() {
    let all = "steps: [
        { id: plain, tool: echo, arguments: { n: 1 } },
        { id: typed, type: tool, tool: echo, dependsOn: [plain], arguments: { n: 2 } },
        { id: asks, type: elicitation, dependsOn: [typed], message: 'Go on?', schema: { type: object,
            properties: {} } },
        { id: repeats, type: forEach, dependsOn: [asks], collection: '[3, 4]', maxParallel: 1,
          step: { id: each, tool: echo, arguments: { n: '{{.forEach.item}}' } } } ]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("all", all)])).await;
    for era in [Era::Legacy, Era::Modern] {
        let client = client_of(&host, era, json!({ "elicitation": { "form": {} } })).await;
        let asked = call_and_be_asked(&client, "all", json!({}), 1).await;
        assert_eq!(asked.message(), "Go on?");
        let reply = asked.answer(&json!({ "action": "accept", "content": {} })).await;
        assert_eq!(reply.result()["structuredContent"]["completed"], 2, "{}", reply.raw);
        let seen: Vec<_> = calls.arguments("echo").iter().map(|arguments| arguments["n"].to_string()).collect();
        assert_eq!(seen, ["1", "2", "\"3\"", "\"4\""]);
        calls.clear();
    }
}

#[tokio::test]
async fn cmp_02_a_key_that_is_missing_unknown_or_ambiguous_is_refused_at_its_place() {
    assert_refused("{ tool: a }", "6:9", "the step needs an `id`").await;
    assert_refused("{ id: s, tool: a }\n{ id: s, tool: a }", "7:15", "`s`").await;
    assert_refused("{ id: s }", "6:9", "needs `tool`").await;
    assert_refused("{ id: s, type: elicitation }", "6:9", "needs `message`").await;
    assert_refused("{ id: s, type: forEach, step: { tool: a } }", "6:9", "needs `collection`").await;
    assert_refused("{ id: s, type: forEach, collection: '[]' }", "6:9", "needs `step`").await;
    assert_refused("{ id: s, tool: a, message: m }", "6:9", "`tool` and `message` in one step").await;
    assert_refused("{ id: s, type: parallel, tool: a }", "6:24", "parallel").await;
    assert_refused("{ id: s, tool: a, retries: 3 }", "6:27", "retries").await;
    assert_refused("{ id: s, tool: -a }", "6:24", "-a").await;
}

#[tokio::test]
async fn cmp_05_a_dependency_that_is_unknown_or_leads_back_is_refused_at_its_place() {
    assert_refused("{ id: s, tool: a, dependsOn: [r] }", "6:39", "no step is called `r`").await;
    assert_refused("{ id: s, tool: a, dependsOn: [s] }", "6:38", "step `s` waits for itself").await;
    let round = "{ id: s, tool: a, dependsOn: [r] }\n{ id: r, tool: a, dependsOn: [s] }";
    assert_refused(round, "6:38", "step `s` waits for itself").await;
    let unordered = "{ id: s, tool: a }\n{ id: r, tool: a, arguments: { x: '{{.steps.s.output.text}}' } }";
    assert_refused(unordered, "7:43", "add it to `dependsOn`").await;
}

#[tokio::test]
async fn cmp_09_the_output_is_structured_content_or_content_by_kind() {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let mixed = json!([
        text("one"), text("two"), { "type": "image", "data": "AAAA", "mimeType": "image/png" },
        { "type": "audio", "data": "BBBB", "mimeType": "audio/wav" },
        { "type": "resource_link", "uri": "file:///a", "name": "a" },
        { "type": "resource", "resource": { "uri": "file:///a", "text": "inside" } },
        { "type": "resource", "resource": { "uri": "file:///b", "blob": "CCCC" } }, text("three"),
    ]);
    let backend = FakeBackend::echo(["echo"])
        .scripted("mixed", [ScriptedReply::result(json!({ "content": mixed }))])
        .scripted("object", [ScriptedReply::structured(&json!({ "a": { "b": [1, 2.5] }, "ok": true }))])
        .scripted("list", [ScriptedReply::result(json!({ "content": [text("listed")], "structuredContent": [1] }))]);
    let first = |tool: &str, templates: &str| {
        format!("steps: [{{ id: s, tool: {tool} }}, {{ id: t, tool: echo, dependsOn: [s], arguments: {templates} }}]")
    };
    let tools = composites(&[
        (
            "mixed_step",
            &first(
                "mixed",
                "{ all: '{{json .steps.s.output}}', raw: '{{len .steps.s.content}}',
                link: '{{(index .steps.s.content 4).uri}}' }",
            ),
        ),
        (
            "object_step",
            &first(
                "object",
                "{ all: '{{json .steps.s.output}}', deep: '{{index .steps.s.output.a.b 1}}',
                raw: '{{(index .steps.s.content 0).type}}' }",
            ),
        ),
        ("list_step", &first("list", "{ all: '{{json .steps.s.output}}' }")),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    let check = async |tool: &str, all: Value, others: Value| {
        calls.clear();
        run(&client, tool, json!({})).await;
        let mut arguments = calls.arguments("echo").remove(0);
        let said = arguments.as_object_mut().unwrap().remove("all").unwrap();
        assert_eq!(serde_json::from_str::<Value>(said.as_str().unwrap()).unwrap(), all, "{tool}");
        assert_eq!(arguments, others, "{tool}");
    };
    let by_kind = json!({
        "text": "one", "text_1": "two", "text_2": "three", "image_0": "AAAA",
        "resource": "inside", "resource_1": "CCCC",
    });
    check("mixed_step", by_kind, json!({ "raw": "8", "link": "file:///a" })).await;
    let object = json!({ "a": { "b": [1, 2.5] }, "ok": true });
    check("object_step", object, json!({ "deep": "2.5", "raw": "text" })).await;
    check("list_step", json!({ "text": "listed" }), json!({})).await;
}

#[tokio::test]
async fn cmp_21_a_step_calls_only_what_its_grant_covers() {
    let backend = FakeBackend::echo(["echo", "secret"]);
    let steps = "steps: [{ id: open, tool: echo }, { id: closed, tool: b.secret, dependsOn: [open] }]";
    let goes_on = "steps: [
        { id: closed, tool: secret, onError: { action: continue, retryCount: 3 }, defaultResults: { text: none } },
        { id: open, tool: echo, dependsOn: [closed], arguments: { why: '{{.steps.closed.error}}' } } ]";
    let tools = composites(&[
        ("granted", &format!("grants: {{ tools: ['b/*'] }}, {steps}")),
        ("declared", steps),
        ("denied", &format!("grants: {{ tools: [b/echo] }}, {steps}")),
        ("goes_on", &format!("grants: {{ tools: [b/echo] }}, {goes_on}")),
        ("around", "grants: { tools: [b/echo] }, steps: [{ id: s, tool: declared }]"),
    ]);
    let (host, calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        calls.clear();
        run(&client, "granted", json!({})).await;
        run(&client, "declared", json!({})).await;
        assert_eq!(calls.tools(), ["echo", "secret", "echo", "secret"]);
        calls.clear();
        let said = failure(&client, "denied", json!({})).await;
        assert!(
            said.contains("step `closed` failed") && said.contains("grant of `denied` does not cover `b.secret`"),
            "{said}"
        );
        let said = failure(&client, "around", json!({})).await;
        assert!(said.contains("grant of `around` does not cover `declared`"), "{said}");
        let output = run(&client, "goes_on", json!({})).await;
        assert!(output["text"].as_str().unwrap().contains("does not cover `secret`"), "{output}");
        assert_eq!(calls.tools(), ["echo", "echo"]);
    }
    host.wait_for_log("its grant does not cover the tool").await;
}

#[tokio::test]
async fn cmp_21_a_step_passes_the_limits_that_calls_of_clients_pass() {
    // One call at a time may be under way at this backend, so that the others wait or are refused, whoever makes them.
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    let backend = FakeBackend::new().scripted("slow", [ScriptedReply::text("x").after_ms(50)]).record(&calls);
    let steps = "steps: [{ id: a, tool: slow }, { id: b, tool: slow }, { id: c, tool: slow }]";
    let limits = json!({ "maxConcurrency": 1, "maxProcesses": 1 });
    let host = host.backend_with("b", backend, limits).yaml(&composites(&[("three", steps)])).start().await;
    run(&host.connect().await, "three", json!({})).await;
    assert_eq!(calls.events(), ["begin slow", "end slow"].repeat(3));
}

#[tokio::test]
async fn cmp_21_arguments_that_are_no_object_and_names_that_are_none_are_refused() {
    let tools =
        composites(&[("good", "steps: [{ id: s, tool: echo }]"), ("'not good'", "steps: [{ id: s, tool: echo }]")]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        assert_eq!(client.tool_names().await, ["echo", "good"]);
        let reply = client.request("tools/call", json!({ "name": "good", "arguments": [1] })).await;
        assert_eq!(reply.error()["code"], -32602, "{}", reply.raw);
        run(&client, "good", json!({})).await;
        let reply = client.request("tools/call", json!({ "name": "good" })).await;
        assert_eq!(reply.result()["isError"], false, "{}", reply.raw);
    }
    assert_eq!(calls.arguments("echo"), vec![json!({}); 4]);
}

#[tokio::test]
async fn cmp_23_a_run_leaves_its_beginning_and_its_end_in_the_log() {
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError);
    let tools =
        composites(&[("good", "steps: [{ id: s, tool: echo }]"), ("bad", "steps: [{ id: broken, tool: fails }]")]);
    let (host, _calls) = host_of(backend, &tools).await;
    let client = host.connect().await;
    run(&client, "good", json!({})).await;
    host.wait_for_log("workflow completed").await;
    failure(&client, "bad", json!({})).await;
    host.wait_for_log("workflow failed").await;
    let line = |says: &str, of: &str| host.stderr().lines().any(|line| line.contains(says) && line.contains(of));
    assert!(line("workflow started", "good") && line("workflow started", "bad"), "{}", host.stderr());
    assert!(line("workflow completed", "good") && line("workflow failed", "broken"), "{}", host.stderr());
}

#[tokio::test]
async fn cmp_23_the_client_hears_of_each_step_under_its_own_token() {
    let steps = "steps: [
        { id: one, tool: echo }, { id: two, tool: echo, dependsOn: [one] },
        { id: three, tool: echo, dependsOn: [two], condition: 'false' } ]";
    let (host, _calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("three", steps)])).await;
    for client in [host.connect().await, host.connect_modern()] {
        let params = json!({ "name": "three", "arguments": {}, "_meta": { "progressToken": "mine" } });
        let reply = client.request("tools/call", params).await;
        let seen: Vec<_> = reply.notifications.iter().map(|one| &one["params"]).collect();
        let check = |index: usize, message: &str| {
            let expected = json!({ "progressToken": "mine", "progress": index + 1, "total": 3, "message": message });
            let same = |key: &str| seen[index][key].as_f64() == expected[key].as_f64();
            assert!(same("progress") && same("total"), "{:?}", seen[index]);
            assert_eq!((&seen[index]["progressToken"], &seen[index]["message"]), (&json!("mine"), &json!(message)));
        };
        assert_eq!(seen.len(), 3, "{seen:?}");
        check(0, "step `one` completed");
        check(1, "step `two` completed");
        check(2, "step `three` skipped");
        assert!(client.call("three", json!({})).await.notifications.is_empty(), "nobody asked for progress");
    }
}

#[tokio::test]
async fn cmp_23_who_cancels_a_run_cancels_its_open_calls() {
    let backend = FakeBackend::echo(["echo", "after"]).tool("never", Behaviour::Never);
    let steps = "steps: [
        { id: quick, tool: echo }, { id: open, tool: never, dependsOn: [quick] }, { id: after, tool: after,
            dependsOn: [open] } ]";
    let (host, calls) = host_of(backend, &composites(&[("hangs", steps)])).await;
    let params = json!({ "name": "hangs", "arguments": {}, "_meta": { "progressToken": 1 } });
    let legacy = host.connect().await;
    let mut pending = legacy.start("tools/call", params.clone()).await;
    pending.notification().await;
    calls.wait_for("begin never").await;
    legacy.notify("notifications/cancelled", json!({ "requestId": pending.id })).await;
    calls.wait_for("cancelled never").await;

    calls.clear();
    let mut pending = host.connect_modern().start("tools/call", params).await;
    pending.notification().await;
    calls.wait_for("begin never").await;
    drop(pending); // In the modern era closing the stream cancels.
    calls.wait_for("cancelled never").await;
    assert_eq!(calls.tools(), ["echo", "never"]);
}
