//! Splits a text into the pieces of words that a model of the BERT family has numbers for.
//!
//! The built-in table and the models run from a folder use the same splitting, each with its own vocabulary. Special tokens
//! are never read from a text: `[CLS]` written out is three words, so that no text can pose as a frame.

use std::{borrow::Cow, collections::HashMap};

use unicode_general_category::{GeneralCategory, get_general_category};
use unicode_normalization::UnicodeNormalization;

/// Longer words are unknown as a whole, in characters.
const LONGEST_WORD: usize = 100;
/// Marks a piece that goes on with a word.
const CONTINUES: &str = "##";

/// The pieces of a model and their numbers.
pub struct Vocabulary {
    starts: HashMap<Cow<'static, str>, u32>,
    /// Without their mark.
    continuations: HashMap<Cow<'static, str>, u32>,
    /// Bytes of the longest piece.
    longest: usize,
}

impl Vocabulary {
    /// - `pieces`: each with its number; of equal ones the last counts
    pub fn new(pieces: impl IntoIterator<Item = (Cow<'static, str>, u32)>) -> Self {
        let mut vocabulary = Self { starts: HashMap::new(), continuations: HashMap::new(), longest: 0 };
        for (piece, id) in pieces {
            vocabulary.longest = vocabulary.longest.max(piece.len());
            let continuation = match &piece {
                Cow::Borrowed(piece) => piece.strip_prefix(CONTINUES).map(Cow::Borrowed),
                Cow::Owned(piece) => piece.strip_prefix(CONTINUES).map(|rest| Cow::Owned(rest.to_owned())),
            };
            match continuation {
                Some(rest) => vocabulary.continuations.insert(rest, id),
                None => vocabulary.starts.insert(piece, id),
            };
        }
        vocabulary
    }

    /// Reads a `vocab.txt`: one piece a line, numbered from 0.
    pub fn from_lines(text: Cow<'static, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::new(text.lines().map(Cow::Borrowed).zip(0..)),
            Cow::Owned(text) => Self::new(text.lines().map(|line| Cow::Owned(line.to_owned())).zip(0..)),
        }
    }

    /// The number of a piece that begins a word, or of a special token.
    pub fn id(&self, piece: &str) -> Option<u32> {
        self.starts.get(piece).copied()
    }
}

/// What differs from model to model.
#[derive(Clone, Debug)]
pub struct WordPieceOptions {
    pub lower_case: bool,
    /// Whether accents are dropped.
    pub strip_accents: bool,
    /// The token that stands for a word without pieces.
    pub unknown: u32,
    /// The tokens before and after every text, e.g. those of `[CLS]` and `[SEP]`.
    pub frame: Option<(u32, u32)>,
    /// Longest result, the frame included; what goes beyond is cut off the end of the text.
    pub max_tokens: usize,
}

/// A vocabulary and how texts are split for it.
pub struct WordPiece {
    vocabulary: Vocabulary,
    options: WordPieceOptions,
}

impl WordPiece {
    pub fn new(vocabulary: Vocabulary, options: WordPieceOptions) -> Self {
        Self { vocabulary, options }
    }

    /// The token ids of `text`.
    pub fn ids(&self, text: &str) -> Vec<u32> {
        let (start, end) = self.options.frame.unzip();
        let room = self.options.max_tokens.saturating_sub(usize::from(end.is_some()));
        let mut ids: Vec<u32> = start.into_iter().collect();
        let text = self.fold(clean(text));
        for word in words(&text) {
            if ids.len() >= room {
                break;
            }
            self.add_pieces(word, &mut ids);
        }
        ids.truncate(room);
        ids.extend(end);
        ids
    }

    fn fold(&self, text: String) -> String {
        match (text.is_ascii(), self.options.strip_accents, self.options.lower_case) {
            (true, _, true) => text.to_ascii_lowercase(),
            (true, _, false) | (false, false, false) => text,
            (false, true, true) => text.nfd().filter(|ch| !is_mark(*ch)).flat_map(char::to_lowercase).collect(),
            (false, true, false) => text.nfd().filter(|ch| !is_mark(*ch)).collect(),
            (false, false, true) => text.chars().flat_map(char::to_lowercase).collect(),
        }
    }

    /// From the left the longest piece that fits; one unknown token where at some place none does.
    fn add_pieces(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        if word.chars().count() > LONGEST_WORD {
            ids.push(self.options.unknown);
            return;
        }
        let mut pieces = &self.vocabulary.starts;
        let mut rest = word;
        while !rest.is_empty() {
            let ends = (1..=rest.len().min(self.vocabulary.longest)).rev().filter(|end| rest.is_char_boundary(*end));
            let mut fitting = ends.filter_map(|end| pieces.get(&rest[..end]).map(|id| (*id, end)));
            let Some((id, length)) = fitting.next() else {
                ids.truncate(before);
                ids.push(self.options.unknown);
                return;
            };
            ids.push(id);
            rest = &rest[length..];
            pieces = &self.vocabulary.continuations;
        }
    }
}

/// White space becomes blanks, what cannot be seen goes, ideographs stand alone.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '\t' | '\n' | '\r' => clean.push(' '),
            ch if is_invisible(ch) => {}
            ch if ch.is_whitespace() => clean.push(' '),
            ch if is_ideograph(ch) => clean.extend([' ', ch, ' ']),
            ch => clean.push(ch),
        }
    }
    clean
}

