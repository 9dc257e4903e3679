//! Forty scalars, each in a place for any value and in the places of ours, with what Go's yaml.v3 makes of them.

use super::*;
use crate::problem::Rule;

/// What a place makes of a scalar: a value, or that it is refused.
type Read = Result<Value, ()>;

fn read(text: &str, place: &Value) -> Read {
    let file = format!("k: {text}");
    let (tree, _) = Tree::parse(&file, "f").unwrap();
    let node = &tree.root.get("k").unwrap().value;
    let NodeKind::Scalar(scalar) = &node.kind else { panic!("{text} is no scalar") };
    let value = typed(scalar, place).map_err(drop)?;
    if jsonschema::is_valid(place, &value) { Ok(value) } else { Err(()) }
}

#[test]
fn forty_scalars_are_read_as_go_reads_them() {
    // The scalar; untyped; as text; as true or false; as a whole number. Null is absent in a typed place.
    let rows: [(&str, Read, Read, Read, Read); 47] = [
        ("no", Ok(json!("no")), Ok(json!("no")), Ok(json!(false)), Err(())),
        ("yes", Ok(json!("yes")), Ok(json!("yes")), Ok(json!(true)), Err(())),
        ("on", Ok(json!("on")), Ok(json!("on")), Ok(json!(true)), Err(())),
        ("Off", Ok(json!("Off")), Ok(json!("Off")), Ok(json!(false)), Err(())),
        ("y", Ok(json!("y")), Ok(json!("y")), Ok(json!(true)), Err(())),
        ("true", Ok(json!(true)), Ok(json!("true")), Ok(json!(true)), Err(())),
        ("False", Ok(json!(false)), Ok(json!("False")), Ok(json!(false)), Err(())),
        ("tRUE", Ok(json!("tRUE")), Ok(json!("tRUE")), Err(()), Err(())),
        ("'true'", Ok(json!("true")), Ok(json!("true")), Err(()), Err(())),
        ("'yes'", Ok(json!("yes")), Ok(json!("yes")), Ok(json!(true)), Err(())),
        ("12", Ok(json!(12)), Ok(json!("12")), Err(()), Ok(json!(12))),
        ("'12'", Ok(json!("12")), Ok(json!("12")), Err(()), Err(())),
        ("0755", Ok(json!(493)), Ok(json!("0755")), Err(()), Ok(json!(493))),
        ("0o755", Ok(json!(493)), Ok(json!("0o755")), Err(()), Ok(json!(493))),
        ("0789", Ok(json!(789)), Ok(json!("0789")), Err(()), Ok(json!(789))),
        ("0b101", Ok(json!(5)), Ok(json!("0b101")), Err(()), Ok(json!(5))),
        ("-0b101", Ok(json!(-5)), Ok(json!("-0b101")), Err(()), Ok(json!(-5))),
        ("0x1F", Ok(json!(31)), Ok(json!("0x1F")), Err(()), Ok(json!(31))),
        ("1_000", Ok(json!(1000)), Ok(json!("1_000")), Err(()), Ok(json!(1000))),
        ("+1", Ok(json!(1)), Ok(json!("+1")), Err(()), Ok(json!(1))),
        ("-7", Ok(json!(-7)), Ok(json!("-7")), Err(()), Ok(json!(-7))),
        ("18446744073709551615", Ok(json!(u64::MAX)), Ok(json!("18446744073709551615")), Err(()), Ok(json!(u64::MAX))),
        ("99999999999999999999", Ok(json!(1e20)), Ok(json!("99999999999999999999")), Err(()), Ok(json!(1e20))),
        ("1e3", Ok(json!(1000)), Ok(json!("1e3")), Err(()), Ok(json!(1000))),
        ("1.", Ok(json!(1)), Ok(json!("1.")), Err(()), Ok(json!(1))),
        (".5", Ok(json!(0.5)), Ok(json!(".5")), Err(()), Err(())),
        ("1.10", Ok(json!(1.1)), Ok(json!("1.10")), Err(()), Err(())),
        ("1e400", Ok(json!("1e400")), Ok(json!("1e400")), Err(()), Err(())),
        (".inf", Err(()), Ok(json!(".inf")), Err(()), Err(())),
        (".NaN", Err(()), Ok(json!(".NaN")), Err(()), Err(())),
        ("~", Ok(Value::Null), Err(()), Err(()), Err(())),
        ("null", Ok(Value::Null), Err(()), Err(()), Err(())),
        ("", Ok(Value::Null), Err(()), Err(()), Err(())),
        ("''", Ok(json!("")), Ok(json!("")), Err(()), Err(())),
        ("nULL", Ok(json!("nULL")), Ok(json!("nULL")), Err(()), Err(())),
        ("2001-01-01", Ok(json!("2001-01-01T00:00:00Z")), Ok(json!("2001-01-01")), Err(()), Err(())),
        ("2001-1-2", Ok(json!("2001-01-02T00:00:00Z")), Ok(json!("2001-1-2")), Err(()), Err(())),
        ("2001-02-30", Ok(json!("2001-02-30")), Ok(json!("2001-02-30")), Err(()), Err(())),
        (
            "2001-12-14t21:59:43.10-05:00",
            Ok(json!("2001-12-14T21:59:43.1-05:00")),
            Ok(json!("2001-12-14t21:59:43.10-05:00")),
            Err(()),
            Err(()),
        ),
        ("2001-12-14 21:59:43", Ok(json!("2001-12-14T21:59:43Z")), Ok(json!("2001-12-14 21:59:43")), Err(()), Err(())),
        ("'2001-01-01'", Ok(json!("2001-01-01")), Ok(json!("2001-01-01")), Err(()), Err(())),
        ("12:30", Ok(json!("12:30")), Ok(json!("12:30")), Err(()), Err(())),
        ("!!str 12", Ok(json!("12")), Ok(json!("12")), Err(()), Err(())),
        ("!!int '12'", Ok(json!(12)), Ok(json!("12")), Err(()), Ok(json!(12))),
        ("!!float 3", Ok(json!(3)), Ok(json!("3")), Err(()), Ok(json!(3))),
        ("!!int x", Err(()), Ok(json!("x")), Err(()), Err(())),
        ("!!binary aGk=", Ok(json!("hi")), Ok(json!("hi")), Err(()), Err(())),
    ];
    for (text, untyped, as_text, as_bool, as_int) in rows {
        assert_eq!(read(text, &json!(true)), untyped, "{text} untyped");
        assert_eq!(read(text, &json!({"type": "string"})), as_text, "{text} as text");
        assert_eq!(read(text, &json!({"type": "boolean"})), as_bool, "{text} as true or false");
        assert_eq!(read(text, &json!({"type": "integer"})), as_int, "{text} as a whole number");
    }
}

