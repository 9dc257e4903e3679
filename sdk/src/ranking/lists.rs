//! The lists that the arms found, candidate by candidate.

use super::{Arm, Findings, Hit};

/// What one list, or the best of several, says of each candidate, in the order of [`Findings::candidates`]; `None` where the
/// candidate is not on it.
#[derive(Clone, Debug, PartialEq)]
pub struct List {
    /// The arm that made it.
    pub arm: Arm,
    /// Scores; more is better.
    pub scores: Vec<Option<f64>>,
}

impl Findings {
    /// The best score of each candidate in the lists of one arm for which `of` holds.
    ///
    /// - `of`: is given the subquery's id
    pub fn list(&self, arm: Arm, of: impl Fn(u32) -> bool) -> List {
        let best = |hits: &[Hit]| {
            let scores = hits.iter().filter(|hit| hit.arm == arm && of(hit.subquery)).map(|hit| hit.score);
            scores.max_by(f64::total_cmp)
        };
        List { arm, scores: self.candidates.iter().map(|candidate| best(&candidate.hits)).collect() }
    }

    /// The rank of each candidate in the list of one subquery and arm, from 1.
    pub fn ranks(&self, subquery: u32, arm: Arm) -> Vec<Option<u32>> {
        let rank =
            |hits: &[Hit]| hits.iter().find(|hit| hit.arm == arm && hit.subquery == subquery).map(|hit| hit.rank);
        self.candidates.iter().map(|candidate| rank(&candidate.hits)).collect()
    }
}

/// The scores of a list as 0 to 1: `(score - low) / (high - low)`, at least 0. Whoever is not on the list has 0.
///
/// - `pool`: how many of the best count. `high` is the first score, `low` the one in place `pool`. A shorter list ends where
///   nothing else matches, so its `low` is 0 by words; by meaning it is the last score, since every tool has some cosine.
/// - returns one value per candidate; all of the pool have 1 where `high` equals `low`
pub fn min_max(list: &List, pool: usize) -> Vec<f64> {
    let mut best: Vec<f64> = list.scores.iter().flatten().copied().collect();
    let Some(last) = best.len().min(pool).checked_sub(1) else { return vec![0.0; list.scores.len()] };
    best.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
    let high = best[..=last].iter().copied().fold(f64::MIN, f64::max);
    let low = if best.len() < pool && list.arm == Arm::Lexical { best[last].min(0.0) } else { best[last] };
    let rescaled = list.scores.iter().map(|score| match score {
        Some(score) if high > low => ((score - low) / (high - low)).max(0.0),
        Some(score) if *score >= high => 1.0,
        _ => 0.0,
    });
    rescaled.collect()
}

/// The scores of a list as standard scores: `(score - mean) / deviation`. Unlike [`min_max`] it tells a list with one clear
/// winner from one where all are alike.
///
/// - `pool`: how many of the best make mean and (population) deviation; a shorter list is filled up with 0
/// - returns one value per candidate, of no bounds. Whoever is not on the list has that of the score in place `pool`; all have
///   0 where all scores are equal
pub fn standard_scores(list: &List, pool: usize) -> Vec<f64> {
    let mut best: Vec<f64> = list.scores.iter().flatten().copied().collect();
    best.resize(best.len().max(pool), 0.0);
    let Some(last) = pool.checked_sub(1) else { return vec![0.0; list.scores.len()] };
    best.select_nth_unstable_by(last, |a, b| b.total_cmp(a));
    best.truncate(pool);
    #[expect(clippy::cast_precision_loss, reason = "pools are small")]
    let count = pool as f64;
    let mean = best.iter().sum::<f64>() / count;
    let deviation = (best.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
    if deviation == 0.0 {
        return vec![0.0; list.scores.len()];
    }
    list.scores.iter().map(|score| (score.unwrap_or(best[last]) - mean) / deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::Candidate;

    #[test]
    fn scores_are_stretched_between_the_best_and_the_last_of_the_pool() {
        let check = |arm: Arm, scores: &[Option<f64>], pool: usize, expected: &[f64]| {
            let list = List { arm, scores: scores.to_vec() };
            assert_eq!(min_max(&list, pool), expected, "{list:?}");
        };
        // Full pools end at their last score, and what lies beyond has nothing.
        check(Arm::Lexical, &[Some(9.0), Some(3.0), None, Some(5.0)], 3, &[1.0, 0.0, 0.0, 1.0 / 3.0]);
        check(Arm::Lexical, &[Some(9.0), Some(3.0), Some(5.0)], 2, &[1.0, 0.0, 0.0]);
        // By words a short list ends at 0, by meaning at its last score.
        check(Arm::Lexical, &[Some(8.0), None, Some(2.0)], 100, &[1.0, 0.0, 0.25]);
        check(Arm::Dense, &[Some(0.8), None, Some(0.2)], 100, &[1.0, 0.0, 0.0]);
        // Equal scores.
        check(Arm::Dense, &[None, Some(0.4)], 100, &[0.0, 1.0]);
        check(Arm::Lexical, &[Some(2.0), Some(2.0)], 2, &[1.0, 1.0]);
        // Nothing found, nothing asked for.
        check(Arm::Dense, &[None, None], 100, &[0.0, 0.0]);
        check(Arm::Dense, &[], 100, &[]);
        check(Arm::Lexical, &[Some(2.0)], 0, &[0.0]);
    }

    #[test]
    fn standard_scores_tell_a_clear_winner_from_a_close_one() {
        let check = |scores: &[Option<f64>], pool: usize, expected: &[f64]| {
            let found = standard_scores(&List { arm: Arm::Lexical, scores: scores.to_vec() }, pool);
            let equal = found.iter().zip(expected).all(|(one, other)| (one - other).abs() < 1e-9);
            assert!(equal && found.len() == expected.len(), "{found:?} instead of {expected:?}");
        };
        // Mean 5, deviation 3.
        check(&[Some(8.0), Some(2.0)], 2, &[1.0, -1.0]);
        // Absent is as bad as the last of the pool.
        check(&[Some(8.0), None, Some(2.0), Some(1.0)], 2, &[1.0, -1.0, -1.0, -4.0 / 3.0]);
        // A short list is filled up: 6, 0, 0 have mean 2 and deviation √8.
        check(&[Some(6.0), None], 3, &[2f64.sqrt(), -0.5f64.sqrt()]);
        // Nothing to tell apart.
        check(&[Some(0.4), Some(0.4)], 2, &[0.0, 0.0]);
        check(&[None, None], 2, &[0.0, 0.0]);
        check(&[Some(1.0)], 0, &[0.0]);
        check(&[], 5, &[]);
    }

    #[test]
    fn of_several_lists_the_best_score_counts() {
        let hit = |subquery, arm, score, rank| Hit { subquery, arm, score, rank };
        let findings = Findings {
            candidates: vec![
                Candidate::new(0, "a", "x", &[hit(1, Arm::Lexical, 2.0, 4), hit(2, Arm::Lexical, 7.0, 1)]),
                Candidate::new(1, "a", "y", &[hit(0, Arm::Lexical, 9.0, 1), hit(1, Arm::Dense, 0.5, 2)]),
            ],
            dense: true,
        };
        assert_eq!(findings.list(Arm::Lexical, |id| id != 0).scores, [Some(7.0), None]);
        assert_eq!(findings.list(Arm::Lexical, |id| id == 0).scores, [None, Some(9.0)]);
        assert_eq!(findings.list(Arm::Dense, |_| true).scores, [None, Some(0.5)]);
        assert_eq!(findings.ranks(1, Arm::Lexical), [Some(4), None]);
    }
}
