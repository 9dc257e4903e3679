//! From the text of a template to the arguments of a call.

use serde_json::{Value, json};
use vmcp_tests::{Behaviour, FakeBackend, Mcp, Recording, ScriptedReply, TestHost};

use super::{assert_refused, composites, failure, host_of, run};

#[tokio::test]
async fn cmp_06_parameters_that_are_missing_get_their_defaults_and_others_stay() {
    let keys = "parameters: { type: object, required: [team], properties: {
            team: { type: string }, most: { type: integer, default: 10 }, tags: { type: array, default: [a, b] },
            nested: { type: object, properties: { inner: { type: string, default: unseen } } } } },
        steps: [{ id: s, tool: echo, arguments: { all: '{{json .params}}' } }]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("defaults", keys)])).await;
    for client in [host.connect().await, host.connect_modern()] {
        let check = async |arguments: Value, expected: Value| {
            calls.clear();
            run(&client, "defaults", arguments).await;
            let seen = calls.arguments("echo")[0]["all"].as_str().unwrap().to_owned();
            assert_eq!(serde_json::from_str::<Value>(&seen).unwrap(), expected);
        };
        check(json!({ "team": "sre" }), json!({ "team": "sre", "most": 10, "tags": ["a", "b"] })).await;
        let given = json!({ "team": "x", "most": 3, "tags": [], "nested": {}, "more": null });
        check(given.clone(), given).await;
        check(json!({ "most": null }), json!({ "most": null, "tags": ["a", "b"] })).await;
    }
}

