//! Words: what documents are indexed by and requests looked up with, the same way for both.
//!
//! A text is split at camelCase humps and at everything that is neither letter nor digit, then folded (compatibility forms and
//! accents go, lower case) and stemmed as English. Scripts that are written without spaces come as overlapping pairs of characters.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rust_stemmers::{Algorithm, Stemmer};
use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

/// Characters of a word that count; what is longer is data, not language.
const MAX_WORD: usize = 64;
/// Stems that are remembered, to stem each word of a large index once.
const MAX_REMEMBERED: usize = 1 << 16;

/// A word of a text.
#[derive(Clone, Copy, Debug)]
pub struct Word<'a> {
    pub stem: &'a str,
    /// Folded, as it was before it was stemmed.
    pub form: &'a str,
    /// The same number from the same splitter is the same word. Rare ones have none.
    pub number: Option<usize>,
}

/// Splits texts into words. Keeps its buffers and the stems it has seen, so use one for many texts.
pub struct Splitter {
    stemmer: Stemmer,
    /// The number of a word: where in `stems` its stem is.
    known: HashMap<Box<str>, usize, RandomState>,
    stems: Vec<Box<str>>,
    word: String,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            stemmer: Stemmer::create(Algorithm::English),
            known: HashMap::default(),
            stems: Vec::new(),
            word: String::new(),
        }
    }
}

impl Splitter {
    /// Calls `each` with every word of `text`, in order.
    pub fn split(&mut self, text: &str, mut each: impl FnMut(&str)) {
        self.split_forms(text, |word| each(word.stem));
    }

    /// As [`split`](Self::split), with all there is to say about each word.
    pub fn split_forms(&mut self, text: &str, mut each: impl FnMut(Word<'_>)) {
        if text.is_ascii() {
            for part in ascii_parts(text) {
                self.word.clear();
                self.word.push_str(&part[..part.len().min(MAX_WORD)]);
                self.word.make_ascii_lowercase();
                self.hand_over(&mut each);
            }
        } else {
            for word in fold(&split_name(text)).split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                self.split_scripts(word, &mut each);
            }
        }
    }

    /// The words of `text`, in order.
    pub fn words(&mut self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.split(text, |word| words.push(word.to_owned()));
        words
    }

    /// A folded word may mix scripts: `第3章abc`.
    fn split_scripts(&mut self, word: &str, each: &mut impl FnMut(Word<'_>)) {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let unspaced = is_unspaced(first);
            let end = rest.find(|c| is_unspaced(c) != unspaced).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            if unspaced {
                pairs(run).for_each(|pair| each(Word { stem: pair, form: pair, number: None }));
            } else {
                self.word.clear();
                self.word.extend(run.chars().take(MAX_WORD));
                self.hand_over(each);
            }
            rest = after;
        }
    }

    /// Calls `each` with what is in `self.word`.
    fn hand_over(&mut self, each: &mut impl FnMut(Word<'_>)) {
        let form = self.word.as_str();
        if let Some(number) = self.known.get(form) {
            return each(Word { stem: &self.stems[*number], form, number: Some(*number) });
        }
        // The stemmer speaks English only.
        let stem = if form.is_ascii() { self.stemmer.stem(form) } else { form.into() };
        let number = self.stems.len();
        if number >= MAX_REMEMBERED {
            return each(Word { stem: &stem, form, number: None });
        }
        each(Word { stem: &stem, form, number: Some(number) });
        self.known.insert(form.into(), number);
        self.stems.push(stem.into());
    }
}

/// The parts of a name as a reader sees them, with single spaces between: `searchIssues_v2` gives `search Issues v2`.
pub fn split_name(text: &str) -> String {
    let mut joined = String::with_capacity(text.len() + 8);
    for part in parts(text) {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(part);
    }
    joined
}

/// Runs of letters and digits, cut at humps: `HTTPServer2Go` has `HTTP`, `Server2` and `Go`.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !is_mark(c)).flat_map(|run| {
        let mut rest = run;
        std::iter::from_fn(move || {
            let (part, after) = rest.split_at(first_hump(rest).unwrap_or(rest.len()));
            rest = after;
            (!part.is_empty()).then_some(part)
        })
    })
}

/// The same of a text of ASCII, which most are, in half the time.
fn ascii_parts(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = at + bytes[at..].iter().position(u8::is_ascii_alphanumeric)?;
        at = start + 1;
        while at < bytes.len() && bytes[at].is_ascii_alphanumeric() && !is_ascii_hump(bytes, at) {
            at += 1;
        }
        Some(&text[start..at])
    })
}

/// As [`first_hump`] has it.
fn is_ascii_hump(bytes: &[u8], at: usize) -> bool {
    let (before, next) = (bytes[at - 1], bytes.get(at + 1));
    bytes[at].is_ascii_uppercase() && (!before.is_ascii_uppercase() || next.is_some_and(u8::is_ascii_lowercase))
}

