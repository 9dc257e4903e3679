//! BM25 of several searches at once, document by document.
//!
//! Slots are gone through in blocks whose scores stay in the processor's cache. A term that several searches look for is
//! scored once for all of them.

use vmcp_core::ranking::LexicalQuery;

use super::{
    super::slot::{Best, Scored, Slot, Visible},
    COLUMNS, LexicalImage, Posting, Wanted, WantedTerm, counts,
};

/// Least weight of a term, for those that most documents have.
const MIN_IDF: f64 = 1e-6;
/// Slots that are scored together.
const BLOCK: usize = 4096;

/// What makes scores of two searches comparable term by term.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    /// By column; 0 where it is not searched.
    weights: [f64; COLUMNS],
    k1: f64,
    b: f64,
}

impl Scale {
    pub(super) fn of(query: &LexicalQuery) -> Self {
        let mut weights = [0.0; COLUMNS];
        for column in query.columns.iter().filter(|column| counts(column.weight)) {
            weights[column.column as usize] = column.weight;
        }
        // What is no parameter of BM25 is as if it had not been given.
        let or_usual = |value: f64, most: f64, usual: f64| if (0.0..=most).contains(&value) { value } else { usual };
        Self {
            weights,
            k1: or_usual(query.saturation, f64::MAX, 1.2),
            b: or_usual(query.length_normalisation, 1.0, 0.75),
        }
    }

    #[inline]
    fn frequency(&self, posting: &Posting) -> f64 {
        (0..COLUMNS).map(|column| self.weights[column] * f64::from(posting.counts[column])).sum()
    }
}

/// Searches of one scale.
pub(super) struct Scoring<'a> {
    image: &'a LexicalImage,
    scale: Scale,
    /// Words per document in the searched columns.
    average_length: f64,
}

/// A term that is looked for.
struct Term<'a> {
    /// Those that are not scored yet.
    postings: &'a [Posting],
    idf: f64,
    /// Position of a search, and what the term is to it.
    users: Vec<(usize, WantedTerm)>,
}

impl<'a> Scoring<'a> {
    pub(super) fn new(image: &'a LexicalImage, scale: Scale) -> Self {
        let searched = (0..COLUMNS).filter(|column| scale.weights[*column] > 0.0);
        let words: u64 = searched.map(|column| image.totals[column]).sum();
        #[expect(clippy::cast_precision_loss, reason = "word counts are far below 2^52")]
        let average_length = words as f64 / image.documents as f64;
        Self { image, scale, average_length }
    }

    /// What each of the searches finds.
    pub(super) fn search(&self, mut runs: Vec<Run<'_>>, visible: &Visible) -> Vec<Vec<Scored>> {
        let mut terms = self.terms(&runs);
        let mut dampings = Vec::with_capacity(BLOCK);
        for (block, lengths) in self.image.lengths.chunks(BLOCK).enumerate() {
            dampings.clear();
            dampings.extend(lengths.iter().map(|lengths| self.damping(lengths)));
            for term in &mut terms {
                let here = term.postings.partition_point(|posting| posting.slot.at() / BLOCK == block);
                let (postings, later) = term.postings.split_at(here);
                term.postings = later;
                self.score(term, postings, &dampings, &mut runs);
            }
            runs.iter_mut().for_each(|run| run.finish_block(block * BLOCK, visible));
        }
        runs.into_iter().map(|run| run.best.into_sorted()).collect()
    }

    fn terms(&self, runs: &[Run<'_>]) -> Vec<Term<'a>> {
        let mut uses: Vec<(usize, WantedTerm)> = Vec::new();
        for (n, run) in runs.iter().enumerate() {
            uses.extend(run.wanted.terms.iter().map(|term| (n, *term)));
        }
        uses.sort_by_key(|(n, term)| (term.id, *n));
        let term = |users: &[(usize, WantedTerm)]| {
            let postings = self.image.postings[users[0].1.id as usize].as_slice();
            Term { postings, idf: self.idf(postings), users: users.to_vec() }
        };
        uses.chunk_by(|a, b| a.1.id == b.1.id).map(term).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "document counts are far below 2^52")]
    fn idf(&self, postings: &[Posting]) -> f64 {
        let having = match self.scale.weights.iter().all(|weight| *weight > 0.0) {
            true => postings.len(),
            false => postings.iter().filter(|posting| self.scale.frequency(posting) > 0.0).count(),
        };
        let (all, having) = (self.image.documents as f64, having as f64);
        let idf = ((all - having + 0.5) / (having + 0.5)).ln();
        if idf <= 0.0 { MIN_IDF } else { idf }
    }

    /// `k1 (1 - b + b · length / average length)`.
    fn damping(&self, lengths: &[u16; COLUMNS]) -> f64 {
        let length = |column: usize| if self.scale.weights[column] > 0.0 { u32::from(lengths[column]) } else { 0 };
        let length: u32 = (0..COLUMNS).map(length).sum();
        self.scale.k1 * (1.0 - self.scale.b + self.scale.b * f64::from(length) / self.average_length)
    }

    /// Adds what a term gives the documents of one block.
    fn score(&self, term: &Term<'_>, postings: &[Posting], dampings: &[f64], runs: &mut [Run<'_>]) {
        for posting in postings {
            let frequency = self.scale.frequency(posting);
            if frequency > 0.0 {
                let at = posting.slot.at() % BLOCK;
                let score = term.idf * ((frequency * (self.scale.k1 + 1.0)) / (frequency + dampings[at]));
                term.users.iter().for_each(|(n, term)| runs[*n].add(at, term.weight * score, term.is_required));
            }
        }
    }
}

/// One search under way.
pub(super) struct Run<'a> {
    wanted: &'a Wanted,
    /// Of the documents in the block at work.
    scores: Vec<f64>,
    /// How many of the required terms each of them has, where that matters.
    matched: Option<Vec<u32>>,
    /// How many there are.
    required: usize,
    best: Best,
}

impl<'a> Run<'a> {
    pub(super) fn new(wanted: &'a Wanted, pool: usize) -> Self {
        Self {
            wanted,
            scores: vec![0.0; BLOCK],
            matched: wanted.all.then(|| vec![0; BLOCK]),
            required: wanted.terms.iter().filter(|term| term.is_required).count(),
            best: Best::new(pool, 0.0),
        }
    }

    #[inline]
    fn add(&mut self, at: usize, score: f64, is_required: bool) {
        self.scores[at] += score;
        if let Some(matched) = &mut self.matched {
            matched[at] += u32::from(is_required);
        }
    }

    /// Takes the best of the block, which begins at slot `start`, and clears it for the next one.
    fn finish_block(&mut self, start: usize, visible: &Visible) {
        for (at, score) in self.scores.iter().enumerate() {
            if self.best.wants(*score) {
                let slot = Slot::from_position(start + at);
                let terms = self.matched.as_ref().map(|matched| matched[at] as usize);
                if terms.is_none_or(|terms| terms == self.required) && visible.contains(slot) {
                    self.best.add(slot, *score);
                }
            }
        }
        self.scores.fill(0.0);
        self.matched.iter_mut().for_each(|matched| matched.fill(0));
    }
}