/// Expands `templates` with fixed parameters and a step before: what each yields in the arguments of a call.
async fn expanded(templates: &[(&str, &str)]) -> Vec<String> {
    let key = |(index, (template, _)): (usize, &(&str, &str))| format!("k{index}: {}", json!(template));
    let arguments: Vec<_> = templates.iter().enumerate().map(key).collect();
    let keys = format!(
        "parameters: {{ type: object, properties: {{ n: {{ type: integer, default: 3 }} }} }}, steps: [
            {{ id: got, tool: found }}, {{ id: not, tool: found, condition: 'false', defaultResults: {{ list: [9] }} }},
            {{ id: bad, tool: fails, onError: {{ action: continue }}, defaultResults: {{}} }},
            {{ id: a-b, tool: found, dependsOn: [got] }},
            {{ id: s, tool: echo, dependsOn: [a-b, not, bad], arguments: {{ {} }} }} ]",
        arguments.join(", "),
    );
    let list = json!([{ "name": "x" }, { "name": "y" }]);
    let structured = json!({ "list": list, "n": 1_000_000, "half": 0.5, "raw": "{\"a\": [1]}", "html": "<&>" });
    let backend = FakeBackend::echo(["echo"])
        .tool("fails", Behaviour::ToolError)
        .scripted("found", [ScriptedReply::structured(&structured)]);
    let (host, calls) = host_of(backend, &composites(&[("expands", &keys)])).await;
    let arguments = json!({ "text": "a \"b\"", "list": [1, 2], "yes": true });
    run(&host.connect().await, "expands", arguments).await;
    let seen = calls.arguments("echo").remove(0);
    (0..templates.len()).map(|index| seen[format!("k{index}")].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn cmp_07_templates_are_those_of_go_with_json_from_json_and_quote() {
    let cases = [
        ("{{.params.text}}, {{.params.n}}, {{.params.yes}}", r#"a "b", 3, true"#),
        ("{{.params.missing}} {{.params.missing.deeper}}", "<no value> <no value>"),
        ("{{.steps.got.status}} {{.steps.not.status}} {{.steps.bad.status}}", "completed skipped failed"),
        ("{{.steps.got.output.n}} {{.steps.got.output.half}}", "1000000 0.5"),
        ("{{(index .steps.got.output.list 1).name}}", "y"),
        ("{{range $i, $e := .steps.got.output.list}}{{if $i}}, {{end}}{{$e.name}}{{end}}", "x, y"),
        ("{{range .params.none}}x{{else}}nothing{{end}}", "nothing"),
        ("{{json .steps.got.output.list}}", r#"[{"name":"x"},{"name":"y"}]"#),
        ("{{json .steps.not.output}}", r#"{"list":[9]}"#),
        ("{{quote .params.text}}", r#""a \"b\"""#),
        ("{{(index (fromJson .steps.got.output.raw).a 0)}}", "1"),
        ("{{len .params.list}} {{len .params.text}}", "2 5"),
        ("{{printf \"%03d|%-4s|%.1f|%q\" .params.n \"ab\" .steps.got.output.half \"c\"}}", "003|ab  |0.5|\"c\""),
        ("{{if and (gt .params.n 2) (not (eq .params.n 4))}}in{{else}}out{{end}}", "in"),
        ("{{with .params.list}}{{index . 0}}{{end}}{{/* no more */}}", "1"),
        ("{{$x := .params.n}}{{$x | printf \"%d!\"}}", "3!"),
        ("  {{- \" trimmed \" -}}  ", " trimmed "),
        ("{{html .steps.got.output.html}} {{urlquery \"a b\"}} {{js \"'\"}}", "&lt;&amp;&gt; a+b \\'"),
        ("{{slice .params.text 0 1}} {{index .params.list 1}} {{or .params.missing \"else\"}}", "a 2 else"),
        ("{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .params.n}}", "<3>"),
        ("{{len .vars}} {{.workflow.status}} {{.workflow.step_count}}", "0 running 4"),
        ("{{len .workflow.id}} {{ge .workflow.duration_ms 0}} {{len .workflow.start_time}}", "36 true 20"),
        ("{{.steps.bad.error}}", "tool `fails`: it did not work"),
        ("{{(index .steps \"a-b\").status}}", "completed"),
        ("no template }}", "no template }}"),
    ];
    let yielded = expanded(&cases).await;
    for ((template, expected), yielded) in cases.iter().zip(&yielded) {
        assert_eq!(yielded, expected, "{template}");
    }
}

#[tokio::test]
async fn cmp_07_the_built_in_words_of_go_do_what_they_do_there() {
    let cases = [
        ("{{printf \"%v\" .params.list}} {{.steps.got.output.list}}", "[1 2] [map[name:x] map[name:y]]"),
        (r#"{{range $k, $v := fromJson "{\"b\": 1, \"a\": [2]}"}}{{$k}}{{$v}};{{end}}"#, "a[2];b1;"),
        ("{{range .params.list}}{{if eq . 2}}{{break}}{{end}}{{.}}{{end}}", "1"),
        ("{{range .params.list}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "2"),
        ("{{$x := 0}}{{range .params.list}}{{$x = .}}{{end}}{{$x}}", "2"),
        ("{{range $i := .params.list}}{{$i}}{{end}} {{range 3}}{{.}}{{end}}", "12 012"),
        ("{{if false}}a{{else if true}}b{{else}}c{{end}}", "b"),
        ("{{with .params.missing}}a{{else with .params.n}}{{.}}{{end}}", "3"),
        ("{{eq .params.n 1 2 3}} {{ne 1 2}} {{lt \"a\" \"b\"}} {{le 2 2}}", "true true true true"),
        ("{{and 1 0 2}} {{or 0 \"\" \"x\"}} {{not 0}} {{not .params.list}}", "0 x true false"),
        ("{{print 1 2 \"a\" \"b\" 3}}|{{println \"x\"}}|{{print true false}}", "1 2ab3|x\n|true false"),
        ("{{`raw\\n`}} {{\"a\\tb\"}} {{0x1F}} {{'a'}} {{1_000}} {{-2}} {{1.5}}", "raw\\n a\tb 31 97 1000 -2 1.5"),
        ("{{len \"é\"}} {{slice \"abc\" 1}} {{slice \"abc\" 0 2}} {{len .steps.got.output}}", "2 bc ab 5"),
        (
            "{{printf \"%t|%x|%5.2f|%-3d|%+d|%05d|%8s|%%\" true 255 3.14159 7 5 42 \"r\"}}",
            "true|ff| 3.14|7  |+5|00042|       r|%",
        ),
        ("{{block \"b\" .params.n}}[{{.}}]{{end}}", "[3]"),
        ("{{index .steps.got.output \"list\" 0 \"name\"}} {{index .params \"n\"}}", "x 3"),
        ("{{\"a\" | printf \"%s-%s\" \"b\"}} {{.params.list | len | printf \"%d items\"}}", "b-a 2 items"),
        (
            "{{html \"a<b>&'\\\"\"}} {{urlquery \"a b&c/ü\"}} {{js \"a'b<\"}}",
            "a&lt;b&gt;&amp;&#39;&#34; a+b%26c%2F%C3%BC a\\'b\\u003C",
        ),
        ("{{json .params.missing}} {{json \"<é>\"}} {{json 1.0}}", "null \"<é>\" 1"),
        ("{{(fromJson \"[1, {\\\"a\\\": null}]\")}}", "[1 map[a:<nil>]]"),
        ("{{with $p := .params}}{{$p.n}}{{$.params.n}}{{end}}", "33"),
        ("{{if .steps.not.output.list}}yes{{end}}{{if .params.missing}}no{{end}}", "yes"),
        ("a {{- 1 -}} b {{1 -}}\n c", "a1b 1c"),
        ("{{/* a comment */}}{{.params.n}}{{- /* another */ -}}  ", "3"),
    ];
    let yielded = expanded(&cases).await;
    for ((template, expected), yielded) in cases.iter().zip(&yielded) {
        assert_eq!(yielded, expected, "{template}");
    }
}

#[tokio::test]
async fn cmp_07_templates_expand_at_any_depth_and_other_values_keep_their_type() {
    let keys = "steps: [{ id: s, tool: echo, arguments: {
        deep: [{ list: ['{{.params.x}}', 1, 2.5, null, { last: 'a{{.params.x}}' }] }],
            flag: true, '{{.params.x}}': key } }]";
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &composites(&[("deep", keys)])).await;
    run(&host.connect().await, "deep", json!({ "x": "b" })).await;
    let expected =
        json!({ "deep": [{ "list": ["b", 1, 2.5, null, { "last": "ab" }] }], "flag": true, "{{.params.x}}": "key" });
    assert_eq!(calls.arguments("echo"), [expected]);
}

#[tokio::test]
async fn cmp_07_a_template_that_cannot_be_is_refused_and_one_that_fails_fails_its_step() {
    let check = async |template: &str, message: &str| {
        let step = format!("{{ id: s, tool: a, arguments: {{ x: [{}] }} }}", json!(template));
        assert_refused(&step, "6:44", &format!("steps[0].arguments.x[0]: {message}")).await;
    };
    check("{{.params.x", "the template does not parse: 1:12: unclosed action").await;
    check("{{if .params.x}}", "the template does not parse").await;
    check("{{upper .params.x}}", "function `upper` is not defined").await;
    check("{{.steps.other.output.x}}", "no step is called `other`").await;

    let step = |template: &str| format!("steps: [{{ id: s, tool: echo, arguments: {{ x: {} }} }}]", json!(template));
    let large = "{{range .params.list}}{{range $.params.list}}{{$.params.text}}{{end}}{{end}}";
    let tools = composites(&[("beyond", &step("{{index .params.list 5000}}")), ("large", &step(large))]);
    let (host, calls) = host_of(FakeBackend::echo(["echo"]), &tools).await;
    let client = host.connect().await;
    let said = failure(&client, "beyond", json!({ "list": [1] })).await;
    assert!(said.contains("step `s` failed: argument `x`"), "{said}");
    // 100 times 100 times 1100 bytes.
    let many = json!({ "list": vec![0; 100], "text": "x".repeat(1100) });
    let said = failure(&client, "large", many).await;
    assert!(said.contains("step `s` failed: argument `x`: it yields more than 10 MB"), "{said}");
    assert!(calls.tools().is_empty());
}

/// What the tool `typed` takes.
fn typed() -> Value {
    json!({ "inputSchema": { "type": "object", "properties": {
        "count": { "type": "integer" }, "ratio": { "type": "number" }, "sure": { "type": "boolean" },
        "name": { "type": "string" }, "ids": { "type": "array", "items": { "type": "integer" } },
        "filter": { "type": "object", "properties": {
            "limit": { "type": "integer" }, "flags": { "type": "array", "items": { "type": "boolean" } } } },
        "maybe": { "type": ["integer", "null"] }, "either": { "anyOf": [{ "type": "number" }, { "type": "null" }] },
        "shared": { "$ref": "#/$defs/n" }, "wrong": { "type": "integer" } },
        "$defs": { "n": { "type": "integer" } } } })
}

const TYPED: &str = "steps: [{ id: s, tool: b.typed, arguments: {
    count: '{{.params.n}}', ratio: '2.50', sure: '{{gt .params.n 2}}', name: '{{.params.n}}', ids: ['{{.params.n}}', 4],
    filter: { limit: '{{.params.n}}', flags: ['true', 'False'], other: '{{.params.n}}' }, maybe: '5',
    either: '1e2', shared: '6',
    wrong: '{{.params.missing}}' } }]";

