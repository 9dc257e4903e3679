//! One order from several lists.

use super::{Candidate, Findings, Query, Ranked, why};

/// Adds up what several lists give each candidate.
///
/// ```
/// use vmcp_sdk::ranking::{Arm, Findings, Fusion, Query, Ranked, dense_share, min_max};
///
/// fn rank(query: &Query, findings: &Findings) -> Vec<Ranked> {
///     let dense = dense_share(query, findings, 0.4);
///     let mut fusion = Fusion::new(findings);
///     fusion.add(1.0 - dense, &min_max(&findings.list(Arm::Lexical, |_| true), 100));
///     fusion.add(dense, &min_max(&findings.list(Arm::Dense, |_| true), 100));
///     fusion.into_ranked(query)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Fusion<'a> {
    findings: &'a Findings,
    sums: Vec<f64>,
}

impl<'a> Fusion<'a> {
    /// Every candidate has 0.
    pub fn new(findings: &'a Findings) -> Self {
        Self { findings, sums: vec![0.0; findings.candidates.len()] }
    }

    /// Adds `weight` times each of `values`, one per candidate.
    pub fn add(&mut self, weight: f64, values: &[f64]) {
        for (sum, value) in self.sums.iter_mut().zip(values) {
            *sum += weight * value;
        }
    }

    /// Multiplies each candidate's sum by a factor of its own.
    pub fn scale(&mut self, factor: impl Fn(&Candidate) -> f64) {
        for (sum, candidate) in self.sums.iter_mut().zip(&self.findings.candidates) {
            *sum *= factor(candidate);
        }
    }

    /// All candidates by their sums, ties by name, then by id. If the client wants reasons, the first
    /// [`limit`](Query::limit) of them say [`why`].
    pub fn into_ranked(self, query: &Query) -> Vec<Ranked> {
        let mut ordered: Vec<(f64, &Candidate)> = self.sums.into_iter().zip(&self.findings.candidates).collect();
        ordered.sort_unstable_by(|(a, one), (b, other)| {
            b.total_cmp(a).then_with(|| one.name.cmp(&other.name)).then_with(|| one.id.cmp(&other.id))
        });
        let explained = why(query, ordered.iter().take(query.limit).map(|(_, candidate)| *candidate));
        let reasons = explained.into_iter().chain(std::iter::repeat_with(String::new));
        let ranked = ordered.into_iter().zip(reasons);
        ranked.map(|((score, candidate), why)| Ranked { id: candidate.id, score, why }).collect()
    }
}

/// What each rank is worth: `1 / (k + rank)`, 0 where there is none. The sum over several lists is reciprocal rank fusion.
///
/// - `ranks`: one per candidate, from 1
/// - `k`: at least 0; larger flattens the weight of the top ranks. 60 in the source
///
/// Source: Cormack, Clarke, Büttcher, SIGIR 2009, doi:10.1145/1571941.1572114.
pub fn reciprocal_ranks(ranks: &[Option<u32>], k: f64) -> Vec<f64> {
    ranks.iter().map(|rank| rank.map_or(0.0, |rank| 1.0 / (k + f64::from(rank)))).collect()
}

/// The weight of the dense arm, 0 to 1; the rest is that of the lexical one.
///
/// `ratio·best / (ratio·best + (1 - ratio)·(1 - best))`: at ratio 0 words alone count, at 1 meaning alone, and at 0.5, the
/// default of the configuration, the share is `best`. It is 0 too when no dense query was run.
///
/// - `best`: the share that finds best, above 0 and below 1
pub fn dense_share(query: &Query, findings: &Findings, best: f64) -> f64 {
    if !findings.dense {
        return 0.0;
    }
    let ratio = query.semantic_ratio.clamp(0.0, 1.0);
    let (dense, lexical) = (ratio * best, (1.0 - ratio) * (1.0 - best));
    dense / (dense + lexical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_ratio_gives_the_best_share_and_the_ends_one_arm() {
        let check = |ratio: f64, dense: bool, best: f64, expected: f64| {
            let query = Query { semantic_ratio: ratio, ..Query::new("x") };
            let share = dense_share(&query, &Findings { dense, ..Findings::default() }, best);
            assert!((share - expected).abs() < 1e-9, "{share} instead of {expected}");
        };
        check(0.0, true, 0.35, 0.0);
        check(0.5, true, 0.35, 0.35);
        check(1.0, true, 0.35, 1.0);
        check(0.5, true, 0.5, 0.5);
        check(0.25, true, 0.4, 0.1 / 0.55);
        check(0.75, true, 0.4, 0.3 / 0.45);
        check(0.5, false, 0.35, 0.0);
        check(1.0, false, 0.35, 0.0);
    }

    #[test]
    fn ranks_are_worth_less_the_lower_they_are() {
        assert_eq!(reciprocal_ranks(&[Some(1), None, Some(40)], 60.0), [1.0 / 61.0, 0.0, 0.01]);
    }

    #[test]
    fn ties_are_broken_by_name_whatever_the_order_of_the_candidates() {
        let named = |id, name: &str| Candidate::new(id, "backend", name, &[]);
        let candidates = vec![named(4, "b"), named(7, "c"), named(1, "a"), named(2, "a")];
        let findings = Findings { candidates, dense: true };
        let mut fusion = Fusion::new(&findings);
        fusion.add(0.5, &[1.0, 2.0, 1.0, 1.0]);
        let order = |fusion: Fusion| {
            fusion.into_ranked(&Query::new("x")).iter().map(|ranked| (ranked.id, ranked.score)).collect::<Vec<_>>()
        };
        assert_eq!(order(fusion.clone()), [(7, 1.0), (1, 0.5), (2, 0.5), (4, 0.5)]);
        fusion.scale(|candidate| if candidate.name == "b" { 3.0 } else { 1.0 });
        assert_eq!(order(fusion)[0], (4, 1.5));
    }
}
