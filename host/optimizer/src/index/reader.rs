//! What a search works on: one state of the index, from its start to its end.

use std::sync::Arc;

use vmcp_core::ranking::DocumentForm;
use vmcp_store::StoreError;

use super::{
    dense::DenseSearch,
    lexical::LexicalSearch,
    reference::ReferenceTable,
    slot::{Scored, Slot, Visible},
    snapshot::Snapshot,
};
use crate::{document::ToolDocument, embedding::ModelId, words::Splitter};

/// The index as it was when this was made. Holding it keeps nobody waiting.
#[derive(Clone)]
pub struct Reader {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) reference: Arc<ReferenceTable>,
}

impl Reader {
    /// Documents in the index.
    pub fn len(&self) -> usize {
        self.snapshot.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn document(&self, slot: Slot) -> Option<&Arc<ToolDocument>> {
        self.snapshot.document(slot)
    }

    /// By ascending slot.
    pub fn documents(&self) -> impl Iterator<Item = (Slot, &Arc<ToolDocument>)> {
        self.snapshot.documents()
    }

    /// Where the tool of this advertised name is.
    pub fn slot(&self, advertised: &str) -> Option<Slot> {
        self.snapshot.slot(advertised)
    }

    /// The documents that `accept` takes.
    pub fn visible(&self, mut accept: impl FnMut(&ToolDocument) -> bool) -> Visible {
        Visible::Only(self.documents().filter(|(_, document)| accept(document)).map(|(slot, _)| slot).collect())
    }

    /// The best documents of each search by words, with scores above 0, best first, ties by slot.
    ///
    /// What the searches have in common is computed once. Searches in [`DocumentForm::Standard`] take fractions of a millisecond;
    /// those in [`DocumentForm::Reference`] block for ten at ten thousand tools, and fail when SQLite does.
    pub fn lexical(&self, searches: &[LexicalSearch<'_>], visible: &Visible) -> Result<Vec<Vec<Scored>>, StoreError> {
        let (standard, reference): (Vec<usize>, Vec<usize>) =
            (0..searches.len()).partition(|n| searches[*n].query.form == DocumentForm::Standard);
        let of = |positions: &[usize]| positions.iter().map(|n| searches[*n]).collect::<Vec<_>>();
        let mut results = vec![Vec::new(); searches.len()];
        let found = self.snapshot.lexical.search(&of(&standard), visible, &mut Splitter::default());
        standard.into_iter().zip(found).for_each(|(n, hits)| results[n] = hits);
        if !reference.is_empty() {
            let found = self.reference.search(self.snapshot.slots(), &of(&reference), visible)?;
            reference.into_iter().zip(found).for_each(|(n, hits)| results[n] = hits);
        }
        Ok(results)
    }

    /// The best documents of each search by meaning: scores are cosines, best first, ties by slot. The vectors must be of
    /// [`dense_model`](Self::dense_model); one of another width, or of zeros, finds nothing.
    pub fn dense(&self, form: DocumentForm, searches: &[DenseSearch<'_>], visible: &Visible) -> Vec<Vec<Scored>> {
        match self.snapshot.dense(form) {
            Some(image) => image.search(searches, visible),
            None => vec![Vec::new(); searches.len()],
        }
    }

    /// The model whose vectors are searched; none while there are none.
    pub fn dense_model(&self, form: DocumentForm) -> Option<&ModelId> {
        Some(self.snapshot.dense(form)?.model())
    }

    /// For each of `slots`, the others of them with a cosine of at least `from`, most similar first.
    pub fn similar(&self, form: DocumentForm, slots: &[Slot], from: f64) -> Vec<Vec<Scored>> {
        match self.snapshot.dense(form) {
            Some(image) => image.similar(slots, from),
            None => vec![Vec::new(); slots.len()],
        }
    }
}