#[tokio::test]
async fn cmp_08_arguments_get_the_types_of_the_tools_schema_hidden_or_not() {
    let whole = "steps: [{ id: s, tool: b.typed, arguments: { ids: '{{json .params.ids}}',
        filter: '{{json .params.filter}}' } }]";
    let tools = composites(&[("types", TYPED), ("whole", whole)]);
    let visible = [
        ("", true),
        ("aggregation: { excludeAllTools: true }", false),
        ("aggregation: { tools: [{ workload: b, filter: [other] }] }", false),
        ("aggregation: { tools: [{ workload: b, excludeAll: true }] }", false),
    ];
    for (aggregation, is_visible) in visible {
        let backend = FakeBackend::echo(["other"]).defined("typed", typed(), Behaviour::Echo);
        let (host, calls) = host_of(backend, &format!("{aggregation}\n{tools}")).await;
        for client in [host.connect().await, host.connect_modern()] {
            assert_eq!(client.tool_names().await.contains(&"typed".to_owned()), is_visible, "{aggregation}");
            calls.clear();
            run(&client, "types", json!({ "n": 3 })).await;
            run(&client, "whole", json!({ "ids": [1, "2"], "filter": { "limit": "7" } })).await;
            let types = json!({
                "count": 3, "ratio": 2.5, "sure": true, "name": "3", "ids": [3, 4],
                "filter": { "limit": 3, "flags": [true, false], "other": "3" },
                "maybe": 5, "either": 100.0, "shared": 6,
                "wrong": "<no value>",
            });
            let whole = json!({ "ids": [1, 2], "filter": { "limit": 7 } });
            assert_eq!(calls.arguments("typed"), [types, whole], "{aggregation}");
        }
    }
}

