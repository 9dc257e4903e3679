//! The order that a component gives, checked against what it was given.

use std::collections::HashMap;

use vmcp_core::ranking::{Candidate, Ranked};

use crate::bindings::ranking::exports::vmcp::ranking::ranking_strategy as wit;

/// Longest reason, in bytes; the rest is cut. It may end up in the answer that a model reads.
const MAX_WHY_BYTES: usize = 500;

/// The order, or what is wrong with it.
pub(super) fn from_wit(ranked: Vec<wit::Ranked>, candidates: &[Candidate<'_>]) -> Result<Vec<Ranked>, String> {
    let mut is_ranked: HashMap<u32, bool> = candidates.iter().map(|candidate| (candidate.id, false)).collect();
    ranked
        .into_iter()
        .map(|wit::Ranked { id, score, mut why, .. }| {
            match is_ranked.get_mut(&id) {
                None => return Err(format!("no candidate has the id {id}")),
                Some(true) => return Err(format!("candidate {id} is ranked twice")),
                Some(seen) => *seen = true,
            }
            if !score.is_finite() {
                return Err(format!("the score of candidate {id} is {score}"));
            }
            why.truncate(why.floor_char_boundary(MAX_WHY_BYTES));
            Ok(Ranked { id, score, why })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use vmcp_core::ranking::Usage;

    use super::*;

    fn candidate(id: u32) -> Candidate<'static> {
        Candidate {
            id,
            name: "search",
            backend: None,
            description: None,
            annotations: None,
            hits: Vec::new(),
            similar: Vec::new(),
            usage: Usage::default(),
            pinned: false,
        }
    }

    #[test]
    fn only_candidates_are_ranked_each_once_with_a_number() {
        let candidates = [candidate(3), candidate(5)];
        let check = |ranked: &[(u32, f64)], expected: Result<&[u32], &str>| {
            let ranked =
                ranked.iter().map(|&(id, score)| wit::Ranked { id, score, why: String::new(), extra: String::new() });
            let ids = from_wit(ranked.collect(), &candidates)
                .map(|ranked| ranked.iter().map(|ranked| ranked.id).collect::<Vec<_>>());
            assert_eq!(ids.as_deref().map_err(String::as_str), expected);
        };
        check(&[], Ok(&[]));
        check(&[(5, 0.0), (3, 7.0)], Ok(&[5, 3]));
        check(&[(3, 1.0), (4, 1.0)], Err("no candidate has the id 4"));
        check(&[(3, 1.0), (5, 1.0), (3, 1.0)], Err("candidate 3 is ranked twice"));
        check(&[(3, f64::NAN)], Err("the score of candidate 3 is NaN"));
        check(&[(3, f64::INFINITY)], Err("the score of candidate 3 is inf"));
    }

    #[test]
    fn long_reasons_are_cut_between_characters() {
        let candidates = [candidate(1)];
        let why = "x".to_owned() + &"ü".repeat(MAX_WHY_BYTES);
        let ranked = wit::Ranked { id: 1, score: 1.0, why, extra: String::new() };
        let ranked = from_wit(vec![ranked], &candidates).unwrap();
        assert_eq!(ranked[0].why.len(), MAX_WHY_BYTES - 1);
    }
}
