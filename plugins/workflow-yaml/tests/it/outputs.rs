//! Parameters, what templates see, argument types, results.

use std::time::Duration;

use serde_json::{Map, Value, json};
use workflow_yaml::{Definition, Elicited, Workflow};

use crate::world::{FakeWorld, What, error, ms, steps, steps_and_output, structured, text};

#[test]
fn without_output_the_last_declared_completed_end_counts() {
    let check = |document: Value, expected: Value| {
        let world = FakeWorld::new()
            .answers("quick", ms(1), text("quick"))
            .answers("slow", ms(100), text("slow"))
            .answers("bad", ms(1), error("bad"));
        assert_eq!(world.run(&steps(document), json!({})), Ok(expected));
    };
    check(json!([{"id": "a", "tool": "slow"}, {"id": "b", "tool": "quick"}]), json!({"text": "quick"}));
    check(
        json!([{"id": "a", "tool": "slow", "dependsOn": ["b"]}, {"id": "b", "tool": "quick"}]),
        json!({"text": "slow"}),
    );
    check(
        json!([{"id": "a", "tool": "slow"}, {"id": "b", "tool": "quick", "condition": "false"}]),
        json!({"text": "slow"}),
    );
    let failed = json!({"id": "b", "tool": "bad", "dependsOn": ["a"], "onError": {"action": "continue"}});
    check(json!([{"id": "a", "tool": "slow"}, failed]), json!({"text": "slow"}));
    check(json!([{"id": "a", "tool": "quick", "condition": "false"}]), json!({}));
}

