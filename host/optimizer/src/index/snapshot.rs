//! One state of the index. An update makes the next state from it and shares with it what stays the same.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use vmcp_core::ranking::DocumentForm;

use super::{
    Changes,
    dense::DenseImage,
    lexical::LexicalImage,
    slot::{Slot, SlotSet},
};
use crate::{document::ToolDocument, words::Splitter};

/// A document and its place.
pub(super) type Placed = (Slot, Arc<ToolDocument>);

#[derive(Clone, Default)]
pub(super) struct Snapshot {
    documents: Vec<Option<Arc<ToolDocument>>>,
    by_name: Arc<HashMap<Arc<str>, Slot>>,
    /// Slots without document, the lowest last.
    free: Vec<Slot>,
    pub(super) lexical: LexicalImage,
    standard: Option<DenseImage>,
    reference: Option<DenseImage>,
}

impl Snapshot {
    pub(super) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn slots(&self) -> &[Option<Arc<ToolDocument>>] {
        &self.documents
    }

    pub(super) fn document(&self, slot: Slot) -> Option<&Arc<ToolDocument>> {
        self.documents.get(slot.at())?.as_ref()
    }

    pub(super) fn documents(&self) -> impl Iterator<Item = (Slot, &Arc<ToolDocument>)> {
        let slots = self.documents.iter().enumerate();
        slots.filter_map(|(at, document)| Some((Slot::from_position(at), document.as_ref()?)))
    }

    pub(super) fn slot(&self, name: &str) -> Option<Slot> {
        self.by_name.get(name).copied()
    }

    pub(super) fn dense(&self, form: DocumentForm) -> Option<&DenseImage> {
        match form {
            DocumentForm::Standard => self.standard.as_ref(),
            DocumentForm::Reference => self.reference.as_ref(),
        }
    }

    pub(super) fn set_dense(&mut self, form: DocumentForm, image: Option<DenseImage>) {
        match form {
            DocumentForm::Standard => self.standard = image,
            DocumentForm::Reference => self.reference = image,
        }
    }

    /// The state with exactly `documents`; of equal names the first counts. Slots of documents that stay are kept, new ones get
    /// free slots in the order of their names: so that equal documents have equal slots in every fresh index.
    pub(super) fn updated(&self, documents: Vec<Arc<ToolDocument>>, splitter: &mut Splitter) -> (Self, Changes) {
        let mut changes = Changes::default();
        let mut named = HashSet::with_capacity(documents.len());
        let mut staying = SlotSet::default();
        let mut added = Vec::new();
        let (mut outgoing, mut incoming): (Vec<Placed>, Vec<Placed>) = (Vec::new(), Vec::new());
        for document in documents {
            if !named.insert(document.shared_name()) {
                continue;
            }
            let before = self.slot(document.name()).and_then(|slot| Some((slot, self.document(slot)?)));
            match before {
                None => added.push(document),
                Some((slot, before)) => {
                    staying.insert(slot);
                    if before.digest() == document.digest() {
                        changes.unchanged += 1;
                    } else {
                        changes.changed += 1;
                        outgoing.push((slot, before.clone()));
                        incoming.push((slot, document));
                    }
                }
            }
        }
        let gone = self.documents().filter(|(slot, _)| !staying.contains(*slot));
        let gone: Vec<Placed> = gone.map(|(slot, document)| (slot, document.clone())).collect();
        changes.added = added.len();
        changes.removed = gone.len();

        let mut next = self.clone();
        next.drop_stale_vectors(&gone, &outgoing, &incoming);
        next.remove(&gone);
        outgoing.extend(gone);
        added.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        incoming.extend(next.place(added));
        for (slot, document) in &incoming {
            next.documents[slot.at()] = Some(document.clone());
        }
        next.lexical.update(&outgoing, &incoming, splitter);
        (next, changes)
    }

    fn remove(&mut self, gone: &[Placed]) {
        if gone.is_empty() {
            return;
        }
        let by_name = Arc::make_mut(&mut self.by_name);
        for (slot, document) in gone {
            by_name.remove(document.name());
            self.documents[slot.at()] = None;
            self.free.push(*slot);
        }
        self.free.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Gives each document a free slot.
    fn place(&mut self, added: Vec<Arc<ToolDocument>>) -> Vec<Placed> {
        if added.is_empty() {
            return Vec::new();
        }
        let by_name = Arc::make_mut(&mut self.by_name);
        let mut placed = Vec::with_capacity(added.len());
        for document in added {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.documents.push(None);
                Slot::from_position(self.documents.len() - 1)
            });
            by_name.insert(document.shared_name(), slot);
            placed.push((slot, document));
        }
        placed
    }

    /// A changed document keeps its vector where the texts that it stands for are the same.
    fn drop_stale_vectors(&mut self, gone: &[Placed], before: &[Placed], after: &[Placed]) {
        let images = [(DocumentForm::Standard, &mut self.standard), (DocumentForm::Reference, &mut self.reference)];
        for (form, image) in images {
            let Some(image) = image else { continue };
            gone.iter().for_each(|(slot, _)| image.remove(*slot));
            for ((slot, before), (_, after)) in before.iter().zip(after) {
                if before.embedding_texts(form) != after.embedding_texts(form) {
                    image.remove(*slot);
                }
            }
        }
    }
}
