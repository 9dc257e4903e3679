//! Client capabilities in one form, so that equal sets are equal text: backend sessions are shared by that text.

use serde_json::Value;
use vmcp_core::json::RawJson;

use crate::object::{Object, write_string};

/// `capabilities` with sorted members and without white space; only the members that `keep` names. No object is none.
pub(super) fn canonical(capabilities: &RawJson, keep: impl Fn(&str) -> bool) -> RawJson {
    // The usual case, and nothing to sort.
    if capabilities.as_bytes() == b"{}" {
        return capabilities.clone();
    }
    match capabilities.to_value::<Value>() {
        Ok(Value::Object(mut members)) => {
            members.retain(|name, _| keep(name));
            let mut out = Vec::with_capacity(capabilities.as_bytes().len());
            write_sorted(&Value::Object(members), &mut out);
            RawJson::from_built(out)
        }
        _ => Object::default().to_json(),
    }
}

fn write_sorted(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            write_list(*b"{}", members, out, |(name, value), out| {
                write_string(name, out);
                out.push(b':');
                write_sorted(value, out);
            });
        }
        Value::Array(items) => write_list(*b"[]", items.iter().collect(), out, write_sorted),
        plain => out.extend_from_slice(plain.to_string().as_bytes()),
    }
}

fn write_list<T>(brackets: [u8; 2], items: Vec<T>, out: &mut Vec<u8>, write: impl Fn(T, &mut Vec<u8>)) {
    out.push(brackets[0]);
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(brackets[1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_are_equal_text() {
        let check = |text: &str, expected: &str| {
            let canonical = canonical(&RawJson::parse(text.to_owned()).unwrap(), |name| name != "tasks");
            assert_eq!(canonical.as_str(), expected, "{text}");
        };
        check("{}", "{}");
        check(
            r#"{ "sampling": {}, "elicitation":{"url":{},"form":{}} }"#,
            r#"{"elicitation":{"form":{},"url":{}},"sampling":{}}"#,
        );
        check(r#"{"tasks":{},"x":[1,{"b":1,"a":null}]}"#, r#"{"x":[1,{"a":null,"b":1}]}"#);
        check("null", "{}");
    }
}
