//! All words of all documents in memory, and BM25 over them.
//!
//! SQLite's FTS5 keeps the same words durably, but its `bm25()` takes ten milliseconds for a request of fifteen words among ten
//! thousand tools. The lists here give the same scores in a fraction of one. A clone shares all lists with its origin; an update
//! copies those that it changes, so that searches read on in the old ones.

mod scoring;

use std::{collections::HashMap, sync::Arc};

use foldhash::fast::RandomState;
use vmcp_core::ranking::{Column, LexicalQuery, MatchMode};

use self::scoring::{Run, Scale, Scoring};
use super::{
    slot::{Scored, Slot, Visible},
    snapshot::Placed,
};
use crate::words::Splitter;

/// Columns of a document.
pub(super) const COLUMNS: usize = Column::ALL.len();

/// How often a term stands in each column of a document.
#[derive(Clone, Copy, Debug)]
struct Posting {
    slot: Slot,
    counts: [u16; COLUMNS],
}

type TermId = u32;

/// Stands before words that were not stemmed: a list of their own, for requests that say the very same word.
const EXACT: char = '=';

/// The words of all documents.
#[derive(Clone, Default)]
pub(super) struct LexicalImage {
    terms: Arc<HashMap<Arc<str>, TermId, RandomState>>,
    /// By term, each sorted by slot.
    postings: Vec<Arc<Vec<Posting>>>,
    /// Terms that no document has any more: their ids are given to new ones.
    unused: Vec<TermId>,
    /// Words per column, by slot; zeros where there is no document.
    lengths: Arc<Vec<[u16; COLUMNS]>>,
    /// Words per column in all documents together.
    totals: [u64; COLUMNS],
    documents: usize,
}

/// A search by words and the number of hits it wants.
#[derive(Clone, Copy, Debug)]
pub struct LexicalSearch<'a> {
    pub query: &'a LexicalQuery,
    pub pool: usize,
}

impl LexicalImage {
    /// Distinct words, each in one form only.
    pub(super) fn distinct_words(&self) -> usize {
        self.terms.keys().filter(|term| !term.starts_with(EXACT)).count()
    }

    /// Takes the words of the `removed` documents out and those of the `added` ones in. A slot may be in both.
    pub(super) fn update(&mut self, removed: &[Placed], added: &[Placed], splitter: &mut Splitter) {
        let touched = self.remove(removed, splitter);
        self.add(added, splitter);
        self.documents = self.documents + added.len() - removed.len();
        self.forget_unused(&touched);
    }

    /// Returns the terms that the documents had, sorted.
    fn remove(&mut self, removed: &[Placed], splitter: &mut Splitter) -> Vec<TermId> {
        let mut outgoing: Vec<(TermId, Slot)> = Vec::new();
        for (slot, document) in removed {
            document.each_form(splitter, |_, word| {
                outgoing.extend(self.terms.get(word.stem).map(|term| (*term, *slot)));
                outgoing.extend(self.terms.get(&*exact(word.form)).map(|term| (*term, *slot)));
            });
            let lengths = std::mem::take(&mut Arc::make_mut(&mut self.lengths)[slot.at()]);
            (0..COLUMNS).for_each(|column| self.totals[column] -= u64::from(lengths[column]));
        }
        outgoing.sort_unstable();
        outgoing.dedup();
        let by_term = outgoing.chunk_by(|a, b| a.0 == b.0);
        let remove_term = |gone: &[(TermId, Slot)]| {
            let term = gone[0].0;
            let postings = Arc::make_mut(&mut self.postings[term as usize]);
            postings.retain(|posting| gone.binary_search(&(term, posting.slot)).is_err());
            term
        };
        by_term.map(remove_term).collect()
    }

    fn add(&mut self, added: &[Placed], splitter: &mut Splitter) {
        let mut unsorted: Vec<TermId> = Vec::new();
        // By the splitter's number of the word, so that few words are looked up.
        let mut numbered: Vec<Option<[TermId; 2]>> = Vec::new();
        for (slot, document) in added {
            let mut lengths = [0; COLUMNS];
            document.each_form(splitter, |column, word| {
                lengths[column] = u16::saturating_add(lengths[column], 1);
                let known = word.number.and_then(|number| *numbered.get(number)?);
                let terms = known.unwrap_or_else(|| [self.term_id(word.stem), self.term_id(&exact(word.form))]);
                if let Some(number) = word.number.filter(|_| known.is_none()) {
                    numbered.resize(numbered.len().max(number + 1), None);
                    numbered[number] = Some(terms);
                }
                unsorted.extend(terms.into_iter().filter(|term| !self.count(*term, *slot, column)));
            });
            self.set_lengths(*slot, lengths);
        }
        unsorted.sort_unstable();
        unsorted.dedup();
        for term in unsorted {
            Arc::make_mut(&mut self.postings[term as usize]).sort_unstable_by_key(|posting| posting.slot);
        }
    }

    /// The id of `word`, a new one if need be.
    fn term_id(&mut self, word: &str) -> TermId {
        if let Some(id) = self.terms.get(word) {
            return *id;
        }
        let id = self.unused.pop().unwrap_or_else(|| {
            self.postings.push(Arc::default());
            TermId::try_from(self.postings.len() - 1).expect("an index has fewer than 2^32 words")
        });
        Arc::make_mut(&mut self.terms).insert(word.into(), id);
        id
    }