/// The words of a clean text; a punctuation character is a word of its own.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').flat_map(|run| {
        let mut rest = run;
        std::iter::from_fn(move || {
            let first = rest.chars().next()?;
            let end = match is_punctuation(first) {
                true => first.len_utf8(),
                false => rest.find(is_punctuation).unwrap_or(rest.len()),
            };
            let (word, after) = rest.split_at(end);
            rest = after;
            Some(word)
        })
    })
}

fn is_invisible(ch: char) -> bool {
    use GeneralCategory::{Control, Format, PrivateUse, Surrogate, Unassigned};
    match ch.is_ascii() {
        true => ch.is_ascii_control(),
        false => {
            ch == char::REPLACEMENT_CHARACTER
                || matches!(get_general_category(ch), Control | Format | PrivateUse | Surrogate | Unassigned)
        }
    }
}

fn is_mark(ch: char) -> bool {
    !ch.is_ascii() && get_general_category(ch) == GeneralCategory::NonspacingMark
}

fn is_punctuation(ch: char) -> bool {
    use GeneralCategory::{
        ClosePunctuation, ConnectorPunctuation, DashPunctuation, FinalPunctuation, InitialPunctuation, OpenPunctuation,
        OtherPunctuation,
    };
    match ch.is_ascii() {
        true => ch.is_ascii_punctuation(),
        false => matches!(
            get_general_category(ch),
            ClosePunctuation
                | ConnectorPunctuation
                | DashPunctuation
                | FinalPunctuation
                | InitialPunctuation
                | OpenPunctuation
                | OtherPunctuation
        ),
    }
}

/// Chinese characters, as the models of the family were trained; neither kana nor Hangul.
fn is_ideograph(ch: char) -> bool {
    matches!(
        ch,
        '\u{4E00}'..='\u{9FFF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{20000}'..='\u{2A6DF}'
            | '\u{2A700}'..='\u{2B73F}'
            | '\u{2B740}'..='\u{2B81F}'
            | '\u{2B920}'..='\u{2CEAF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{2F800}'..='\u{2FA1F}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: &str = "[UNK]\n[CLS]\n[SEP]\nsearch\nissue\n##s\n##ing\n!\né\ne\n中\n_\nA\na\n[\n]\ncl\n##cls";

    fn word_piece(change: impl FnOnce(&mut WordPieceOptions)) -> WordPiece {
        let mut options =
            WordPieceOptions { lower_case: true, strip_accents: true, unknown: 0, frame: None, max_tokens: 512 };
        change(&mut options);
        WordPiece::new(Vocabulary::from_lines(PIECES.into()), options)
    }

    #[test]
    fn words_become_the_longest_pieces() {
        let word_piece = word_piece(|_| {});
        let check = |text: &str, expected: &[u32]| assert_eq!(word_piece.ids(text), expected, "{text:?}");
        check("", &[]);
        check(" \u{a0}\u{3000}\t", &[]);
        check("search issues", &[3, 4, 5]);
        check("Searching\nISSUE!!", &[3, 6, 4, 7, 7]);
        check("search_issues", &[3, 11, 4, 5]);
        // No piece fits at `x`: the whole word is unknown.
        check("searchx issue", &[0, 4]);
        check("sea\u{200b}rch\u{fffd}", &[3]);
        check("中中", &[10, 10]);
        check("É e\u{301}", &[9, 9]);
    }

    #[test]
    fn special_tokens_are_not_read_from_a_text() {
        let word_piece = word_piece(|_| {});
        assert_eq!(word_piece.ids("[CLS]"), [14, 16, 5, 15]);
    }

    #[test]
    fn long_words_are_unknown() {
        let pieces = Vocabulary::from_lines("[UNK]\na\n##a".into());
        let word_piece = WordPiece::new(pieces, word_piece(|_| {}).options);
        assert_eq!(word_piece.ids(&"a".repeat(LONGEST_WORD)).len(), LONGEST_WORD);
        assert_eq!(word_piece.ids(&"a".repeat(LONGEST_WORD + 1)), [0]);
    }

    #[test]
    fn models_may_keep_case_and_accents() {
        let kept = word_piece(|options| (options.lower_case, options.strip_accents) = (false, false));
        assert_eq!(kept.ids("A a é"), [12, 13, 8]);
        let folded = word_piece(|_| {});
        assert_eq!(folded.ids("A a é"), [13, 13, 9]);
        let accents = word_piece(|options| options.strip_accents = false);
        assert_eq!(accents.ids("A É"), [13, 8]);
        let bare = word_piece(|options| options.lower_case = false);
        assert_eq!(bare.ids("A é"), [12, 9]);
    }

    #[test]
    fn the_frame_counts_towards_the_limit() {
        let framed = |max_tokens| {
            word_piece(|options| (options.frame, options.max_tokens) = (Some((1, 2)), max_tokens)).ids("issues issues")
        };
        assert_eq!(framed(512), [1, 4, 5, 4, 5, 2]);
        assert_eq!(framed(4), [1, 4, 5, 2]);
        assert_eq!(framed(2), [1, 2]);
    }
}
