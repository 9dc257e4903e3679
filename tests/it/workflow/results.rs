//! What a run yields.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, ScriptedReply};

use super::{assert_entry_refused, composites, failure, host_of, run};

fn found() -> FakeBackend {
    let found = json!({ "n": 5, "half": 0.5, "list": [1, 2], "object": { "a": 1 }, "yes": true, "text": "some" });
    FakeBackend::echo(["echo"])
        .scripted("found", [ScriptedReply::structured(&found)])
        .scripted("slow", [ScriptedReply::structured(&json!({ "by": "slow" })).after_ms(100)])
        .scripted("quick", [ScriptedReply::structured(&json!({ "by": "quick" }))])
        .tool("fails", Behaviour::ToolError)
}

#[tokio::test]
async fn cmp_17_without_output_the_result_is_that_of_the_last_step_declared() {
    let tools = composites(&[
        // The reference takes whichever ends last.
        ("last_is_quick", "steps: [{ id: a, tool: slow }, { id: b, tool: quick }]"),
        ("last_is_slow", "steps: [{ id: a, tool: quick }, { id: b, tool: slow }]"),
        ("end_is_first", "steps: [{ id: a, tool: slow, dependsOn: [b] }, { id: b, tool: quick }]"),
        ("last_is_skipped", "steps: [{ id: a, tool: slow }, { id: b, tool: quick, condition: 'false' }]"),
        (
            "last_fails",
            "steps: [{ id: a, tool: slow }, { id: b, tool: fails, onError: { action: continue },
                defaultResults: { by: none } }]",
        ),
        ("all_skipped", "steps: [{ id: a, tool: slow, condition: 'false', defaultResults: { by: none } }]"),
    ]);
    let (host, _calls) = host_of(found(), &tools).await;
    let client = host.connect().await;
    let check = async |tool: &str, expected: Value| assert_eq!(run(&client, tool, json!({})).await, expected, "{tool}");
    check("last_is_quick", json!({ "by": "quick" })).await;
    check("last_is_slow", json!({ "by": "slow" })).await;
    check("end_is_first", json!({ "by": "slow" })).await;
    check("last_is_skipped", json!({ "by": "slow" })).await;
    check("last_fails", json!({ "by": "slow" })).await;
    check("all_skipped", json!({})).await;
}

#[tokio::test]
async fn cmp_17_the_parts_of_an_output_have_the_types_that_are_declared() {
    let output = "steps: [{ id: s, tool: found }], output: { required: [n], properties: {
        n: { type: integer, description: A count, value: '{{.steps.s.output.n}}' },
        half: { type: number, description: d, value: '{{.steps.s.output.half}}' },
        text: { type: string, description: d, value: '{{.steps.s.output.n}}' },
        yes: { type: boolean, description: d, value: '{{.steps.s.output.yes}}' },
        list: { type: array, description: d, value: '{{json .steps.s.output.list}}' },
        object: { type: object, description: d, value: '{{json .steps.s.output.object}}' },
        parts: { type: object, description: d, properties: {
            inner: { type: object, description: d, properties: { n: { type: integer, description: d,
                value: '{{len .steps.s.output.list}}' } } } } },
        plain: { type: string, description: d, value: constant } } }";
    let (host, _calls) = host_of(found(), &composites(&[("typed", output)])).await;
    for client in [host.connect().await, host.connect_modern()] {
        let expected = json!({
            "n": 5, "half": 0.5, "text": "5", "yes": true, "list": [1, 2], "object": { "a": 1 },
            "parts": { "inner": { "n": 2 } },
            "plain": "constant",
        });
        assert_eq!(run(&client, "typed", json!({})).await, expected);
        let listed = client.tools().await.into_iter().find(|tool| tool["name"] == "typed").unwrap();
        let schema = &listed["outputSchema"];
        assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["n"])), "{listed}");
        assert_eq!(schema["properties"]["n"], json!({ "type": "integer", "description": "A count" }));
        assert_eq!(schema["properties"]["parts"]["properties"]["inner"]["properties"]["n"]["type"], "integer");
    }
}