/// Where the second part of a run begins: at a capital after a small letter or digit, or at the last capital before a small letter.
fn first_hump(run: &str) -> Option<usize> {
    let mut chars = run.char_indices().peekable();
    let (_, mut before) = chars.next()?;
    while let Some((at, c)) = chars.next() {
        if c.is_uppercase() {
            let starts_word = before.is_lowercase() || before.is_numeric();
            let ends_acronym = before.is_uppercase() && chars.peek().is_some_and(|(_, next)| next.is_lowercase());
            if starts_word || ends_acronym {
                return Some(at);
            }
        }
        before = c;
    }
    None
}

/// Compatibility forms (full width, ligatures) and accents go; lower case. Syllables that need their marks are put together again.
fn fold(text: &str) -> String {
    text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase).nfc().collect()
}

/// Marks that a word can do without. The voicing marks of kana make other letters, as in か and が.
fn is_accent(c: char) -> bool {
    !matches!(c, '\u{3099}' | '\u{309A}') && get_general_category(c) == GeneralCategory::NonspacingMark
}

/// A mark belongs to the word that it stands in.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && matches!(get_general_category(c), GeneralCategory::NonspacingMark | GeneralCategory::SpacingMark)
}

/// Scripts that put no space between words, and Hangul, whose words carry endings.
fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{0E00}'..='\u{0EFF}' // Thai, Lao
        | '\u{1000}'..='\u{109F}' // Myanmar
        | '\u{1780}'..='\u{17FF}' // Khmer
        | '\u{3040}'..='\u{30FF}' | '\u{31F0}'..='\u{31FF}' // kana
        | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' // Han
        | '\u{20000}'..='\u{323AF}'
        | '\u{AC00}'..='\u{D7AF}') // Hangul
}

/// Overlapping pairs of characters; a single one is itself.
fn pairs(run: &str) -> impl Iterator<Item = &str> {
    let starts = run.char_indices().map(|(at, _)| at);
    let ends = run.char_indices().map(|(at, c)| at + c.len_utf8());
    let is_single = run.chars().nth(1).is_none();
    starts.zip(ends.skip(usize::from(!is_single))).map(|(start, end)| &run[start..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_folded_stemmed_words() {
        let check =
            |text: &str, expected: &str| assert_eq!(Splitter::default().words(text).join(" "), expected, "{text:?}");
        check("", "");
        check("--- !", "");
        check("searchIssues_v2", "search issu v2");
        check("HTTPServer", "http server");
        check("parseURL2Go", "pars url2 go");
        check("getA", "get a");
        check("ISO8601", "iso8601");
        check("Lists the user's repositories.", "list the user s repositori");
        check("Café ÉCOLE naïveté", "cafe ecol naivet");
        check("Ünïcödé", "unicod");
        check("ｆｕｌｌ ｗｉｄｔｈ ﬁle", "full width file");
        check("İstanbul", "istanbul");
        check("поиск Файлов", "поиск фаилов");
        check("使用必应搜索", "使用 用必 必应 应搜 搜索");
        check("第3章abc 天", "第 3 章 abc 天");
        check("ガイド", "ガイ イド");
        check("검색 기능", "검색 기능");
        check("हिन्दी खोज", "हिनदी खोज");
        check(&"x".repeat(5000), &"x".repeat(MAX_WORD));
    }

    #[test]
    fn names_are_split_as_they_are_written() {
        let check = |name: &str, expected: &str| assert_eq!(split_name(name), expected, "{name:?}");
        check("searchIssues_v2", "search Issues v2");
        check("HTTPServer", "HTTP Server");
        check("brave-search.web", "brave search web");
        check("__init__", "init");
        check("getÉtat", "get État");
        check("", "");
    }

    proptest::proptest! {
        #[test]
        fn texts_of_ascii_have_the_same_parts(text in "[ -~]{0,40}|[aA1_]{0,20}") {
            proptest::prop_assert_eq!(ascii_parts(&text).collect::<Vec<_>>(), parts(&text).collect::<Vec<_>>());
        }

        #[test]
        fn words_of_words_are_what_they_look_like(text in "\\PC{0,60}") {
            for word in Splitter::default().words(&text) {
                proptest::prop_assert!(!word.is_empty() && !word.contains(' ') && !word.contains('"'));
                proptest::prop_assert!(word.chars().count() <= MAX_WORD);
                // FTS5 keeps the words in a text with spaces between and must find the same ones in it.
                proptest::prop_assert!(word.bytes().all(|b| b.is_ascii_alphanumeric() || !b.is_ascii()), "{word:?}");
            }
        }
    }
}