    /// Counts a term in a column of the document that is being added. Tells whether the term's list is still sorted.
    fn count(&mut self, term: TermId, slot: Slot, column: usize) -> bool {
        let postings = Arc::make_mut(&mut self.postings[term as usize]);
        let last = postings.last_mut().map(|last| (last.slot, &mut last.counts[column]));
        match last {
            Some((same, count)) if same == slot => *count = count.saturating_add(1),
            last => {
                let is_sorted = last.is_none_or(|(before, _)| before < slot);
                let mut counts = [0; COLUMNS];
                counts[column] = 1;
                postings.push(Posting { slot, counts });
                return is_sorted;
            }
        }
        true
    }

    fn set_lengths(&mut self, slot: Slot, lengths: [u16; COLUMNS]) {
        let all = Arc::make_mut(&mut self.lengths);
        if all.len() <= slot.at() {
            all.resize(slot.at() + 1, [0; COLUMNS]);
        }
        all[slot.at()] = lengths;
        (0..COLUMNS).for_each(|column| self.totals[column] += u64::from(lengths[column]));
    }

    /// Frees those of the terms that no document has any more.
    fn forget_unused(&mut self, touched: &[TermId]) {
        let mut empty: Vec<TermId> =
            touched.iter().copied().filter(|term| self.postings[*term as usize].is_empty()).collect();
        if empty.is_empty() {
            return;
        }
        empty.dedup();
        // Looked up by id only here, so the words are not kept a second time for it.
        Arc::make_mut(&mut self.terms).retain(|_, id| empty.binary_search(id).is_err());
        self.unused.extend(empty);
    }

    /// The best documents of each search, best first, ties by slot. Scores are those of FTS5's `bm25()` with the sign turned, on
    /// a table of the searched columns:
    ///
    /// `Σ over terms of weight · idf · f (k1 + 1) / (f + k1 (1 - b + b · length / average length))`, with
    /// `f = Σ over columns of weight · count` and `idf = ln((N - n + 0.5) / (n + 0.5))`, at least 1e-6, where `n` of the `N` documents
    /// have the term in a searched column. Lengths are of the searched columns together. Weights that are not above 0 leave
    /// their column or term out. Where a query gives weight to exact words, each is a term of its own beside its stem.
    ///
    /// What searches with equal columns and parameters have in common is computed once.
    pub(super) fn search(
        &self,
        searches: &[LexicalSearch<'_>],
        visible: &Visible,
        splitter: &mut Splitter,
    ) -> Vec<Vec<Scored>> {
        let wanted: Vec<Wanted> = searches.iter().map(|search| self.wanted(search.query, splitter)).collect();
        let mut results = vec![Vec::new(); searches.len()];
        let mut open: Vec<usize> = (0..searches.len()).filter(|n| wanted[*n].can_match()).collect();
        while let Some(first) = open.first() {
            let scale = Scale::of(searches[*first].query);
            let (alike, others): (Vec<usize>, Vec<usize>) =
                open.into_iter().partition(|n| Scale::of(searches[*n].query) == scale);
            open = others;
            let runs = alike.iter().map(|n| Run::new(&wanted[*n], searches[*n].pool)).collect();
            let found = Scoring::new(self, scale).search(runs, visible);
            alike.into_iter().zip(found).for_each(|(n, hits)| results[n] = hits);
        }
        results
    }

    fn wanted(&self, query: &LexicalQuery, splitter: &mut Splitter) -> Wanted {
        let mut wanted = Wanted { terms: Vec::new(), all: query.mode == MatchMode::All, unknown: false };
        for term in query.terms.iter().filter(|term| counts(term.weight)) {
            splitter.split_forms(&term.text, |word| {
                match self.terms.get(word.stem) {
                    None => wanted.unknown = true,
                    Some(id) => wanted.add(*id, term.weight, true),
                }
                if counts(query.exact)
                    && let Some(id) = self.terms.get(&*exact(word.form))
                {
                    wanted.add(*id, term.weight * query.exact, false);
                }
            });
        }
        wanted
    }
}

/// Whether a weight has any effect.
fn counts(weight: f64) -> bool {
    weight.is_finite() && weight > 0.0
}

/// `word` as the term of its exact form.
fn exact(word: &str) -> String {
    format!("{EXACT}{word}")
}

/// The known terms of a search.
struct Wanted {
    terms: Vec<WantedTerm>,
    /// Whether a document must have all of them.
    all: bool,
    /// Whether there was a term that no document has.
    unknown: bool,
}

#[derive(Clone, Copy)]
struct WantedTerm {
    id: TermId,
    weight: f64,
    /// Whether a document must have it where it must have all.
    is_required: bool,
}

impl Wanted {
    /// Adds a term; of repeated ones the greatest weight counts.
    fn add(&mut self, id: TermId, weight: f64, is_required: bool) {
        match self.terms.iter_mut().find(|known| known.id == id) {
            Some(known) => known.weight = known.weight.max(weight),
            None => self.terms.push(WantedTerm { id, weight, is_required }),
        }
    }

    fn can_match(&self) -> bool {
        !(self.terms.is_empty() || self.all && self.unknown)
    }
}

#[cfg(test)]
mod tests;