#[tokio::test]
async fn cmp_17_a_part_that_fails_is_its_default_or_the_end() {
    let output = |keys: &str| {
        format!(
            "steps: [{{ id: s, tool: found }}], output: {{ required: [x], properties: {{ x: {{ description: d,
                {keys} }} }} }}"
        )
    };
    let missing = "value: '{{.steps.s.output.none}}'";
    let tools = composites(&[
        ("no_value", &output(&format!("type: string, {missing}, default: else"))),
        ("no_integer", &output("type: integer, value: '{{.steps.s.output.text}}', default: 3")),
        ("no_array", &output("type: array, value: '{{.steps.s.output.text}}', default: [1]")),
        ("no_index", &output("type: string, value: '{{index .steps.s.output.list 9}}', default: else")),
        ("integer_fails", &output("type: integer, value: '{{.steps.s.output.text}}'")),
        ("object_fails", &output("type: object, value: '{{json .steps.s.output.list}}'")),
        ("index_fails", &output("type: string, value: '{{index .steps.s.output.list 9}}'")),
    ]);
    let (host, _calls) = host_of(found(), &tools).await;
    let client = host.connect().await;
    let check = async |tool: &str, expected: Value| {
        assert_eq!(run(&client, tool, json!({})).await, json!({ "x": expected }), "{tool}");
    };
    check("no_value", json!("else")).await;
    check("no_integer", json!(3)).await;
    check("no_array", json!([1])).await;
    check("no_index", json!("else")).await;
    for tool in ["integer_fails", "object_fails", "index_fails"] {
        let said = failure(&client, tool, json!({})).await;
        assert!(said.contains("output `x`: "), "{tool}: {said}");
    }
}

#[tokio::test]
async fn cmp_17_an_output_that_cannot_be_is_refused_at_its_place() {
    let check = async |output: &str, place: &str, message: &str| {
        let keys = format!("steps: [{{ id: s, tool: a }}]\n    output: {{ {output} }}");
        assert_entry_refused(&keys, place, "output", message).await;
    };
    check("properties: { x: { type: string, value: a } }", "6:29", "`description` is missing").await;
    check("properties: { x: { type: date, description: d, value: a } }", "6:40", "date").await;
    check("properties: { x: { type: string, description: d } }", "6:29", "`value` is missing").await;
    check("properties: { x: { type: integer, description: d, value: a, default: b } }", "6:84", "`b` is no integer")
        .await;
    check("properties: { }, required: [y]", "6:43", "`y` is not among `properties`").await;
    let nested = |depth: usize| {
        let leaf = "{ type: string, description: d, value: a }".to_owned();
        (1..depth).fold(leaf, |inner, _| format!("{{ type: object, description: d, properties: {{ x: {inner} }} }}"))
    };
    check(&format!("properties: {{ x: {} }}", nested(11)), "6:522", "nested deeper than 10").await;
}

#[tokio::test]
async fn cmp_18_a_result_is_text_and_structured_content_and_a_failure_is_a_result_that_is_an_error() {
    let backend = FakeBackend::echo(["echo"]).tool("fails", Behaviour::ToolError).tool("refuses", Behaviour::RpcError);
    let tools = composites(&[
        ("good", "steps: [{ id: s, tool: echo, arguments: { a: 1 } }]"),
        ("bad", "steps: [{ id: first, tool: echo }, { id: broken, tool: fails, dependsOn: [first] }]"),
        ("refused", "steps: [{ id: broken, tool: refuses }]"),
    ]);
    let (host, _calls) = host_of(backend, &tools).await;
    for client in [host.connect().await, host.connect_modern()] {
        let reply = client.call("good", json!({})).await;
        let structured = json!({ "text": r#"{"a":1}"# });
        let mut result = reply.result().clone();
        result.as_object_mut().unwrap().retain(|key, _| key != "resultType" && key != "_meta");
        let content = [json!({ "type": "text", "text": structured.to_string() })];
        assert_eq!(result, json!({ "content": content, "structuredContent": structured, "isError": false }));
        let said = failure(&client, "bad", json!({})).await;
        assert!(said.ends_with("step `broken` failed: tool `fails`: it did not work"), "{said}");
        let said = failure(&client, "refused", json!({})).await;
        assert!(said.contains("step `broken` failed: tool `refuses`: ") && said.contains("no"), "{said}");
    }
}
