//! Steps of type `transform`.

use serde_json::{Value, json};

use crate::{
    checks::{check, problems},
    world::{FakeWorld, ms, steps, steps_and_output, structured},
};

fn transform(id: &str, expression: &str) -> Value {
    json!({"id": id, "type": "transform", "expression": expression})
}

#[test]
fn the_value_is_the_output_or_in_it() {
    let check = |expression: &str, expected: Value| {
        let output = FakeWorld::new().run(&steps(json!([transform("t", expression)])), json!({"n": 2})).unwrap();
        assert_eq!(output, expected, "{expression}");
    };
    check(
        "{'double': params.n * 2, 'list': [params.n, 2.5, true, null]}",
        json!({"double": 4, "list": [2, 2.5, true, null]}),
    );
    check("params.n + 1", json!({"output": 3}));
    check("[params.n]", json!({"output": [2]}));
    check("null", json!({"output": null}));
    check("workflow.status", json!({"output": "running"}));
}

#[test]
fn steps_are_read_with_their_types_and_the_value_is_read_by_others() {
    let mut sum =
        transform("sum", "{'ids': steps.rows.output.rows.filter(r, r.n > 1).map(r, r.n), 'status': steps.rows.status}");
    sum["dependsOn"] = json!(["rows"]);
    let document = steps_and_output(
        json!([{"id": "rows", "tool": "rows"}, sum]),
        &[("ids", "array", "{{json .steps.sum.output.ids}}"), ("status", "string", "{{.steps.sum.output.status}}")],
    );
    let world = FakeWorld::new().answers("rows", ms(1), structured(json!({"rows": [{"n": 1}, {"n": 2}, {"n": 3}]})));
    assert_eq!(world.run(&document, json!({})).unwrap(), json!({"ids": [2, 3], "status": "completed"}));
}

#[test]
fn loops_and_rounds_can_transform() {
    let each = json!({"id": "each", "type": "forEach", "collection": "[1, 2]",
        "step": {"type": "transform", "expression": "forEach.item * 10 + forEach.index"}});
    let output = FakeWorld::new().run(&steps(json!([each])), json!({})).unwrap();
    let outputs: Vec<_> =
        output["iterations"].as_array().unwrap().iter().map(|one| one["output"]["output"].clone()).collect();
    assert_eq!(outputs, [10, 21]);
    let sum = transform("sum", "round.index == 0 ? 1 : round.previous.sum.output.output * 2");
    let document = json!({"id": "w", "type": "while", "while": "{{lt .round.index 5}}", "steps": [sum]});
    assert_eq!(FakeWorld::new().run(&steps(json!([document])), json!({})).unwrap()["output"], json!({"output": 16}));
}

#[test]
fn an_expression_that_fails_fails_the_step() {
    let mut step = transform("t", "params.missing");
    let said = FakeWorld::new().run(&steps(json!([step])), json!({})).unwrap_err().to_string();
    assert_eq!(said, "step `t` failed: expression: no such key: missing");
    step["onError"] = json!({"action": "continue"});
    step["defaultResults"] = json!({"output": 0});
    assert_eq!(
        FakeWorld::new()
            .run(&steps_and_output(json!([step]), &[("n", "integer", "{{.steps.t.output.output}}")]), json!({})),
        Ok(json!({"n": 0}))
    );
}

#[test]
fn expressions_are_checked() {
    let place = "/steps/0/expression";
    let one = |expression: &str, expected: &str| {
        check(steps(json!([transform("t", expression), {"id": "b", "tool": "b"}])), &[&format!("{place}: {expected}")]);
    };
    one("param.x", "`param` is not defined");
    one("steps.a.output.x", "no step is called `a`");
    one("steps['b'].output.x", "step `t` reads step `b`, which need not be done before: add it to `dependsOn`");
    one("has(steps.t.output) ? 1 : 2", "step `t` cannot read its own result");
    one("round.index", "`.round` is there only inside a step of type `while`");
    let found = problems(&steps(json!([transform("t", "[1, 2")])));
    assert!(found[0].starts_with(&format!("{place}: the expression does not parse, at 1:6: ")), "{found:?}");
    check(
        steps(json!([{"id": "t", "type": "transform"}])),
        &["/steps/0/expression: a step of type `transform` needs `expression`"],
    );
    let mut optional = transform("t", "{'x': 1}");
    optional["condition"] = "true".into();
    let mut reader = transform("r", "steps.t.output.x");
    reader["dependsOn"] = json!(["t"]);
    let message = "step `t` may yield nothing, and `x` of its output is read elsewhere";
    check(steps(json!([optional, reader])), &[&format!("/steps/0/defaultResults/x: {message}")]);
    let mut retried = transform("t", "1");
    retried["onError"] = json!({"action": "retry", "retryCount": 1});
    let message = "a step of type `transform` is not tried again: it would yield the same";
    check(steps(json!([retried])), &[&format!("/steps/0/onError/action: {message}")]);
}
