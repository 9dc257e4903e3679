//! How deep an expression nests, before the engine's parser follows it by recursion.

/// What a bracket counts for; an operator counts for one.
const BRACKET: usize = 10;
/// Deepest nesting: 20 brackets, or 200 operators that follow each other.
const MAX_NESTING: usize = 200;

/// Whether the parser can follow `source`: on the way to any place in it, brackets and operators are not too many.
pub(super) fn is_bearable(source: &str) -> bool {
    let (mut around, mut level, mut characters) = (Vec::new(), 0, source.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' | '\'' => skip_text(character, &mut characters),
            '(' | '[' | '{' => {
                around.push(level);
                level += BRACKET;
            }
            ')' | ']' | '}' => level = around.pop().unwrap_or_default(),
            ',' => level = around.last().map_or(0, |around| around + BRACKET),
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '&' | '|' | '?' | '.' => level += 1,
            _ => {}
        }
        if level > MAX_NESTING {
            return false;
        }
    }
    true
}

fn skip_text(quote: char, characters: &mut std::str::Chars<'_>) {
    while let Some(character) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            end if end == quote => return,
            _ => {}
        }
    }
}
