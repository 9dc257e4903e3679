//! The figures of one query: how soon the needed tools come.

use std::{collections::HashMap, fmt};

use super::budget::BUDGETS;

/// Results beyond this rank count as not found.
pub const CUTOFF: usize = 100;

/// What is measured; each is 0 to 1 for a query, and a mean of that for many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Share of the needed tools among the first so many.
    Recall(usize),
    /// 1 when at least one needed tool is among the first so many.
    Hit(usize),
    /// 1 when all needed tools are among the first so many.
    All(usize),
    /// 1 / rank of the first needed tool.
    ReciprocalRank,
    /// Discounted gain of the first ten results, to that of the best order: `Σ 1 / log2(rank + 1)` over the ranks at which a
    /// needed tool first comes; a result that stands for two needed tools counts once.
    Gain,
    /// Share of the needed tools among the results that fit the budget of this index in [`BUDGETS`].
    Within(usize),
}

/// All figures, in the order of tables.
pub const METRICS: [Metric; 17] = [
    Metric::Recall(1),
    Metric::Recall(3),
    Metric::Recall(5),
    Metric::Recall(8),
    Metric::Hit(1),
    Metric::Hit(3),
    Metric::Hit(5),
    Metric::Hit(8),
    Metric::All(1),
    Metric::All(3),
    Metric::All(5),
    Metric::All(8),
    Metric::ReciprocalRank,
    Metric::Gain,
    Metric::Within(0),
    Metric::Within(1),
    Metric::Within(2),
];

/// Rank to which [`Metric::Gain`] looks.
const GAIN_RANK: usize = 10;

/// One value per entry of [`METRICS`].
pub type Scores = [f64; METRICS.len()];

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recall(k) => write!(f, "R@{k}"),
            Self::Hit(k) => write!(f, "Hit@{k}"),
            Self::All(k) => write!(f, "All@{k}"),
            Self::ReciprocalRank => f.write_str("MRR"),
            Self::Gain => write!(f, "nDCG@{GAIN_RANK}"),
            Self::Within(index) => write!(f, "R@{}tok", BUDGETS[*index]),
        }
    }
}

impl serde::Serialize for Metric {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The figures of one query.
///
/// - `needs`: one entry for each needed tool, the ids that will do; at least one
/// - `found`: ids, best first; what follows a first mention of an id does not count
/// - `fitting`: how many of `found` fit each of [`BUDGETS`]
pub(super) fn score(needs: &[Vec<&str>], found: &[String], fitting: &[usize; BUDGETS.len()]) -> Scores {
    let ranks = Ranks::new(needs, found);
    METRICS.map(|metric| match metric {
        Metric::Recall(k) => ranks.share_within(k),
        Metric::Hit(k) => indicator(ranks.met_within(k) > 0),
        Metric::All(k) => indicator(ranks.met_within(k) == ranks.of_needs.len()),
        Metric::ReciprocalRank => ranks.best().map_or(0.0, |rank| 1.0 / as_float(rank)),
        Metric::Gain => ranks.gain(),
        Metric::Within(index) => ranks.share_within(fitting[index]),
    })
}

/// The rank at which each needed tool first comes, from 1.
struct Ranks {
    of_needs: Vec<Option<usize>>,
}

impl Ranks {
    fn new(needs: &[Vec<&str>], found: &[String]) -> Self {
        let mut rank_of = HashMap::new();
        for (index, id) in found.iter().take(CUTOFF).enumerate() {
            rank_of.entry(id.as_str()).or_insert(index + 1);
        }
        let first = |group: &Vec<&str>| group.iter().filter_map(|id| rank_of.get(id)).min().copied();
        Self { of_needs: needs.iter().map(first).collect() }
    }

    fn met_within(&self, rank: usize) -> usize {
        self.of_needs.iter().flatten().filter(|found| **found <= rank).count()
    }

    fn share_within(&self, rank: usize) -> f64 {
        as_float(self.met_within(rank)) / as_float(self.of_needs.len())
    }

    fn best(&self) -> Option<usize> {
        self.of_needs.iter().flatten().min().copied()
    }

