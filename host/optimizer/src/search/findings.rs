//! What the arms find for a plan, as the ranking is told of it.

use std::collections::HashMap;

use vmcp_core::ranking::{Arm, Candidate, DocumentForm, Findings, Hit, SearchPlan, Similarity, Texts, Usage};
use vmcp_store::StoreError;

use super::{SearchRequest, SearchSettings};
use crate::index::{DenseSearch, LexicalSearch, Reader, Scored, Slot, Visible};

/// Most candidates that a ranking is handed.
const MAX_CANDIDATES: usize = 1000;

/// The vectors of a plan's dense texts.
pub(super) struct QueryVectors(HashMap<String, Vec<f32>>);

impl QueryVectors {
    pub(super) fn new(texts: Vec<String>, vectors: Vec<Vec<f32>>) -> Self {
        Self(texts.into_iter().zip(vectors).collect())
    }

    fn of(&self, text: &str) -> Option<&[f32]> {
        self.0.get(text).map(Vec::as_slice)
    }
}

/// One document that at least one subquery found.
#[derive(Debug)]
pub(super) struct FoundDocument {
    pub slot: Slot,
    pub hits: Vec<Hit>,
    pub similar: Vec<Similarity>,
    pub usage: Usage,
    pub pinned: bool,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub documents: Vec<FoundDocument>,
    by_slot: HashMap<Slot, usize>,
}

impl Found {
    /// Notes what one subquery found in one arm, best first.
    fn add(&mut self, subquery: u32, arm: Arm, scored: Vec<Scored>) {
        for (rank, scored) in (1..).zip(scored) {
            let at = *self.by_slot.entry(scored.slot).or_insert_with(|| {
                self.documents.push(FoundDocument::new(scored.slot));
                self.documents.len() - 1
            });
            self.documents[at].hits.push(Hit { subquery, arm, score: scored.score, rank });
        }
    }

    /// Keeps as many as a ranking is handed: those that stand highest in any list.
    fn keep_the_best(&mut self) {
        if self.documents.len() > MAX_CANDIDATES {
            self.documents.sort_by_key(|document| document.hits.iter().map(|hit| hit.rank).min());
            self.documents.truncate(MAX_CANDIDATES);
        }
    }

    /// Adds what the host knows beside the index.
    pub(super) fn add_usage(&mut self, reader: &Reader, request: &SearchRequest) {
        for document in &mut self.documents {
            let Some(name) = reader.document(document.slot).map(|document| document.name()) else { continue };
            document.usage = (request.usage)(name);
            document.pinned = request.pinned.iter().any(|pinned| pinned == name);
        }
    }

    /// As the ranking is told.
    ///
    /// - `dense`: whether the plan's dense queries were run
    /// - `texts`: as the plan asked for
    pub(super) fn into_findings(self, reader: &Reader, dense: bool, texts: Texts) -> Findings<'_> {
        let candidate = |found: FoundDocument| {
            let document = reader.document(found.slot)?;
            Some(Candidate {
                id: found.slot.0,
                name: document.name(),
                backend: texts.backend.then(|| document.server()),
                description: texts.description.then(|| document.description()),
                annotations: texts.annotations.then(|| document.annotations()),
                hits: found.hits,
                similar: found.similar,
                usage: found.usage,
                pinned: found.pinned,
            })
        };
        Findings { candidates: self.documents.into_iter().filter_map(candidate).collect(), dense }
    }
}

impl FoundDocument {
    fn new(slot: Slot) -> Self {
        Self { slot, hits: Vec::new(), similar: Vec::new(), usage: Usage::default(), pinned: false }
    }
}

/// Runs the plan's subqueries through both arms.
///
/// - `vectors`: of the plan's dense texts; none runs the lexical arm alone
pub(super) fn find(
    reader: &Reader,
    plan: &SearchPlan,
    vectors: Option<&QueryVectors>,
    visible: &Visible,
    settings: SearchSettings,
) -> Result<Found, StoreError> {
    let mut found = Found::default();
    let lexical: Vec<_> =
        plan.subqueries.iter().filter_map(|subquery| Some((subquery, subquery.lexical.as_ref()?))).collect();
    let searches: Vec<_> =
        lexical.iter().map(|(subquery, query)| LexicalSearch { query, pool: subquery.pool as usize }).collect();
    for ((subquery, _), scored) in lexical.iter().zip(reader.lexical(&searches, visible)?) {
        found.add(subquery.id, Arm::Lexical, scored);
    }
    let mut forms = Vec::new();
    if let Some(vectors) = vectors {
        for form in [DocumentForm::Standard, DocumentForm::Reference] {
            let dense: Vec<_> = (plan.subqueries.iter())
                .filter_map(|subquery| {
                    let dense = subquery.dense.as_ref().filter(|dense| dense.form == form)?;
                    Some((subquery.id, DenseSearch { vector: vectors.of(&dense.text)?, pool: subquery.pool as usize }))
                })
                .collect();
            if dense.is_empty() {
                continue;
            }
            forms.push(form);
            let (ids, searches): (Vec<_>, Vec<_>) = dense.into_iter().unzip();
            for (id, mut scored) in ids.into_iter().zip(reader.dense(form, &searches, visible)) {
                scored.retain(|scored| 1.0 - scored.score <= settings.distance_threshold);
                found.add(id, Arm::Dense, scored);
            }
        }
    }
    found.keep_the_best();
    if let (Some(from), Some(form)) = (plan.similar_from, forms.first()) {
        let slots: Vec<_> = found.documents.iter().map(|document| document.slot).collect();
        for (document, similar) in found.documents.iter_mut().zip(reader.similar(*form, &slots, from)) {
            let similarity = |scored: Scored| Similarity { id: scored.slot.0, cosine: scored.score };
            document.similar = similar.into_iter().map(similarity).collect();
        }
    }
    Ok(found)
}
