//! Arguments that a tool's schema wants repeated in headers (`x-mcp-header`), so that what stands between client and server
//! can see them without reading the body.

use std::collections::HashSet;

use serde_json::{Map, Value};
use vmcp_core::{catalog::Mirrored, json::RawJson};

const KEY: &str = "x-mcp-header";
/// Keywords whose values are data, not schemas.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];
/// Keywords whose values are maps from names to schemas.
const MAPS: [&str; 5] = ["properties", "$defs", "definitions", "dependentSchemas", "patternProperties"];

/// The arguments of a tool that are mirrored.
///
/// # Errors
/// Why the annotations are not legal; the protocol has clients drop such a tool.
pub(crate) fn mirrored_arguments(schema: Option<&RawJson>) -> Result<Vec<Mirrored>, String> {
    let Some(schema) = schema.filter(|schema| memchr::memmem::find(schema.as_bytes(), KEY.as_bytes()).is_some()) else {
        return Ok(Vec::new());
    };
    let Ok(Value::Object(schema)) = schema.to_value::<Value>() else { return Ok(Vec::new()) };
    let mut mirrored = Vec::new();
    read_schema(&schema, Some(&[]), &mut mirrored)?;
    let mut seen = HashSet::new();
    match mirrored.iter().find(|mirrored| !seen.insert(mirrored.header.to_ascii_lowercase())) {
        Some(repeated) => Err(format!("two arguments want the header `{}`", repeated.header)),
        None => Ok(mirrored),
    }
}

/// - `path`: of the argument that `schema` describes; `None` where an instance has no fixed place for it
fn read_schema(schema: &Map<String, Value>, path: Option<&[String]>, out: &mut Vec<Mirrored>) -> Result<(), String> {
    for (keyword, value) in schema {
        if keyword == KEY {
            let Some(path) = path.filter(|path| !path.is_empty()) else {
                return Err(format!("`{KEY}` stands where there is no single argument"));
            };
            out.push(annotation(path, schema, value)?);
        } else if MAPS.contains(&keyword.as_str()) {
            let Value::Object(named) = value else { continue };
            for (name, inner) in named {
                let Value::Object(inner) = inner else { continue };
                let path =
                    path.filter(|_| keyword == "properties").map(|path| [path, std::slice::from_ref(name)].concat());
                read_schema(inner, path.as_deref(), out)?;
            }
        } else if !DATA.contains(&keyword.as_str()) {
            let inner = if let Value::Array(items) = value { items.as_slice() } else { std::slice::from_ref(value) };
            for inner in inner.iter().filter_map(Value::as_object) {
                read_schema(inner, None, out)?;
            }
        }
    }
    Ok(())
}

fn annotation(path: &[String], schema: &Map<String, Value>, header: &Value) -> Result<Mirrored, String> {
    let argument = path.join(".");
    let is_token_char = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let header = match header {
        Value::String(header) if !header.is_empty() && header.bytes().all(is_token_char) => header.clone(),
        _ => return Err(format!("`{KEY}` of argument `{argument}` is no header name: {header}")),
    };
    match schema.get("type").and_then(Value::as_str) {
        Some("string" | "integer" | "boolean") => Ok(Mirrored { path: path.to_vec(), header }),
        _ => Err(format!("argument `{argument}` is to be a header, but is no string, integer or boolean")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn annotations_are_read_or_named_as_illegal() {
        let check = |schema: Value, expected: Result<&str, &str>| {
            let got = mirrored_arguments(Some(&RawJson::of(&schema)));
            let got = got.map(|all| {
                all.iter().map(|m| format!("{}={}", m.path.join("."), m.header)).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(got.as_deref().map_err(String::as_str), expected, "{schema}");
        };
        let string = |header: Value| json!({"type": "string", "x-mcp-header": header});
        check(json!({"properties": {"a": {"type": "string"}}}), Ok(""));
        check(json!({"properties": {"a": string(json!("Region"))}}), Ok("a=Region"));
        check(json!({"properties": {"o": {"properties": {"b": string(json!("B"))}}}}), Ok("o.b=B"));
        check(
            json!({"properties": {"a": string(json!(""))}}),
            Err("`x-mcp-header` of argument `a` is no header name: \"\""),
        );
        check(
            json!({"properties": {"a": string(json!("a b"))}}),
            Err("`x-mcp-header` of argument `a` is no header name: \"a b\""),
        );
        check(
            json!({"properties": {"a": string(json!(1))}}),
            Err("`x-mcp-header` of argument `a` is no header name: 1"),
        );
        check(
            json!({"properties": {"a": string(json!("X")), "b": string(json!("x"))}}),
            Err("two arguments want the header `x`"),
        );
        check(
            json!({"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}),
            Err("argument `a` is to be a header, but is no string, integer or boolean"),
        );
        check(
            json!({"properties": {"a": {"items": string(json!("A"))}}}),
            Err("`x-mcp-header` stands where there is no single argument"),
        );
        check(json!({"x-mcp-header": "A"}), Err("`x-mcp-header` stands where there is no single argument"));
        check(json!({"properties": {"a": {"default": {"x-mcp-header": 1}}}}), Ok(""));
    }
}