#[test]
fn what_json_cannot_hold_is_reported_at_its_place() {
    let check = |text: &str, rule: Rule| {
        let file = format!("aggregation:\n  conflictResolutionConfig:\n    a: [1, {text}]");
        let (tree, _) = Tree::parse(&file, "f").unwrap();
        let mut report = Report::new(&tree);
        instance(&tree, &mut report);
        let found: Vec<_> = report.errors.iter().map(|p| (p.rule, p.location.line, p.location.column)).collect();
        assert_eq!(found.first(), Some(&(rule, 3, 12)), "{text}");
    };
    check(".inf", Rule::NotJson);
    check("-.INF", Rule::NotJson);
    check(".nan", Rule::NotJson);
}

#[test]
fn null_and_empty_text_count_as_absent_where_go_cannot_tell() {
    let check = |text: &str, expected: Value| {
        let (tree, _) = Tree::parse(text, "f").unwrap();
        let mut report = Report::new(&tree);
        assert_eq!(instance(&tree, &mut report), expected, "{text}");
    };
    check("backends:\naggregation: ~\nname: x", json!({"name": "x"}));
    check("operational: {logLevel: ''}", json!({"operational": {}}));
    check("groupRef: ''", json!({"groupRef": ""})); // for the schema to refuse
    check("metadata: {a: '', b: ~, c: 1.10}", json!({"metadata": {"a": "", "b": "", "c": "1.10"}}));
    check(
        "compositeTools: [{name: a, config: {b: ~, c: ''}}]",
        json!({"compositeTools": [{"name": "a", "config": {"b": null, "c": ""}}]}),
    );
}
