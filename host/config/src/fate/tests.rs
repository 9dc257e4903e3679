//! The table against the schema, and what it says about a file.

use serde_json::Value;

use super::*;

/// A key of the format: its path, with `*` for any key of a mapping and 0 for any entry of a list, and its schema.
type Leaf = (KeyPath, &'static Value);

/// Every key that holds a value rather than keys of the format. A part that contains itself is entered once.
fn leaves() -> Vec<Leaf> {
    let mut leaves = Vec::new();
    collect_leaves(schema::schema(), &KeyPath::root(), &mut Vec::new(), &mut leaves);
    leaves
}

fn collect_leaves(place: &'static Value, path: &KeyPath, inside: &mut Vec<&'static str>, leaves: &mut Vec<Leaf>) {
    let reference = place.get("$ref").and_then(Value::as_str);
    if reference.is_some_and(|reference| inside.contains(&reference)) {
        return;
    }
    inside.extend(reference);
    let resolved = schema::resolve(place);
    if let Some(Value::Object(properties)) = resolved.get("properties") {
        for (key, property) in properties {
            collect_leaves(property, &path.key(key), inside, leaves);
        }
    } else if let Some((inner, step)) = schema::entry_place(resolved) {
        let path = match step {
            Step::Index(index) => path.index(index),
            Step::Key(key) => path.key(&key),
        };
        collect_leaves(inner, &path, inside, leaves);
    } else {
        leaves.push((path.clone(), place));
    }
    if reference.is_some() {
        inside.pop();
    }
}

#[test]
fn every_key_of_the_schema_has_a_fate() {
    let without: Vec<_> = leaves()
        .into_iter()
        .filter(|(path, _)| of_schema_key(path).last().is_none_or(|(value, ..)| value.is_some()))
        .map(|(path, _)| path.to_string())
        .collect();
    assert_eq!(without, [""; 0]);
}

#[test]
fn every_row_is_about_a_key_of_the_schema() {
    let leaves = leaves();
    for row in TABLE {
        assert!(leaves.iter().any(|(path, _)| fits(row, path)), "{} is no key", row.keys);
        assert_eq!(row.reason.is_empty(), row.fate == Fate::Honoured, "{}", row.keys);
    }
}

#[test]
fn one_problem_is_told_per_section_and_a_fate_per_key() {
    let text = "\
name: x
backends: [{ name: a, url: http://h/ }]
incomingAuth:
  type: oidc
  oidc: { issuer: i, audience: a }
outgoingAuth:
  source: inline
  backends:
    a: { type: obo, obo: { tokenUrl: u } }
    b: { type: header_injection, headerInjection: { headerName: X, headerValue: y } }
telemetry: { endpoint: e, insecure: true }
rateLimiting: { shared: { maxTokens: 1, refillPeriod: 1s } }
";
    let (tree, _) = Tree::parse(text, "f").unwrap();
    let fates = of_keys(&tree);
    let paths = |problems: &[Problem]| problems.iter().map(|p| p.path.to_string()).collect::<Vec<_>>();
    assert_eq!(paths(&fates.refused), ["incomingAuth.type", "outgoingAuth.backends.a.type", "rateLimiting"]);
    assert_eq!(paths(&fates.warnings), ["incomingAuth.oidc", "outgoingAuth.backends.a", "telemetry"]);
    let fate_of = |path: &str| fates.keys.iter().find(|key| key.path == path).map(|key| key.fate);
    assert_eq!(fate_of("backends[0].url"), Some(Fate::Honoured));
    assert_eq!(fate_of("outgoingAuth.backends.b.type"), Some(Fate::Honoured));
    assert_eq!(fate_of("telemetry.insecure"), Some(Fate::Warned));
    assert_eq!(fate_of("rateLimiting.shared.refillPeriod"), Some(Fate::Refused));
    assert_eq!(fates.keys.len(), 16);
    assert_eq!(fates.refused[0].location, Location { line: 4, column: 3 });
}
