//! What a composite tool may say of itself: no more than the tools that it calls.

use serde::Deserialize;
use serde_json::{Map, Value};
use vmcp_core::json::RawJson;

/// What tools may do, as far as hints of the protocol say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    read_only: bool,
    destructive: bool,
    open_world: bool,
}

/// The hints that say that a tool is safe. Absent ones mean the worse, as the protocol has it.
#[derive(Debug, Default, Deserialize)]
struct Hints {
    #[serde(rename = "readOnlyHint")]
    read_only: Option<bool>,
    #[serde(rename = "destructiveHint")]
    destructive: Option<bool>,
    #[serde(rename = "openWorldHint")]
    open_world: Option<bool>,
}

impl Floor {
    /// Of all these tools together; no tool at all does nothing.
    pub(crate) fn of<'a>(tools: impl IntoIterator<Item = Option<&'a RawJson>>) -> Self {
        let none = Self { read_only: true, destructive: false, open_world: false };
        tools.into_iter().fold(none, |floor, annotations| {
            let hints: Hints = annotations.and_then(|raw| raw.to_value().ok()).unwrap_or_default();
            let read_only = hints.read_only == Some(true);
            Self {
                read_only: floor.read_only && read_only,
                destructive: floor.destructive || hints.destructive.unwrap_or(!read_only),
                open_world: floor.open_world || hints.open_world.unwrap_or(true),
            }
        })
    }

    /// The annotations to show: the floor, and what the author declares.
    ///
    /// # Errors
    /// The hint that sounds safer than the tools are.
    pub(crate) fn annotations(self, declared: &Map<String, Value>) -> Result<Map<String, Value>, String> {
        let hints = [
            ("readOnlyHint", self.read_only, true),
            ("destructiveHint", self.destructive, false),
            ("openWorldHint", self.open_world, false),
        ];
        let mut annotations = Map::new();
        for (hint, floor, safe) in hints {
            let said = declared.get(hint).and_then(Value::as_bool).unwrap_or(floor);
            if said == safe && floor != safe {
                return Err(format!(
                    "`{hint}: {said}` is safer than the tools it calls, which come to `{hint}: {floor}`"
                ));
            }
            annotations.insert(hint.to_owned(), said.into());
        }
        let others = declared.iter().filter(|(name, _)| !hints.iter().any(|(hint, ..)| hint == name));
        annotations.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        Ok(annotations)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn floor(tools: &[Value]) -> Floor {
        let tools: Vec<_> = tools.iter().map(|tool| (!tool.is_null()).then(|| RawJson::of(tool))).collect();
        Floor::of(tools.iter().map(Option::as_ref))
    }

    #[test]
    fn the_floor_is_the_worst_of_the_tools() {
        let check = |tools: &[Value], expected: [bool; 3]| {
            let Floor { read_only, destructive, open_world } = floor(tools);
            assert_eq!([read_only, destructive, open_world], expected, "{tools:?}");
        };
        let reads = json!({ "readOnlyHint": true, "openWorldHint": false });
        let writes = json!({ "destructiveHint": false, "openWorldHint": false });
        check(&[], [true, false, false]);
        check(std::slice::from_ref(&reads), [true, false, false]);
        check(&[reads.clone(), writes.clone()], [false, false, false]);
        check(&[writes, json!({})], [false, true, true]);
        check(&[reads, Value::Null], [false, true, true]);
    }

    #[test]
    fn no_hint_is_safer_than_the_floor() {
        let check = |tools: &[Value], declared: Value, expected: Result<Value, &str>| {
            let Value::Object(declared) = declared else { panic!("no object") };
            let shown = floor(tools).annotations(&declared).map(Value::Object);
            assert_eq!(shown, expected.map_err(str::to_owned), "{declared:?}");
        };
        let reads = [json!({ "readOnlyHint": true, "openWorldHint": false })];
        check(
            &reads,
            json!({ "title": "Look", "openWorldHint": true }),
            Ok(json!({ "readOnlyHint": true, "destructiveHint": false, "openWorldHint": true, "title": "Look" })),
        );
        check(
            &[Value::Null],
            json!({ "readOnlyHint": true }),
            Err("`readOnlyHint: true` is safer than the tools it calls, which come to `readOnlyHint: false`"),
        );
    }
}
