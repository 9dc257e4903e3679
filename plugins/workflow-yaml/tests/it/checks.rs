//! What is found before a workflow runs.

use serde_json::{Value, json};
use workflow_yaml::Workflow;

use crate::world::{steps, steps_and_output};

pub(crate) fn problems(document: &Value) -> Vec<String> {
    match Workflow::parse(document) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn check(document: Value, expected: &[&str]) {
    assert_eq!(problems(&document), expected, "{document}");
}

#[test]
fn keys_are_checked() {
    check(json!({"name": "w", "description": "d", "steps": []}), &["/steps: `steps` needs at least one step"]);
    check(
        json!({"name": "", "steps": [{"id": "a", "tool": "a"}]}),
        &["/name: `name` is empty", "/description: `description` is missing"],
    );
    let mut document = steps(json!([{"id": "a", "tool": "a"}]));
    document["parameters"] = json!({"properties": {}});
    check(document, &["/parameters/type: the schema must have `type: object`"]);
    check(steps(json!([{"tool": "a"}])), &["/steps/0/id: the step needs an `id`"]);
    check(steps(json!([{"id": "a"}])), &["/steps/0/tool: a step of type `tool` needs `tool`"]);
    check(
        steps(json!([{"id": "a", "tool": "-x"}])),
        &["/steps/0/tool: `-x` is no name of a tool, like `github.create_issue`"],
    );
    check(
        steps(json!([{"id": "a", "type": "elicitation"}])),
        &["/steps/0/message: a step of type `elicitation` needs `message`"],
    );
    check(
        steps(json!([{"id": "a", "tool": "a", "message": "m"}])),
        &["/steps/0: `tool` and `message` in one step: say with `type` which is meant"],
    );
    check(
        steps(json!([{"id": "a", "type": "forEach"}])),
        &[
            "/steps/0/collection: a step of type `forEach` needs `collection`",
            "/steps/0/step: a step of type `forEach` needs `step`",
        ],
    );
    let each = |more: Value| {
        let mut step = json!({"id": "a", "type": "forEach", "collection": "[]", "step": {"tool": "a"}});
        step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        steps(json!([step]))
    };
    check(each(json!({})), &[]);
    check(
        each(json!({"itemVar": "index"})),
        &["/steps/0/itemVar: `index` cannot name the element: an identifier other than `index` can"],
    );
    check(
        each(json!({"itemVar": "a-b"})),
        &["/steps/0/itemVar: `a-b` cannot name the element: an identifier other than `index` can"],
    );
    check(each(json!({"maxIterations": 1001})), &["/steps/0/maxIterations: must be at most 1000"]);
    check(each(json!({"maxParallel": 51})), &["/steps/0/maxParallel: must be at most 50"]);
    let nested = json!({"step": {"type": "forEach", "collection": "[]", "step": {"tool": "a"}}});
    check(each(nested), &["/steps/0/step/type: a loop repeats a step of type `tool`, `workflow` or `transform`"]);
    check(each(json!({"step": {"arguments": {}}})), &["/steps/0/step/tool: a step of type `tool` needs `tool`"]);
    let unknown = problems(&steps(json!([{"id": "a", "tool": "a", "tol": 1}])));
    assert!(unknown[0].starts_with("/steps/0: unknown field `tol`"), "{unknown:?}");
    let duration = problems(&steps(json!([{"id": "a", "tool": "a", "timeout": "5"}])));
    assert_eq!(duration, ["/steps/0: `5` is no duration like `1m30s`"]);
}

#[test]
fn limits_are_checked() {
    let many: Vec<Value> = (0..101).map(|n| json!({"id": format!("s{n}"), "tool": "a"})).collect();
    check(steps(many.into()), &["/steps: 101 steps are more than 100"]);
    let retry = |on_error: Value| steps(json!([{"id": "a", "tool": "a", "onError": on_error}]));
    check(retry(json!({"action": "retry", "retryCount": 10})), &[]);
    check(retry(json!({"action": "retry", "retryCount": 11})), &["/steps/0/onError/retryCount: must be 1 to 10"]);
    check(retry(json!({"action": "retry"})), &["/steps/0/onError/retryCount: must be 1 to 10"]);
    let ask = |schema: Value| steps(json!([{"id": "a", "type": "elicitation", "message": "m", "schema": schema}]));
    let deep = (0..10).fold(json!({}), |inner, _| json!({"properties": inner}));
    check(ask(deep), &["/steps/0/schema: nested deeper than 10"]);
    check(ask(json!({"description": "x".repeat(100 * 1024)})), &["/steps/0/schema: larger than 100 KB"]);
    let leaf = json!({"type": "string", "description": "d", "value": "x"});
    let nest = |depth| {
        (1..depth)
            .fold(leaf.clone(), |inner, _| json!({"type": "object", "description": "d", "properties": {"p": inner}}))
    };
    let mut document = steps(json!([{"id": "a", "tool": "a"}]));
    document["output"] = json!({"properties": {"p": nest(10)}});
    check(document.clone(), &[]);
    document["output"] = json!({"properties": {"p": nest(11)}});
    assert!(problems(&document)[0].ends_with("properties: nested deeper than 10"));
}

#[test]
fn dependencies_are_checked() {
    let step = |id: &str, after: &[&str]| json!({"id": id, "tool": "t", "dependsOn": after});
    check(steps(json!([step("a", &["b"])])), &["/steps/0/dependsOn/0: no step is called `b`"]);
    check(steps(json!([step("a", &[]), step("a", &[])])), &["/steps/1/id: another step is called `a`"]);
    let cycle = "step `b` waits for itself, by way of its dependencies";
    check(
        steps(json!([step("a", &[]), step("b", &["c"]), step("c", &["b", "a"])])),
        &[&format!("/steps/1/dependsOn: {cycle}")],
    );
    check(steps(json!([step("b", &["b"])])), &[&format!("/steps/0/dependsOn: {cycle}")]);
}

#[test]
fn templates_are_checked() {
    let argument = |template: &str| steps(json!([{"id": "a", "tool": "a", "arguments": {"x": {"y": [template]}}}]));
    let at = |message: &str| format!("/steps/0/arguments/x/y/0: {message}");
    assert!(problems(&argument("{{.params"))[0].starts_with(&at("the template does not parse: ")));
    assert!(problems(&argument("{{if true}}"))[0].starts_with(&at("the template does not parse: ")));
    check(argument("{{upper .params.x}}"), &[&at("function `upper` is not defined")]);
    check(argument("{{$x}}"), &[&at("variable `$x` is not defined")]);
    check(argument("{{template \"x\"}}"), &[&at("template `x` is not defined")]);
    check(argument("{{if $x := .params.a}}{{$x}}{{else}}{{$x}}{{end}}"), &[]);
    check(argument("{{if $x := .params.a}}{{end}}{{$x}}"), &[&at("variable `$x` is not defined")]);
    check(argument("{{range $i, $v := .params.a}}{{$i}}{{$v}}{{end}}"), &[]);
    check(argument("{{define \"x\"}}{{.y}}{{end}}{{template \"x\" .params}}"), &[]);
}

#[test]
fn templates_read_steps_that_are_done_by_then() {
    let document = |template: &str| {
        steps(json!([
            {"id": "a", "tool": "t"}, {"id": "b", "tool": "t", "dependsOn": ["a"]}, {"id": "x-y", "tool": "t"},
            {"id": "c", "tool": "t", "dependsOn": ["b"], "arguments": {"x": template}},
        ]))
    };
    let check = |template: &str, expected: Option<&str>| {
        let expected: Vec<_> = expected.map(|message| format!("/steps/3/arguments/x: {message}")).into_iter().collect();
        assert_eq!(problems(&document(template)), expected, "{template}");
    };
    let not_done = Some("step `c` reads step `x-y`, which need not be done before: add it to `dependsOn`");
    let unknown = Some("no step is called `d`");
    check("{{.steps.b.output.x}}{{.steps.a.output.x}}", None);
    check("{{.steps.d.output.x}}", unknown);
    check("{{.steps.c.output.x}}", Some("step `c` cannot read its own result"));
    check("{{(index .steps \"x-y\").output.text}}", not_done);
    check("{{index .steps \"x-y\" \"output\" \"text\"}}", not_done);
    check("{{if eq .steps.d.status \"failed\"}}{{end}}", unknown);
    check("{{if true}}{{else}}{{.steps.d.status}}{{end}}", unknown);
    check("{{with .steps}}{{.d.status}}{{end}}", unknown);
    check("{{range .params.list}}{{$.steps.d.status}}{{end}}", unknown);
    check("{{range .params.list}}{{.steps.d.status}}{{end}}", None);
    check("{{$s := .steps}}{{$s.d.status}}", unknown);
    check("{{json (printf \"%s\" .steps.d.output)}}", unknown);
    check("{{.steps.d | json}}", unknown);
    check("{{index .steps .params.which}}", None);
    check(".steps.d.output", None);
}

#[test]
fn every_place_of_a_template_is_checked() {
    let read = "{{.steps.missing.output.x}}";
    let message = "no step is called `missing`";
    let check = |step: Value, places: &[&str]| {
        let expected: Vec<_> = places.iter().map(|place| format!("/steps/0{place}: {message}")).collect();
        assert_eq!(problems(&steps(json!([step]))), expected, "{step}");
    };
    check(
        json!({"id": "a", "tool": "a", "condition": read, "arguments": {"a/b": read}}),
        &["/condition", "/arguments/a~1b"],
    );
    check(json!({"id": "a", "type": "elicitation", "message": read}), &["/message"]);
    let inner = json!({"tool": "a", "condition": read, "arguments": {"x": read}});
    check(
        json!({"id": "a", "type": "forEach", "collection": read, "step": inner}),
        &["/collection", "/step/condition", "/step/arguments/x"],
    );
    let document = steps_and_output(json!([{"id": "a", "tool": "a"}]), &[("o", "string", read)]);
    assert_eq!(problems(&document), [format!("/output/properties/o/value: {message}")]);
}

#[test]
fn outputs_of_optional_steps_need_defaults_wherever_they_are_read() {
    let message = |field: &str| {
        format!(
            "/steps/0/defaultResults/{field}: step `a` may yield nothing, and `{field}` of its output is read elsewhere"
        )
    };
    let read = |field: &str| format!("{{{{.steps.a.output.{field}.deeper}}}}");
    let readers = [
        json!({"tool": "t", "arguments": {"x": read("x")}}),
        json!({"tool": "t", "arguments": {"x": {"y": [read("x")]}}}),
        json!({"tool": "t", "condition": read("x")}),
        json!({"type": "elicitation", "message": read("x")}),
        json!({"type": "forEach", "collection": read("x"), "step": {"tool": "t"}}),
        json!({"type": "forEach", "collection": "[]", "step": {"tool": "t", "arguments": {"x": read("x")}}}),
    ];
    for reader in readers {
        let document = |optional: Value| {
            let (mut first, mut second) = (json!({"id": "a", "tool": "t"}), reader.clone());
            first.as_object_mut().unwrap().extend(optional.as_object().unwrap().clone());
            second["id"] = "b".into();
            second["dependsOn"] = json!(["a"]);
            steps(json!([first, second]))
        };
        check(document(json!({})), &[]);
        check(document(json!({"condition": "true"})), &[&message("x")]);
        check(document(json!({"onError": {"action": "continue"}})), &[&message("x")]);
        check(document(json!({"onError": {"action": "retry", "retryCount": 1}})), &[]);
        check(document(json!({"condition": "true", "defaultResults": {"x": 1}})), &[]);
    }
    let step = json!([{"id": "a", "tool": "t", "condition": "true"}]);
    check(
        steps_and_output(step.clone(), &[("o", "string", &read("x")), ("p", "string", &read("x"))]),
        &[&message("x")],
    );
    check(steps_and_output(step, &[("o", "string", "{{.steps.a.status}}{{json .steps.a.output}}")]), &[]);
}

#[test]
fn outputs_are_checked() {
    let check = |output: Value, expected: &[&str]| {
        let mut document = steps(json!([{"id": "a", "tool": "a"}]));
        document["output"] = output;
        check(document, expected);
    };
    let of = |property: Value| json!({"properties": {"x": property}});
    check(of(json!({"type": "string", "description": "d", "value": "x"})), &[]);
    check(of(json!({"type": "string", "description": "d"})), &["/output/properties/x/value: `value` is missing"]);
    let inner = json!({"y": {"type": "string", "description": "d", "value": "x"}});
    check(
        of(json!({"type": "string", "description": "d", "properties": inner})),
        &["/output/properties/x/properties: only an object has `properties`"],
    );
    check(
        of(json!({"type": "object", "description": "d", "value": "x", "properties": inner})),
        &["/output/properties/x: only one of `value` and `properties` is allowed"],
    );
    check(
        of(json!({"type": "integer", "description": "d", "value": "x", "default": "y"})),
        &["/output/properties/x/default: `y` is no integer"],
    );
    check(json!({"properties": {}, "required": ["x"]}), &["/output/required/0: `x` is not among `properties`"]);
}
