//! Whether every block of a template is closed. The engine's parser does not ask: what is open at the end it closes, and after an
//! `end` too many it stops reading.

/// Looks through a template that the engine's parser accepts; the error is what Go refuses.
pub(super) fn check(source: &str) -> Result<(), String> {
    let mut open: Vec<(&str, bool)> = Vec::new();
    for action in actions(source) {
        let mut words = action.split_whitespace();
        let (keyword, next) = (words.next().unwrap_or(""), words.next());
        match keyword {
            "if" | "range" | "with" | "define" | "block" => open.push((keyword, false)),
            "end" => {
                open.pop().ok_or("`end` without a block")?;
            }
            "else" => match open.last_mut() {
                Some((block @ ("if" | "range" | "with"), has_else)) if !*has_else => {
                    // `else if` and `else with` go on, with an else of their own
                    *has_else = next.is_none_or(|word| word != *block);
                }
                _ => return Err("`else` without a block of its own".to_owned()),
            },
            "break" | "continue" if next.is_none() => {
                let inside = open.iter().rev().take_while(|(block, _)| *block != "define" && *block != "block");
                if !inside.into_iter().any(|(block, _)| *block == "range") {
                    return Err(format!("`{keyword}` outside of `range`"));
                }
            }
            _ => {}
        }
    }
    match open.pop() {
        Some((block, _)) => Err(format!("`{block}` is not closed by `end`")),
        None => Ok(()),
    }
}

/// What stands between `{{` and `}}`, without trim markers; comments are empty.
fn actions(source: &str) -> impl Iterator<Item = &str> {
    let mut rest = source;
    std::iter::from_fn(move || {
        let start = rest.find("{{")? + 2;
        let inner = &rest[start..];
        let inner = inner.strip_prefix('-').filter(|inner| inner.starts_with(char::is_whitespace)).unwrap_or(inner);
        if let Some(comment) = inner.trim_start().strip_prefix("/*") {
            rest = &comment[comment.find("*/")? + 2..];
            return Some("");
        }
        let end = end_of_action(inner);
        rest = &inner[end..];
        Some(inner[..end].trim_end_matches('-').trim())
    })
}

/// Where `}}` stands, outside of quotes.
fn end_of_action(action: &str) -> usize {
    let (mut quote, mut escaped) = (None, false);
    for (place, character) in action.char_indices() {
        match quote {
            None if action[place..].starts_with("}}") => return place,
            None => quote = Some(character).filter(|character| matches!(character, '"' | '`' | '\'')),
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if character == '\\' => escaped = true,
            Some(open) if open == character => quote = None,
            Some(_) => {}
        }
    }
    action.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_closed_once() {
        let check = |source: &str, expected: Result<(), &str>| {
            assert_eq!(check(source), expected.map_err(ToOwned::to_owned), "{source}");
        };
        check("{{if .a}}{{else if .b}}{{else}}{{end}}", Ok(()));
        check("{{- if .a -}}{{range .b}}{{break}}{{else}}{{end}}{{- end -}}", Ok(()));
        check("{{with .a}}{{else with .b}}{{else}}{{end}}", Ok(()));
        check("{{/* {{if}} */}}{{- /* end */ -}}", Ok(()));
        check("{{print \"}}{{end}}\" `{{if}}` '\"'}}", Ok(()));
        check("{{print \"\\\"}}\"}}{{if .a}}{{end}}", Ok(()));
        check("{{define \"a\"}}{{end}}{{block \"b\" .}}{{end}}", Ok(()));
        check("{{.end}} {{endless}}", Ok(()));
        check("{{if .a}}", Err("`if` is not closed by `end`"));
        check("{{range .a}}{{if .b}}{{end}}", Err("`range` is not closed by `end`"));
        check("a{{end}}", Err("`end` without a block"));
        check("{{else}}", Err("`else` without a block of its own"));
        check("{{if .a}}{{else}}{{else}}{{end}}", Err("`else` without a block of its own"));
        check("{{break}}", Err("`break` outside of `range`"));
        check("{{range .a}}{{define \"b\"}}{{continue}}{{end}}{{end}}", Err("`continue` outside of `range`"));
    }
}
