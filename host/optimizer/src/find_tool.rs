//! `find_tool` as clients see it: its definition, what it takes, what it answers.

use serde_json::{Map, Value, json};
use vmcp_core::json::RawJson;

use crate::{search::FoundTool, tokens::TokenMetrics};

/// Advertised in place of the catalog.
pub const FIND_TOOL: &str = "find_tool";

const DESCRIPTION: &str = "Finds tools by what they do. Search before you say that something cannot be done, then run what you \
    found with `call_tool`.";

/// The tool as `tools/list` shows it. Short: a model reads it with every request.
///
/// - `description`: in place of the usual one
/// - `summary`: what there is to be found
/// - `limit`: tools that one search returns at most
pub fn definition(description: Option<&str>, summary: &str, limit: u32) -> RawJson {
    RawJson::of(&json!({
        "name": FIND_TOOL,
        "title": "Find a tool",
        "description": format!("{}\n\n{summary}", description.unwrap_or(DESCRIPTION)),
        "inputSchema": {
            "type": "object",
            "properties": {
                "tool_description": { "type": "string", "description": "What you want to do, in words" },
                "tool_keywords": {
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "Words that the right tool should have, if you know some",
                },
                "server": { "type": "string", "description": "Only tools of this server" },
                "limit": { "type": "integer", "minimum": 1, "maximum": limit },
                "explain": { "type": "boolean", "description": "Say why each tool was found" },
            },
            "required": ["tool_description"],
        },
        "annotations": { "readOnlyHint": true, "idempotentHint": true, "openWorldHint": false },
    }))
}

/// What a client asks `find_tool`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FindRequest {
    pub description: String,
    pub keywords: Vec<String>,
    pub server: Option<String>,
    pub limit: Option<u32>,
    pub explain: bool,
}

impl FindRequest {
    /// Reads the arguments. Models write numbers as text and one keyword where a list is due: what can be understood is.
    ///
    /// # Errors
    /// What is wrong, for the model to read.
    pub fn read(arguments: &Map<String, Value>) -> Result<Self, String> {
        let description = match arguments.get("tool_description") {
            Some(Value::String(text)) if !text.trim().is_empty() => text.clone(),
            Some(Value::String(_)) => return Err("`tool_description` is empty: say what you want to do".into()),
            Some(other) => return Err(format!("`tool_description` must be a string, is {other}")),
            None => return Err("`tool_description` is missing: say what you want to do".into()),
        };
        let keywords = match arguments.get("tool_keywords") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::String(text)) => {
                text.split([',', ' ']).filter(|word| !word.is_empty()).map(Into::into).collect()
            }
            Some(Value::Array(words)) => {
                let word = |word: &Value| match word {
                    Value::String(word) => Ok(word.clone()),
                    Value::Number(number) => Ok(number.to_string()),
                    other => Err(format!("`tool_keywords` takes strings, not {other}")),
                };
                words.iter().map(word).collect::<Result<_, _>>()?
            }
            Some(other) => return Err(format!("`tool_keywords` must be a list of strings, is {other}")),
        };
        let server = match arguments.get("server") {
            None | Some(Value::Null) => None,
            Some(Value::String(server)) => Some(server.clone()).filter(|server| !server.is_empty()),
            Some(other) => return Err(format!("`server` must be a string, is {other}")),
        };
        let limit = match arguments.get("limit") {
            None | Some(Value::Null) => None,
            Some(value) => {
                Some(read_limit(value).ok_or_else(|| format!("`limit` must be a number from 1, is {value}"))?)
            }
        };
        let explain = matches!(arguments.get("explain"), Some(Value::Bool(true)))
            || arguments.get("explain").and_then(Value::as_str) == Some("true");
        Ok(Self { description, keywords, server, limit, explain })
    }
}

fn read_limit(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_u64().or_else(|| {
            let number = value.as_f64().filter(|number| number.fract() == 0.0 && *number >= 1.0)?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "whole and positive; saturates"
            )]
            Some(number as u64)
        })?,
    };
    (number >= 1).then(|| u32::try_from(number).unwrap_or(u32::MAX))
}

/// The structured answer: full definitions, and what that saves.
///
/// - `definitions`: of the tools that were found, in their order, as advertised
/// - `matches`: the same tools with their reasons, when these were asked for
pub fn answer(
    definitions: &[&RawJson],
    metrics: &TokenMetrics,
    matches: Option<&[FoundTool]>,
    note: Option<&str>,
) -> RawJson {
    #[derive(serde::Serialize)]
    struct Answer<'a> {
        tools: &'a [&'a RawJson],
        #[serde(flatten)]
        metrics: &'a TokenMetrics,
        #[serde(skip_serializing_if = "Option::is_none")]
        matches: Option<Vec<Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'a str>,
    }
    let reason = |found: &FoundTool| json!({ "name": found.document.name(), "server": found.document.server(), "score": found.score, "why": found.why });
    let matches = matches.map(|matches| matches.iter().map(reason).collect());
    RawJson::of(&Answer { tools: definitions, metrics, matches, note })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read_as_models_write_them() {
        let check = |arguments: Value, expected: Result<FindRequest, &str>| {
            let Value::Object(map) = &arguments else { panic!() };
            assert_eq!(FindRequest::read(map), expected.map_err(Into::into), "{arguments}");
        };
        let plain = FindRequest { description: "read a file".into(), ..Default::default() };
        let with = |change: &dyn Fn(&mut FindRequest)| {
            let mut request = plain.clone();
            change(&mut request);
            Ok(request)
        };
        let d = "read a file";
        check(json!({ "tool_description": d }), Ok(plain.clone()));
        check(json!({ "tool_description": d, "tool_keywords": null, "limit": null, "server": "" }), Ok(plain.clone()));
        check(
            json!({ "tool_description": d, "tool_keywords": ["read", 7] }),
            with(&|r| r.keywords = vec!["read".into(), "7".into()]),
        );
        check(
            json!({ "tool_description": d, "tool_keywords": "read, file" }),
            with(&|r| r.keywords = vec!["read".into(), "file".into()]),
        );
        check(json!({ "tool_description": d, "limit": "3" }), with(&|r| r.limit = Some(3)));
        check(json!({ "tool_description": d, "limit": 3.0 }), with(&|r| r.limit = Some(3)));
        check(json!({ "tool_description": d, "explain": "true" }), with(&|r| r.explain = true));
        check(json!({ "tool_description": d, "server": "git" }), with(&|r| r.server = Some("git".into())));
        check(json!({ "tool_description": " " }), Err("`tool_description` is empty: say what you want to do"));
        check(json!({}), Err("`tool_description` is missing: say what you want to do"));
        check(json!({ "tool_description": 7 }), Err("`tool_description` must be a string, is 7"));
        check(json!({ "tool_description": d, "limit": 0 }), Err("`limit` must be a number from 1, is 0"));
        check(json!({ "tool_description": d, "limit": 1.5 }), Err("`limit` must be a number from 1, is 1.5"));
        check(json!({ "tool_description": d, "tool_keywords": [{}] }), Err("`tool_keywords` takes strings, not {}"));
    }
}
