//! What every component says of itself, and how the text of its config becomes a value. Used by the register macros;
//! authors need only [`ConfigProblem`].

use std::fmt;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// The crate that a component was built from. The register macros fill it from Cargo's environment.
#[doc(hidden)]
pub trait Package {
    /// `CARGO_PKG_NAME`
    const NAME: &str;
    /// `CARGO_PKG_VERSION`
    const VERSION: &str;
    /// `CARGO_PKG_DESCRIPTION`
    const SUMMARY: &str;
}

/// Something wrong in a component's config. The host reports it with file, line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigProblem {
    /// JSON pointer into the config, e.g. `/priorityOrder/0`; the empty string is the config itself.
    pub pointer: String,
    /// What is wrong, for people: lower case, no final period.
    pub message: String,
}

impl ConfigProblem {
    /// A problem with the value at `pointer`.
    pub fn new(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), message: message.into() }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

/// All of them, for an error that is one text.
#[cfg(target_arch = "wasm32")]
pub(crate) fn in_one_line(problems: &[ConfigProblem]) -> String {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    problems.join("; ")
}

/// The config's JSON Schema as text.
#[doc(hidden)]
pub fn config_schema<C: JsonSchema>() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<C>();
    schema.as_value().to_string()
}

/// The config as the implementor itself, or everything that is wrong with it.
pub(crate) fn load_config<C: DeserializeOwned>(
    config: &str,
    check: impl FnOnce(&C) -> Vec<ConfigProblem>,
) -> Result<C, Vec<ConfigProblem>> {
    let loaded = parse_config(config).map_err(|problem| vec![problem])?;
    let problems = check(&loaded);
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// Reads a config from JSON text; no text at all is an empty object.
fn parse_config<C: DeserializeOwned>(config: &str) -> Result<C, ConfigProblem> {
    let text = if config.trim().is_empty() { "{}" } else { config };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let pointer = error.path().iter().map(pointer_segment).collect::<String>();
        ConfigProblem::new(pointer, without_position(&error.inner().to_string()))
    })?;
    json.end().map_err(|_| ConfigProblem::new("", "text after the end of the config"))?;
    Ok(parsed)
}

fn pointer_segment(segment: &Segment) -> String {
    match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    }
}

/// The host turns the pointer into a position in the user's file; the one in the JSON text would mislead.
fn without_position(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Config {
        #[serde(default)]
        max_length: u32,
        #[serde(default)]
        order: Vec<String>,
    }

    #[test]
    fn a_bad_config_is_reported_by_pointer() {
        let check = |config: &str, expected: &str| {
            let text = parse_config::<Config>(config).map_or_else(|problem| problem.to_string(), |_| "ok".into());
            assert_eq!(text, expected, "{config}");
        };
        check("", "ok");
        check("{}", "ok");
        check(r#"{"maxLength": 3, "order": ["a"]}"#, "ok");
        check(r#"{"maxLength": "x"}"#, "/maxLength: invalid type: string \"x\", expected u32");
        check(r#"{"order": ["a", 1]}"#, "/order/1: invalid type: integer `1`, expected a string");
        check(r#"{"maxlength": 3}"#, "/maxlength: unknown field `maxlength`, expected `maxLength` or `order`");
        check("{} {}", "text after the end of the config");
        check("7", "invalid type: integer `7`, expected struct Config");
    }

    #[test]
    fn the_schema_says_what_the_type_says() {
        let schema: serde_json::Value = serde_json::from_str(&config_schema::<Config>()).unwrap();
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["maxLength"]["default"], 0);
    }
}
