//! How each candidate was found and what the ranking made of it.

use vmcp_core::ranking::{Findings, Hit, Ranked, SearchPlan};

use crate::index::{Reader, Slot};

/// A search, laid open.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// What the ranking had the host look for.
    pub plan: SearchPlan,
    /// Whether the dense queries of the plan were run.
    pub dense: bool,
    /// In the ranking's order; those that it left out come last.
    pub candidates: Vec<ExplainedCandidate>,
}

#[derive(Clone, Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainedCandidate {
    pub name: String,
    pub server: String,
    /// Absent where the ranking left it out.
    pub score: Option<f64>,
    pub why: String,
    /// Raw scores and ranks, per arm and subquery.
    pub hits: Vec<Hit>,
}

impl Explanation {
    pub(super) fn of(plan: SearchPlan, reader: &Reader, findings: &Findings<'_>, ranked: &[Ranked]) -> Self {
        let place = |id: u32| ranked.iter().position(|ranked| ranked.id == id);
        let mut candidates: Vec<_> =
            findings.candidates.iter().map(|candidate| (place(candidate.id), candidate)).collect();
        candidates.sort_by_key(|(place, candidate)| (place.unwrap_or(usize::MAX), candidate.name));
        let explain = |(place, candidate): (Option<usize>, &vmcp_core::ranking::Candidate<'_>)| ExplainedCandidate {
            name: candidate.name.to_owned(),
            server: reader
                .document(Slot(candidate.id))
                .map_or_else(String::new, |document| document.server().to_owned()),
            score: place.map(|place| ranked[place].score),
            why: place.map(|place| ranked[place].why.clone()).unwrap_or_default(),
            hits: candidate.hits.clone(),
        };
        Self { plan, dense: findings.dense, candidates: candidates.into_iter().map(explain).collect() }
    }
}
