use serde_json::json;

use super::*;

/// What is said of `arguments`, `?` before what is a warning.
fn said(arguments: &Value, schema: &Value) -> Vec<String> {
    let takes = Takes { schema: schema.clone(), settled: vec!["settled".into()] };
    let findings = check(arguments.as_object(), &takes).unwrap_or_else(|why| panic!("{why}: {schema}"));
    let mark = |finding: &Finding| if finding.is_certain { "" } else { "?" };
    findings.iter().map(|finding| format!("{}{}: {}", mark(finding), finding.path, finding.message)).collect()
}

fn check_one(arguments: &Value, schema: &Value, expected: &[&str]) {
    assert_eq!(said(arguments, schema), expected, "{arguments} {schema}");
}

/// Of an object with the one property `a`.
fn check_a(value: &Value, schema: &Value, expected: &[&str]) {
    check_one(&json!({ "a": value }), &json!({"type": "object", "properties": {"a": schema}}), expected);
}

#[test]
fn literals_are_checked_as_the_interpreter_sends_them() {
    check_a(&json!("5"), &json!({"type": "integer"}), &[]);
    check_a(&json!("five"), &json!({"type": "integer"}), &[r#"a: does not take it: "five" is not of type "integer""#]);
    check_a(&json!("True"), &json!({"type": "boolean"}), &[]);
    check_a(&json!(5), &json!({"type": "string"}), &[r#"a: does not take it: 5 is not of type "string""#]);
    check_a(
        &json!("5"),
        &json!({"type": "integer", "minimum": 6}),
        &["a: does not take it: 5 is less than the minimum of 6"],
    );
    check_a(&json!("c"), &json!({"enum": ["a", "b"]}), &[r#"a: does not take it: "c" is not one of "a" or "b""#]);
    check_a(&json!("c"), &json!({"const": "a"}), &[r#"a: does not take it: "a" was expected"#]);
    check_a(
        &json!("c"),
        &json!({"type": "string", "pattern": "^a"}),
        &[r#"a: does not take it: "c" does not match "^a""#],
    );
    check_a(&json!("no mail"), &json!({"type": "string", "format": "email"}), &[]);
    check_a(
        &json!(["1", "x"]),
        &json!({"type": "array", "items": {"type": "integer"}}),
        &[r#"a[1]: does not take it: "x" is not of type "integer""#],
    );
    check_a(
        &json!("[1, \"x\"]"),
        &json!({"type": "array", "items": {"type": "integer"}}),
        &[r#"a[1]: does not take it: "x" is not of type "integer""#],
    );
    check_a(
        &json!("x"),
        &json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        &[r#"a: does not take it: "x" is not of type "integer", and "x" is not of type "null""#],
    );
    check_a(&json!("5"), &json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), &[]);
    check_a(&json!(5), &json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}), &[]);
}

#[test]
fn templates_say_nothing_that_they_may_not_be() {
    let hole = || json!("{{.params.x}}");
    check_a(&hole(), &json!({"type": "integer"}), &[]);
    check_a(&hole(), &json!({"enum": ["a"]}), &[]);
    check_a(&hole(), &json!({"type": "string", "pattern": "^a", "maxLength": 2}), &[]);
    check_a(&hole(), &json!({"type": "object", "required": ["x"]}), &[]);
    check_a(&hole(), &json!({"anyOf": [{"type": "integer"}, {"type": "array"}]}), &[]);
    check_a(
        &json!("n {{.params.x}}"),
        &json!({"type": ["integer", "boolean"]}),
        &["a: does not take it: whatever the template yields, `n {{.params.x}}` is no integer or boolean"],
    );
    check_a(&json!("n {{.params.x}}"), &json!({"type": ["integer", "string"]}), &[]);
    check_a(
        &json!("the list: {{.params.x}}"),
        &json!({"$ref": "#/properties/a/$defs/l", "$defs": {"l": {"type": "array"}}}),
        &["a: does not take it: whatever the template yields, `the list: {{.params.x}}` is no array"],
    );
    check_a(
        &json!([hole(), 1, 1]),
        &json!({"uniqueItems": true, "maxItems": 2}),
        &[r#"a: does not take it: ["{{.params.x}}",1,1] has more than 2 items"#],
    );
    check_a(&json!({"b": hole()}), &json!({"enum": [{"b": 1}]}), &[]);
    check_a(
        &json!({"b": hole()}),
        &json!({"type": "string"}),
        &[r#"a: does not take it: {"b":"{{.params.x}}"} is not of type "string""#],
    );
    check_a(&json!({"b": hole()}), &json!({"oneOf": [{"required": ["c"]}, {"required": ["d"]}]}), &[]);
}

#[test]
fn what_other_arguments_decide_counts_only_when_they_are_known() {
    let schema = json!({
        "type": "object",
        "properties": {"mode": {"type": "string"}, "n": {}},
        "if": {"properties": {"mode": {"const": "count"}}},
        "then": {"properties": {"n": {"type": "integer"}}, "required": ["n"]},
        "else": {"properties": {"n": {"type": "string"}}},
    });
    check_one(&json!({"mode": "{{.params.x}}", "n": true}), &schema, &[]);
    check_one(&json!({"mode": "count"}), &schema, &["n: needs `n`"]);
    check_one(
        &json!({"mode": "count", "n": true}),
        &schema,
        &[r#"n: does not take it: true is not of type "integer""#],
    );
}

#[test]
fn names_are_checked_at_any_depth() {
    let point = json!({"type": "object", "properties": {"x": {}, "y": {}}, "required": ["x"]});
    let open = json!({"type": "object", "properties": {"at": point, "list": {"type": "array", "items": point}}});
    check_one(
        &json!({"at": {"x": "{{.x}}", "z": 1}, "list": [{"y": 1}], "att": 1}),
        &open,
        &["?at.z: does not know `z`", "?att: does not know `att`", "list[0].x: needs `x`"],
    );
    let mut closed = open.clone();
    closed["additionalProperties"] = json!(false);
    check_one(&json!({"att": "{{.x}}"}), &closed, &["att: takes no `att`"]);
    let takes = Takes { schema: closed, settled: Vec::new() };
    let findings = check(json!({"att": 1}).as_object(), &takes).unwrap();
    assert_eq!(findings[0].hint.as_deref(), Some("did you mean `at`?"));
    check_one(&json!({"settled": 1}), &takes.schema, &[]);
}

#[test]
fn names_that_nobody_lists_are_all_fine() {
    let fine = |schema: Value| check_one(&json!({"x": {"y": 1}}), &schema, &[]);
    fine(json!({"type": "object"}));
    fine(json!({}));
    fine(json!({"type": "object", "properties": {"a": {}}, "additionalProperties": true}));
    fine(json!({"type": "object", "properties": {"a": {}}, "patternProperties": {"^x": {}}}));
    fine(
        json!({"type": "object", "properties": {"a": {}}, "anyOf": [{"properties": {"x": {}}}, {"required": ["a"]}, {}]}),
    );
    fine(json!({"type": "object", "properties": {"x": {"anyOf": [{"properties": {"a": {}}}, {"type": "object"}]}}}));
    fine(json!({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"x": {"$ref": "#/$defs/n"}, "y": {}}}}}));
}

#[test]
fn a_schema_that_is_none_says_why() {
    let takes = |schema| Takes { schema, settled: Vec::new() };
    assert!(check(None, &takes(json!({"type": "objekt"}))).is_err());
    assert!(check(None, &takes(json!({"$ref": "https://example.com/s.json"}))).is_err());
    assert!(check(None, &takes(json!({"type": "object"}))).is_ok_and(|findings| findings.is_empty()));
}