#[test]
fn parameters_have_defaults() {
    let world = FakeWorld::new().echo("echo");
    let mut document = steps(json!([{"id": "a", "tool": "echo", "arguments": {"x": "{{json .params}}"}}]));
    document["parameters"] = json!({"type": "object", "properties": {
        "a": {"type": "integer", "default": 3}, "b": {"default": "b"}, "c": {"type": "string"}, "d": {"default": null}}});
    let output = world.run(&document, json!({"b": "given"})).unwrap();
    assert_eq!(output["x"], r#"{"a":3,"b":"given","d":null}"#);
}

#[test]
fn arguments_are_typed_by_the_schema_of_the_tool() {
    let schema = json!({"properties": {"n": {"type": "integer"}, "list": {"type": "array", "items": {"type": "integer"}},
        "text": {"type": "string"}, "missing": {"type": "integer"}}});
    let world = FakeWorld::new().echo("echo").schema("echo", schema);
    let document = steps(json!([{"id": "a", "tool": "echo", "arguments": {
        "n": "{{.params.n}}", "list": "{{json .params.list}}", "text": "{{.params.n}}", "missing": "{{.params.missing}}",
        "more": ["{{.params.n}}", 1]}}]));
    let expected =
        json!({"n": 1_000_000, "list": [1, 2], "text": "1000000", "missing": "<no value>", "more": ["1000000", 1]});
    assert_eq!(world.run(&document, json!({"n": 1_000_000, "list": [1, "2"]})), Ok(expected));
}

#[test]
fn templates_see_the_run() {
    let world = FakeWorld::new().answers("a", ms(1500), text("x")).echo("echo");
    let workflow = "{{.workflow.id}} {{.workflow.duration_ms}} {{.workflow.step_count}} {{.workflow.status}} {{.workflow.start_time}}";
    let mut document = steps_and_output(
        json!([
            {"id": "a-b", "tool": "a"},
            {"id": "b", "tool": "echo", "dependsOn": ["a-b"], "arguments": {
                "workflow": workflow, "config": "{{.config.team}} {{.vars}}", "outside": "{{.forEach.item}}",
                "dash": "{{(index .steps \"a-b\").output.text}} {{index .steps \"a-b\" \"output\" \"text\"}}",
                "content": "{{(index (index .steps \"a-b\").content 0).type}}"}},
        ]),
        &[
            ("step", "object", "{{json .steps.b.output}}"),
            ("end", "string", "{{.workflow.status}} {{.workflow.step_count}}"),
        ],
    );
    document["config"] = json!({"team": "sre"});
    let id = "80000000-8000-4000-8000-000080000000";
    let expected = json!({"workflow": format!("{id} 1500 1 running 2027-01-15T08:00:00Z"), "config": "sre map[]",
        "outside": "<no value>", "dash": "x x", "content": "text"});
    assert_eq!(world.run(&document, json!({})), Ok(json!({"step": expected, "end": "completed 2"})));
}

#[test]
fn outputs_are_typed_and_have_defaults() {
    let check = |property: Value, expected: Result<Value, &str>| {
        let mut document = steps(json!([{"id": "a", "tool": "a"}]));
        let mut property = property;
        property["description"] = "d".into();
        document["output"] = json!({"properties": {"x": property}, "required": ["x"]});
        let world = FakeWorld::new().answers(
            "a",
            ms(0),
            structured(json!({"n": 3, "t": "text", "list": [1], "o": {"k": null}})),
        );
        let result = world.run(&document, json!({})).map_err(|error| error.to_string());
        let expected = expected.map(|value| json!({"x": value})).map_err(|reason| format!("output `x`: {reason}"));
        assert_eq!(result, expected, "{property}");
    };
    let value = |kind: &str, path: &str| json!({"type": kind, "value": format!("{{{{{path}}}}}")});
    let with_default = |kind: &str, path: &str, default: Value| {
        let mut property = value(kind, path);
        property["default"] = default;
        property
    };
    check(value("integer", ".steps.a.output.n"), Ok(json!(3)));
    check(value("number", ".steps.a.output.n"), Ok(json!(3)));
    check(value("string", ".steps.a.output.n"), Ok(json!("3")));
    check(value("boolean", "eq .steps.a.output.n 3"), Ok(json!(true)));
    check(value("array", "json .steps.a.output.list"), Ok(json!([1])));
    check(value("object", "json .steps.a.output.o"), Ok(json!({"k": null})));
    check(value("string", ".steps.a.output.missing"), Ok(json!("<no value>")));
    check(value("integer", ".steps.a.output.t"), Err("`text` is no integer"));
    check(value("array", ".steps.a.output.list"), Ok(json!([1])));
    check(value("object", ".steps.a.output.o"), Err("`map[k:<nil>]` is no object"));
    check(value("integer", ".steps.a.output.missing"), Err("`<no value>` is no integer"));
    check(value("string", "index .steps.a.output.list 4"), Err("index out of range: 4"));
    check(with_default("integer", ".steps.a.output.missing", json!(7)), Ok(json!(7)));
    check(with_default("string", ".steps.a.output.missing", json!(7)), Ok(json!("7")));
    check(with_default("integer", ".steps.a.output.t", json!("7")), Ok(json!(7)));
    check(with_default("integer", ".steps.a.output.t", json!(7.0)), Ok(json!(7)));
    check(with_default("array", "index .steps.a.output.list 4", json!("[2]")), Ok(json!([2])));
    let nested = json!({"type": "object", "properties": {"y": {"type": "integer", "description": "d", "value": "{{.steps.a.output.n}}"}}});
    check(nested, Ok(json!({"y": 3})));
    let broken = json!({"type": "object", "properties": {"y": {"type": "integer", "description": "d", "value": "y"}}});
    let mut document = steps(json!([{"id": "a", "tool": "a"}]));
    document["output"] = json!({"properties": {"x": broken}});
    let error = FakeWorld::new().answers("a", ms(0), text("")).run(&document, json!({})).unwrap_err();
    assert_eq!(error.to_string(), "output `x.y`: `y` is no integer");
}

#[test]
fn a_definition_says_what_a_tool_needs() {
    let mut document = steps_and_output(
        json!([
            {"id": "a", "tool": "github.search"}, {"id": "b", "type": "forEach", "collection": "[]", "step": {"tool": "jira.get"}},
            {"id": "c", "tool": "github.search"},
        ]),
        &[("n", "integer", "{{.steps.b.output.count}}")],
    );
    document["output"]["required"] = json!(["n"]);
    document["output"]["properties"]["n"]["default"] = json!(0);
    document["parameters"] = json!({"type": "object", "properties": {"q": {"type": "string"}}});
    document["annotations"] = json!({"readOnlyHint": true});
    let definition = Workflow::parse(&document).unwrap().definition();
    let output = json!({"type": "object", "properties": {"n": {"type": "integer", "description": "d", "default": 0}}, "required": ["n"]});
    let expected = Definition {
        name: "w".into(),
        description: "d".into(),
        input_schema: document["parameters"].clone(),
        output_schema: Some(output),
        annotations: document["annotations"].as_object().cloned(),
        config_schema: None,
        tools: vec!["github.search".into(), "jira.get".into()],
        // The half hour that a workflow has which says nothing, and a minute for its host to wait longer.
        wall_time: Duration::from_mins(31),
    };
    assert_eq!(definition, expected);
    let plain = Workflow::parse(&steps(json!([{"id": "a", "tool": "a"}]))).unwrap().definition();
    assert_eq!((plain.input_schema, plain.output_schema), (json!({"type": "object"}), None));
}

#[test]
fn a_template_has_an_output_limit() {
    let world = FakeWorld::new().echo("echo");
    let document =
        steps(json!([{"id": "a", "tool": "echo", "arguments": {"big": "{{range 1000}}{{$.params.x}}{{end}}"}}]));
    let error = world.run(&document, json!({"x": "x".repeat(20_000)})).unwrap_err();
    assert_eq!(error.to_string(), "step `a` failed: argument `big`: it yields more than 10 MB");
}

#[test]
fn the_example_of_the_readme_runs() {
    let document = json!({
        "name": "triage", "description": "Opens an issue for each alert that is still firing",
        "parameters": {"type": "object", "properties": {
            "team": {"type": "string"}, "most": {"type": "integer", "default": 10}}},
        "steps": [
            {"id": "alerts", "tool": "grafana.list_alerts",
             "arguments": {"team": "{{.params.team}}", "limit": "{{.params.most}}"}},
            {"id": "sure", "type": "elicitation", "dependsOn": ["alerts"],
             "condition": "{{gt (len .steps.alerts.output.firing) 3}}",
             "message": "Open {{len .steps.alerts.output.firing}} issues?",
             "schema": {"type": "object", "properties": {}}, "onDecline": {"action": "skip_remaining"}},
            {"id": "issues", "type": "forEach", "dependsOn": ["sure"],
             "collection": "{{json .steps.alerts.output.firing}}", "itemVar": "alert",
             "step": {"tool": "github.create_issue", "arguments": {"title": "{{.forEach.alert.name}}"},
                      "onError": {"action": "continue", "retryCount": 2}},
             "onError": {"action": "continue"}, "defaultResults": {"completed": 0}},
        ],
        "output": {"properties": {"opened": {"type": "integer", "description": "Issues opened",
            "value": "{{.steps.issues.output.completed}}", "default": 0}}},
    });
    let check = |alerts: usize, user: Elicited, opened: u64| {
        let firing: Vec<_> = (0..alerts).map(|n| json!({"name": format!("alert {n}")})).collect();
        let world = FakeWorld::new()
            .schema("grafana.list_alerts", json!({"properties": {"limit": {"type": "integer"}}}))
            .answers("grafana.list_alerts", ms(10), structured(json!({"firing": firing})))
            .answers("github.create_issue", ms(10), text("opened"))
            .user(ms(10), user);
        assert_eq!(world.run(&document, json!({"team": "sre"})), Ok(json!({"opened": opened})));
        assert_eq!(world.events.borrow()[0].what, What::Called(json!({"team": "sre", "limit": 10})));
    };
    check(2, Elicited::Declined, 2);
    check(4, Elicited::Accepted(Map::new()), 4);
    check(4, Elicited::Declined, 0);
}

#[test]
fn a_call_gets_the_timeout_that_its_step_declares() {
    let world = FakeWorld::new().echo("echo");
    let document = steps(json!([{"id": "a", "tool": "echo"}, {"id": "b", "tool": "echo", "timeout": "2s"}]));
    world.run(&document, json!({})).unwrap();
    assert_eq!(*world.timeouts.borrow(), [None, Some(ms(2000))]);
}

#[test]
fn the_context_is_there_whichever_way_a_template_reads_it() {
    let check = |template: &str| {
        let world = FakeWorld::new().echo("a").echo("b");
        let first = json!({"id": "first", "tool": "a", "arguments": {"n": 1}});
        let second = json!({"id": "second", "tool": "b", "dependsOn": ["first"], "arguments": {"seen": template}});
        let seen = world.run(&steps(json!([first, second])), json!({"p": "x"})).unwrap();
        assert_eq!(seen["seen"], "x 1 running", "{template}");
        assert!(world.draws.get() > 0, "{template}");
    };
    let all = "{{.params.p}} {{.steps.first.output.n}} {{.workflow.status}}";
    check(all);
    check("{{$.params.p}} {{$.steps.first.output.n}} {{$.workflow.status}}");
    check(&format!("{{{{with .}}}}{all}{{{{end}}}}"));
    check(&format!("{{{{$all := .}}}}{{{{with $all}}}}{all}{{{{end}}}}"));
    check(&format!("{{{{define \"all\"}}}}{all}{{{{end}}}}{{{{template \"all\" .}}}}"));
    check(&format!("{{{{define \"all\"}}}}{all}{{{{end}}}}{{{{template \"all\" $}}}}"));
    check(&format!("{{{{define \"all\"}}}}{all}{{{{end}}}}{{{{template \"all\"}}}}"));
    check(&format!("{{{{block \"all\" .}}}}{all}{{{{end}}}}"));
    check(&format!("{{{{block \"all\"}}}}{all}{{{{end}}}}"));
    let root = "{{$.params.p}} {{$.steps.first.output.n}} {{$.workflow.status}}";
    check(&format!("{{{{if false}}}}{{{{$ = 1}}}}{{{{end}}}}{root}"));
    check(&format!("{{{{range $ := .params.none}}}}x{{{{else}}}}{root}{{{{end}}}}"));
    check(
        "{{index . \"params\" \"p\"}} {{(index (index . \"steps\") \"first\").output.n}} {{(index . \"workflow\").status}}",
    );
    check(
        "{{range $key, $value := .}}{{if eq $key \"params\"}}{{$value.p}} {{end}}{{if eq $key \"steps\"}}{{$value.first.output.n}} \
         {{end}}{{if eq $key \"workflow\"}}{{$value.status}}{{end}}{{end}}",
    );
    let each = "{{$all.params.p}} {{$all.steps.first.output.n}} {{$all.workflow.status}}";
    check(&format!("{{{{with $all := fromJson (json .)}}}}{each}{{{{end}}}}"));
}

#[test]
fn what_is_inside_a_step_sees_the_context_though_the_step_itself_does_not_look() {
    let seen = "{{.params.p}} {{.steps.first.output.n}} {{.workflow.status}}";
    let first = json!({"id": "first", "tool": "a", "arguments": {"n": 1}});
    let inner = json!({"id": "inner", "tool": "a", "arguments": {"seen": seen}});
    let check = |outer: Value| {
        let world = FakeWorld::new().echo("a");
        world.run(&steps(json!([first, outer])), json!({"p": "x"})).unwrap();
        let events = world.events.borrow();
        assert!(
            events.iter().any(|event| event.what == What::Called(json!({"seen": "x 1 running"}))),
            "{outer}: {events:?}"
        );
    };
    let after = |mut outer: Value| {
        outer["id"] = "outer".into();
        outer["dependsOn"] = json!(["first"]);
        outer
    };
    check(after(json!({"type": "switch", "on": "yes", "cases": [{"equals": "yes", "steps": [inner]}]})));
    check(after(json!({"type": "while", "while": "{{eq .round.index 0}}", "steps": [inner]})));
    check(after(json!({"type": "forEach", "collection": "[1]", "step": inner})));
}

#[test]
fn a_workflow_that_does_not_look_at_its_run_asks_for_no_chance() {
    let world = FakeWorld::new().echo("a");
    let one = json!({"id": "one", "tool": "a", "arguments": {"p": "{{.params.p}}"}});
    assert_eq!(world.run(&steps(json!([one])), json!({"p": "x"})).unwrap(), json!({"p": "x"}));
    assert_eq!(world.draws.get(), 0);
}