    fn gain(&self) -> f64 {
        let discount = |rank: usize| 1.0 / as_float(rank + 1).log2();
        let mut ranks: Vec<_> = self.of_needs.iter().flatten().copied().filter(|rank| *rank <= GAIN_RANK).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let best: f64 = (1..=self.of_needs.len().min(GAIN_RANK)).map(discount).sum();
        ranks.into_iter().map(discount).sum::<f64>() / best
    }
}

fn indicator(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "ranks and counts of tools are small")]
fn as_float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(needs: &[&[&str]], found: &[&str], fitting: [usize; 3]) -> impl Fn(Metric) -> f64 {
        let needs: Vec<_> = needs.iter().map(|group| group.to_vec()).collect();
        let found: Vec<_> = found.iter().map(|id| (*id).to_owned()).collect();
        let scores = score(&needs, &found, &fitting);
        move |metric| scores[METRICS.iter().position(|of| *of == metric).unwrap()]
    }

    #[track_caller]
    fn close(left: f64, right: f64) {
        assert!((left - right).abs() < 1e-12, "{left} is not {right}");
    }

    #[test]
    fn figures_of_one_needed_tool() {
        let value = of(&[&["a"]], &["x", "y", "a"], [0, 3, 3]);
        close(value(Metric::Recall(1)), 0.0);
        close(value(Metric::Recall(3)), 1.0);
        close(value(Metric::Hit(1)), 0.0);
        close(value(Metric::All(3)), 1.0);
        close(value(Metric::ReciprocalRank), 1.0 / 3.0);
        close(value(Metric::Gain), 0.5); // 1 / log2(4), the best would be 1 / log2(2)
        close(value(Metric::Within(0)), 0.0);
        close(value(Metric::Within(1)), 1.0);
    }

    #[test]
    fn figures_of_three_needed_tools_of_which_one_is_missing() {
        let value = of(&[&["a"], &["b"], &["c"]], &["b", "x", "y", "a"], [1, 3, 4]);
        close(value(Metric::Recall(1)), 1.0 / 3.0);
        close(value(Metric::Recall(3)), 1.0 / 3.0);
        close(value(Metric::Recall(5)), 2.0 / 3.0);
        close(value(Metric::Hit(1)), 1.0);
        close(value(Metric::All(8)), 0.0);
        close(value(Metric::ReciprocalRank), 1.0);
        let best = 1.0 + 1.0 / 3f64.log2() + 0.5;
        close(value(Metric::Gain), (1.0 + 1.0 / 5f64.log2()) / best);
        close(value(Metric::Within(0)), 1.0 / 3.0);
        close(value(Metric::Within(2)), 2.0 / 3.0);
    }

    #[test]
    fn any_tool_of_a_group_will_do_and_the_first_counts() {
        let value = of(&[&["a", "b"], &["b", "c"]], &["x", "b", "a", "c"], [4, 4, 4]);
        close(value(Metric::All(3)), 1.0);
        close(value(Metric::ReciprocalRank), 0.5);
        // Both needs are met by the second result, which counts once.
        close(value(Metric::Gain), (1.0 / 3f64.log2()) / (1.0 + 1.0 / 3f64.log2()));
    }

    #[test]
    fn a_repeated_id_counts_where_it_first_comes_and_none_beyond_the_cutoff() {
        close(of(&[&["a"]], &["a", "a"], [0; 3])(Metric::ReciprocalRank), 1.0);
        let mut found = vec!["x"; CUTOFF];
        found[CUTOFF - 1] = "a";
        close(of(&[&["a"]], &found, [0; 3])(Metric::ReciprocalRank), 0.01);
        found.insert(0, "y");
        close(of(&[&["a"]], &found, [0; 3])(Metric::ReciprocalRank), 0.0);
    }

    #[test]
    fn more_than_ten_needed_tools_can_all_be_found() {
        let ids: Vec<_> = (0..12).map(|id| id.to_string()).collect();
        let needs: Vec<_> = ids.iter().map(|id| vec![id.as_str()]).collect();
        let scores = score(&needs, &ids, &[12; 3]);
        close(scores[13], 1.0);
        close(scores[3], 8.0 / 12.0);
    }

    proptest! {
        #[test]
        fn figures_are_shares_that_grow_with_the_rank(
            needs in prop::collection::vec(prop::collection::vec(0u8..20, 1..4), 1..6),
            found in prop::collection::vec(0u8..20, 0..30),
        ) {
            let names: Vec<_> = (0..20).map(|id| id.to_string()).collect();
            let needs: Vec<Vec<&str>> =
                needs.iter().map(|group| group.iter().map(|id| names[usize::from(*id)].as_str()).collect()).collect();
            let found: Vec<_> = found.iter().map(|id| names[usize::from(*id)].clone()).collect();
            let scores = score(&needs, &found, &[1, 3, 8]);
            prop_assert!(scores.iter().all(|value| (0.0..=1.0 + 1e-12).contains(value)), "{scores:?}");
            for grows in [0..4, 4..8, 8..12, 14..17] {
                prop_assert!(scores[grows].windows(2).all(|pair| pair[0] <= pair[1]), "{scores:?}");
            }
            for k in 0..4 {
                // All of them is no more than a share of them, which is no more than any of them.
                prop_assert!(scores[8 + k] <= scores[k] && scores[k] <= scores[4 + k], "{scores:?}");
            }
        }
    }
}
