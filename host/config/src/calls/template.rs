//! What can be said of a text with templates in it before they are expanded: nearly nothing.

use serde_json::Value;

use crate::{key_path::KeyPath, section::composite::JsonType};

/// Words at the beginning of an action after which text is not always part of what the template yields.
const BLOCKS: [&str; 9] = ["if", "else", "end", "range", "with", "define", "block", "break", "continue"];
/// All that reads as true or false.
const BOOLEANS: [&str; 8] = ["true", "True", "TRUE", "1", "false", "False", "FALSE", "0"];

pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Where `value` has texts with templates.
pub(super) fn holes(value: &Value) -> Vec<KeyPath> {
    let mut found = Vec::new();
    look(value, &KeyPath::root(), &mut found);
    found
}

fn look(value: &Value, path: &KeyPath, found: &mut Vec<KeyPath>) {
    match value {
        Value::String(text) if is_template(text) => found.push(path.clone()),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| look(item, &path.index(at), found)),
        Value::Object(entries) => entries.iter().for_each(|(key, entry)| look(entry, &path.key(key), found)),
        _ => {}
    }
}

/// Whether the text may come to read as `kind`, going by what stands around its templates.
pub(super) fn can_be(text: &str, kind: JsonType) -> bool {
    let Some(pieces) = pieces(text) else { return true };
    let made_of = |letters: &str| pieces.iter().all(|piece| piece.chars().all(|letter| letters.contains(letter)));
    match kind {
        JsonType::String => true,
        JsonType::Integer => made_of("+-0123456789"),
        JsonType::Number => made_of("+-0123456789.eE"),
        JsonType::Boolean => BOOLEANS.iter().any(|word| pieces.iter().all(|piece| word.contains(piece))),
        JsonType::Object => is_between(&pieces, '{', '}'),
        JsonType::Array => is_between(&pieces, '[', ']'),
    }
}

/// Whether JSON in these brackets may begin and end with the first and the last piece.
fn is_between(pieces: &[&str], open: char, close: char) -> bool {
    let first = pieces.first().map_or("", |piece| piece.trim_start());
    let last = pieces.last().map_or("", |piece| piece.trim_end());
    (first.is_empty() || first.starts_with(open)) && (last.is_empty() || last.ends_with(close))
}

/// The text before, between and after the actions, where all of it is always part of what the template yields.
fn pieces(text: &str) -> Option<Vec<&str>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some(start) = rest.find("{{") {
        let (before, action) = (&rest[..start], &rest[start + 2..]);
        pieces.push(before);
        let length = action_length(action)?;
        let inner = action[..length].trim_start_matches('-').trim();
        if BLOCKS.contains(&inner.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default()) {
            return None;
        }
        rest = &action[length + 2..];
    }
    pieces.push(rest);
    // `{{- x -}}` takes white space away.
    let is_trimmed = text.contains("{{-") || text.contains("-}}");
    Some(if is_trimmed { pieces.into_iter().map(str::trim).collect() } else { pieces })
}

/// How long an action is, up to its `}}`: outside of quotes, or after its comment.
fn action_length(action: &str) -> Option<usize> {
    let comment = action.trim_start_matches('-').trim_start();
    if comment.starts_with("/*") {
        let from = action.find("*/")?;
        return Some(from + action[from..].find("}}")?);
    }
    let (mut quote, mut is_escaped) = (None, false);
    for (at, letter) in action.char_indices() {
        match quote {
            None if action[at..].starts_with("}}") => return Some(at),
            None => quote = Some(letter).filter(|letter| matches!(letter, '"' | '`' | '\'')),
            Some(_) if is_escaped => is_escaped = false,
            Some('"' | '\'') if letter == '\\' => is_escaped = true,
            Some(open) if open == letter => quote = None,
            Some(_) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_that_is_always_there_counts() {
        let check = |text: &str, kind: JsonType, expected: bool| assert_eq!(can_be(text, kind), expected, "{text}");
        check("{{.n}}", JsonType::Integer, true);
        check("1{{.n}}0", JsonType::Integer, true);
        check("x{{.n}}", JsonType::Integer, false);
        check("{{.n}} ", JsonType::Integer, false);
        check("{{.n -}} ", JsonType::Integer, true);
        check("{{.n}}.5", JsonType::Integer, false);
        check("{{.n}}.5", JsonType::Number, true);
        check("{{if .n}}x{{else}}5{{end}}", JsonType::Integer, true);
        check("{{/* x}} */}}5", JsonType::Integer, true);
        check(r#"{{index .a "}}x"}}5"#, JsonType::Integer, true);
        check("{{.n", JsonType::Integer, true);
        check("tr{{.n}}", JsonType::Boolean, true);
        check("{{.n}}!", JsonType::Boolean, false);
        check(r#"{"a": {{.n}}}"#, JsonType::Object, true);
        check(" [{{.n}}] ", JsonType::Object, false);
        check("{{json .n}}", JsonType::Array, true);
        check("all: {{json .n}}", JsonType::Array, false);
        check("{{json .n}},", JsonType::Array, false);
        check("x{{.n}}", JsonType::String, true);
    }
}
