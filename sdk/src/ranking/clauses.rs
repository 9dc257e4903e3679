//! The parts of a request that asks for several things.

/// Fewer words do not say what is wanted.
const MIN_WORDS: usize = 3;
/// Each is a search of its own.
const MAX_CLAUSES: usize = 12;

/// Words between two things that are wanted.
const CONJUNCTIONS: [&str; 3] = ["and", "then", "also"];

/// The clauses of `text`: cut at `.`, `!`, `?`, `;`, line breaks and the words "and", "then" and "also". Those of three words
/// and more, at most twelve; none if no piece is that long.
pub fn clauses(text: &str) -> Vec<&str> {
    let sentences = text.split(['.', '!', '?', ';', '\n']);
    let pieces = sentences.flat_map(split_at_conjunctions);
    let pieces = pieces.map(|piece| piece.trim_matches([' ', ',', ':']));
    pieces.filter(|piece| piece.split_whitespace().count() >= MIN_WORDS).take(MAX_CLAUSES).collect()
}

fn split_at_conjunctions(sentence: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut piece_start, mut word_start) = (0, None);
    let ends = sentence.char_indices().chain([(sentence.len(), ' ')]);
    for (index, c) in ends {
        let in_word = c.is_alphanumeric() || c == '_';
        match word_start {
            None if in_word => word_start = Some(index),
            Some(start) if !in_word => {
                if CONJUNCTIONS.iter().any(|word| sentence[start..index].eq_ignore_ascii_case(word)) {
                    pieces.push(&sentence[piece_start..start]);
                    piece_start = index;
                }
                word_start = None;
            }
            _ => {}
        }
    }
    pieces.push(&sentence[piece_start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_falls_into_what_it_asks_for() {
        let check = |text: &str, expected: &[&str]| assert_eq!(clauses(text), expected, "{text}");
        check("list all open issues", &["list all open issues"]);
        check(
            "Find the latest invoice, then send it to Ann AND also mark it as paid.",
            &["Find the latest invoice", "send it to Ann", "mark it as paid"],
        );
        check(
            "What is the weather in Oslo? Book a flight to Oslo; thanks",
            &["What is the weather in Oslo", "Book a flight to Oslo"],
        );
        check("one two three\nfour five six", &["one two three", "four five six"]);
        check("the android understands thenceforth", &["the android understands thenceforth"]);
        check("a_and_b c d", &["a_and_b c d"]);
        check("send mail and", &[]);
        check("issues: search, and", &[]);
        check("", &[]);
        check(&"do this thing. ".repeat(20), &["do this thing"; 12]);
    }
}
