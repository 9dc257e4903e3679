//! Words of a text, and which of them say something.

/// English words that say nothing about what is wanted, sorted: articles, pronouns, prepositions, auxiliaries, and the ones
/// with which people ask.
pub const STOP_WORDS: &[&str] = &[
    "a", "about", "above", "after", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be",
    "because", "been", "before", "being", "below", "between", "both", "but", "by", "can", "could", "did", "do", "does",
    "doing", "down", "during", "each", "few", "for", "from", "further", "had", "has", "have", "having", "he", "her",
    "here", "hers", "him", "his", "how", "i", "if", "in", "into", "is", "it", "its", "itself", "just", "me", "more",
    "most", "my", "myself", "no", "nor", "not", "now", "of", "off", "on", "once", "only", "or", "other", "our", "ours",
    "out", "over", "own", "please", "same", "she", "should", "so", "some", "such", "than", "that", "the", "their",
    "theirs", "them", "then", "there", "these", "they", "this", "those", "through", "to", "too", "under", "until",
    "up", "us", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "why", "will",
    "with", "would", "you", "your", "yours", "yourself",
];

/// The words of `text` as written: split at everything that is neither letter nor digit, and at the humps of `camelCase` and
/// `HTTPServer`.
pub fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for run in text.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty()) {
        let mut rest = run;
        while let Some(hump) = first_hump(rest) {
            let (word, after) = rest.split_at(hump);
            words.push(word);
            rest = after;
        }
        words.push(rest);
    }
    words
}

/// Where the second word of `run` begins: at a capital after a small letter or digit, or at the last of several capitals
/// before a small letter.
fn first_hump(run: &str) -> Option<usize> {
    let mut characters = run.char_indices().peekable();
    let (_, mut before) = characters.next()?;
    while let Some((index, c)) = characters.next() {
        let next_is_small = characters.peek().is_some_and(|(_, next)| next.is_lowercase());
        if c.is_uppercase() && (!before.is_uppercase() || next_is_small) {
            return Some(index);
        }
        before = c;
    }
    None
}

/// `words` without [`STOP_WORDS`] in any case; all of them if nothing else is left.
pub fn without_stop_words(words: Vec<&str>) -> Vec<&str> {
    let says_something = |word: &&str| STOP_WORDS.binary_search(&word.to_ascii_lowercase().as_str()).is_err();
    if words.iter().any(says_something) { words.into_iter().filter(says_something).collect() } else { words }
}

/// `words` with each one once, whatever its case, in the order of their first appearance.
pub fn distinct(words: Vec<&str>) -> Vec<&str> {
    let mut seen = std::collections::HashSet::with_capacity(words.len());
    words.into_iter().filter(|word| seen.insert(word.to_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_are_split_into_words() {
        let check = |text: &str, expected: &[&str]| assert_eq!(words(text), expected, "{text}");
        check("list all open issues, please!", &["list", "all", "open", "issues", "please"]);
        check("create_pull-request.v2", &["create", "pull", "request", "v2"]);
        check("getHTTPServerStatus", &["get", "HTTP", "Server", "Status"]);
        check("S3Bucket base64Encode", &["S3", "Bucket", "base64", "Encode"]);
        check("GitHub API", &["Git", "Hub", "API"]);
        check("größeÄndern 東京の天気", &["größe", "Ändern", "東京の天気"]);
        check("  ", &[]);
    }

    #[test]
    fn stop_words_go_unless_nothing_else_is_left() {
        let check = |text: &str, expected: &[&str]| assert_eq!(without_stop_words(words(text)), expected, "{text}");
        check("Please show me The weather in Berlin", &["show", "weather", "Berlin"]);
        check("who is it", &["who", "is", "it"]);
        check("", &[]);
    }

    #[test]
    fn stop_words_are_sorted_and_lower_case() {
        assert!(STOP_WORDS.is_sorted());
        assert!(STOP_WORDS.iter().all(|word| word.chars().all(|c| c.is_ascii_lowercase())));
    }

    #[test]
    fn a_word_counts_once_whatever_its_case() {
        assert_eq!(distinct(vec!["Issue", "search", "issue", "SEARCH", "x"]), ["Issue", "search", "x"]);
    }
}
