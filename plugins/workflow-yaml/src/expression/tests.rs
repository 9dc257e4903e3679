use serde_json::{Value, json};

use super::*;
use crate::template::from_json;

fn compile(source: &str) -> Result<Expression, Vec<String>> {
    let mut problems = Problems::default();
    let compiled = Expression::compile(source, Place::default(), &mut problems);
    let messages: Vec<_> = problems.0.into_iter().map(|problem| problem.message).collect();
    compiled.filter(|_| messages.is_empty()).ok_or(messages)
}

fn evaluate(source: &str, context: &Value) -> Result<Value, String> {
    compile(source).unwrap_or_else(|problems| panic!("{source}: {problems:?}")).evaluate(&from_json(context))
}

#[test]
fn expressions_yield_json_of_their_types() {
    let context = json!({
        "params": {"n": 3, "price": 2.5, "big": u64::MAX, "whole": 4.0, "team": "sre", "list": [3, 1, 2], "none": null},
        "steps": {"a-b": {"output": {"rows": [{"id": 1, "ok": true}, {"id": 2, "ok": false}]}}},
        "forEach": {"item": {"x": "y"}, "index": 2},
    });
    let check = |source: &str, expected: Value| assert_eq!(evaluate(source, &context), Ok(expected), "{source}");
    check("params.n + 1", json!(4));
    check("params.whole + 1", json!(5));
    check("double(params.n) * params.price", json!(7.5));
    check("params.n == 3.0 && params.team == 'sre'", json!(true));
    check("params.big", json!(u64::MAX));
    check("params.none", json!(null));
    check("steps['a-b'].output.rows.filter(r, r.ok).map(r, r.id)", json!([1]));
    check(
        "{'ids': steps['a-b'].output.rows.map(r, string(r.id)).join('-'), 'n': size(params.list)}",
        json!({"ids": "1-2", "n": 3}),
    );
    check("params.list.sort()", json!([1, 2, 3]));
    check("has(params.missing) ? params.missing : 'none'", json!("none"));
    check("params.?missing.orValue(7)", json!(7));
    check("forEach.item.x + string(forEach.index)", json!("y2"));
    check("math.greatest(params.n, 7)", json!(7));
    check("{2: 'b', 10: 'c', 'x': 1}", json!({"2": "b", "10": "c", "x": 1}));
    check("type(params.n) == int", json!(true));
}

#[test]
fn maps_have_the_order_of_their_keys() {
    let context = json!({"params": (0..50).map(|n| (format!("k{n:02}"), json!(n))).collect::<serde_json::Map<_, _>>()});
    let expected: Vec<_> = (0..50).map(|n| format!("k{n:02}")).collect();
    assert_eq!(evaluate("params.map(k, k)", &context), Ok(json!(expected)));
    assert_eq!(evaluate("{3: 1, 20: 1, 1u: 1}.map(k, k)", &context), Ok(json!([1, 3, 20])));
}

#[test]
fn errors_say_what_is_wrong() {
    let check = |source: &str, expected: &str| {
        let error = evaluate(source, &json!({"params": {"n": 1}})).unwrap_err();
        assert_eq!(error, expected, "{source}");
    };
    check("params.x", "no such key: x");
    check("params.n / 0", "division by zero of Int(1)");
    check("0.0 / 0.0", "JSON has no such number");
    check("b'abc'", "its value has no JSON");
    check("{1: 'a', '1': 'b'}", "two keys of a map are `1` in JSON");
    check("nosuch(1)", "undeclared reference to 'nosuch'");
    check("steps.a", "undeclared reference to 'steps'");
}

#[test]
fn what_does_not_parse_or_is_not_defined_is_a_problem() {
    let problems = compile("[1, 2").err().unwrap();
    assert!(problems[0].starts_with("the expression does not parse, at 1:6: "), "{problems:?}");
    assert!(compile("params.n +\n  )").err().unwrap()[0].starts_with("the expression does not parse, at 2:3: "));
    assert_eq!(compile("param.n + params.n").err(), Some(vec!["`param` is not defined".to_owned()]));
    assert_eq!(compile("[1].map(x, x) + [x]").err(), Some(vec!["`x` is not defined".to_owned()]));
    assert_eq!(compile(&"1+".repeat(9000)).err(), Some(vec!["longer than 16 KB".to_owned()]));
}

#[test]
fn nesting_has_a_limit() {
    // frames are larger where nothing is optimized
    let roomy = std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(check_nesting);
    roomy.unwrap().join().unwrap();
}

fn check_nesting() {
    let check = |source: String, bearable: bool| {
        let expected = if bearable { None } else { Some(vec!["the expression is nested too deeply".to_owned()]) };
        assert_eq!(compile(&source).err(), expected, "{source}");
    };
    let brackets = |depth: usize| format!("{}1{}", "(".repeat(depth), ")".repeat(depth));
    let lists = |depth: usize| format!("{}1{}", "[1, ".repeat(depth), "]".repeat(depth));
    check(brackets(20), true);
    check(brackets(21), false);
    check(lists(20), true);
    check(brackets(500), false);
    check(format!("1{}", " + 1".repeat(200)), true);
    check(format!("1{}", " + 1".repeat(201)), false);
    check(format!("params{}", ".x".repeat(201)), false);
    check(format!("[1{}]", ", params.x + 1".repeat(300)), true);
    check(format!("[{}'']", "'((((((((((((((((((((((((', ".repeat(30)), true);
    check("!".repeat(100) + "true", true);
    check(format!("{}2", "false ? 1 : ".repeat(90)), true);
}

#[test]
fn loops_have_a_limit() {
    let loops = |outer: usize, inner: usize| {
        let source = format!("size(lists.range({outer}).map(x, size(lists.range({inner}).filter(y, y == x))))");
        evaluate(&source, &json!({}))
    };
    assert_eq!(loops(100, 100), Ok(json!(100)));
    assert_eq!(loops(1000, 200), Err("error executing function 'loop': more than 100000 turns".to_owned()));
}

#[test]
fn a_value_beyond_ten_megabytes_is_refused() {
    let source = "params.list.map(x, params.text)";
    let context = json!({"params": {"list": vec![0; 11], "text": "x".repeat(1024 * 1024)}});
    assert_eq!(evaluate(source, &context), Err("the value is too large".to_owned()));
}

#[test]
fn reads_are_the_paths_of_the_context() {
    let check = |source: &str, expected: &[&str]| {
        let expression = compile(source).ok().unwrap();
        let paths: Vec<_> = expression.reads.paths.iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, expected, "{source}");
    };
    check("steps.a.output.x", &["steps", "steps.a", "steps.a.output", "steps.a.output.x"]);
    check("has(params.x)", &["params", "params.x"]);
    check("steps['a-b'].?output", &["steps", "steps.a-b", "steps.a-b.output"]);
    check("params.list.map(p, p.x)", &["params", "params.list"]);
}