#[tokio::test]
async fn cmp_08_a_hidden_tool_gets_its_arguments_in_headers_too() {
    let region = json!({ "type": "string", "x-mcp-header": "Region" });
    let schema = json!({ "inputSchema": { "type": "object", "properties": { "region": region } } });
    let backend = FakeBackend::new().defined("show", schema, Behaviour::Handshake).modern().http();
    let tools =
        composites(&[("shows", "steps: [{ id: s, tool: b.show, arguments: { region: '{{.params.where}}' } }]")]);
    for aggregation in ["", "aggregation: { excludeAllTools: true }"] {
        let (host, _calls) = host_of(backend.clone(), &format!("{aggregation}\n{tools}")).await;
        for client in [host.connect().await, host.connect_modern()] {
            let output = run(&client, "shows", json!({ "where": "eu" })).await;
            let meta: Value = serde_json::from_str(output["text"].as_str().unwrap()).unwrap();
            assert_eq!(meta["example.com/headers"]["mcp-param-region"], "eu", "{aggregation}: {meta}");
        }
    }
}

#[tokio::test]
async fn cmp_10_a_condition_yields_true_or_false_and_nothing_else() {
    let keys = "steps: [
        { id: maybe, tool: maybe, condition: '{{.params.if}}', defaultResults: { text: skipped } },
        { id: after, tool: after, dependsOn: [maybe], arguments: { got: '{{.steps.maybe.output.text}}',
            was: '{{.steps.maybe.status}}' } } ]";
    let (host, calls) = host_of(FakeBackend::echo(["maybe", "after"]), &composites(&[("conditional", keys)])).await;
    let client = host.connect().await;
    for yields in ["true", "True", "TRUE"] {
        calls.clear();
        run(&client, "conditional", json!({ "if": yields })).await;
        assert_eq!(calls.arguments("after"), [json!({ "got": "{}", "was": "completed" })], "{yields}");
    }
    for yields in ["false", "False", "FALSE"] {
        calls.clear();
        run(&client, "conditional", json!({ "if": yields })).await;
        assert_eq!(calls.tools(), ["after"], "{yields}");
        assert_eq!(calls.arguments("after"), [json!({ "got": "skipped", "was": "skipped" })], "{yields}");
    }
    calls.clear();
    for yields in [json!("yes"), json!(" true"), json!("tRUE"), json!("1"), json!(""), json!(null)] {
        let said = failure(&client, "conditional", json!({ "if": yields })).await;
        assert!(said.contains("step `maybe` failed: condition: it must yield `true` or `false`"), "{yields}: {said}");
    }
    assert!(calls.tools().is_empty(), "{:?}", calls.tools());
}

#[tokio::test]
async fn cmp_10_a_skipped_step_without_defaults_yields_an_empty_output() {
    let keys = "steps: [
        { id: not, tool: echo, condition: '{{eq 1 2}}' },
        { id: after, tool: echo, dependsOn: [not], arguments: { got: '{{json .steps.not.output}}' } } ]";
    let host = TestHost::builder();
    let calls = Recording::in_dir(host.dir());
    let backend = FakeBackend::echo(["echo"]).record(&calls);
    let host = host.backend("b", backend).yaml(&composites(&[("skips", keys)])).start().await;
    run(&host.connect().await, "skips", json!({})).await;
    assert_eq!(calls.arguments("echo"), [json!({ "got": "{}" })]);
}
