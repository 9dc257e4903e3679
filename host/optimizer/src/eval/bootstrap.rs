//! How far a mean over queries can be trusted.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::Serialize;

/// Samples that an interval comes from.
pub const SAMPLES: usize = 1_000;

/// Equal figures get equal intervals, run after run.
const SEED: u64 = 0;

/// A mean, and where 95 % of the means of like queries lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// The mean of the sets' means for each metric, with a 95 % percentile bootstrap: each of [`SAMPLES`] samples draws as many
/// queries from each set as it has, with replacement, and takes the mean of the sets' means.
///
/// - `sets`: the values of each query; no set is empty. One set gives the usual mean
///
/// Source: Efron and Tibshirani, *An Introduction to the Bootstrap*, chapter 13; percentiles without interpolation.
pub(super) fn estimates<const N: usize>(sets: &[Vec<[f64; N]>]) -> [Estimate; N] {
    let mut random = StdRng::seed_from_u64(SEED);
    let samples: Vec<[f64; N]> = (0..SAMPLES)
        .map(|_| {
            let mut resampled =
                |queries: &[[f64; N]]| mean(queries.len(), |_| queries[random.random_range(0..queries.len())]);
            mean(sets.len(), |set| resampled(&sets[set]))
        })
        .collect();
    let means = mean(sets.len(), |set| mean(sets[set].len(), |query| sets[set][query]));
    std::array::from_fn(|metric| {
        let mut sampled: Vec<_> = samples.iter().map(|means| means[metric]).collect();
        sampled.sort_by(f64::total_cmp);
        Estimate { mean: means[metric], low: sampled[SAMPLES * 25 / 1000], high: sampled[SAMPLES * 975 / 1000] }
    })
}

/// The mean of `count` rows, at least one.
fn mean<const N: usize>(count: usize, mut row: impl FnMut(usize) -> [f64; N]) -> [f64; N] {
    let mut sums = [0.0; N];
    for index in 0..count {
        for (sum, value) in sums.iter_mut().zip(row(index)) {
            *sum += value;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of queries")]
    sums.map(|sum| sum / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(sets: &[Vec<f64>]) -> Estimate {
        let sets: Vec<Vec<_>> = sets.iter().map(|values| values.iter().map(|value| [*value]).collect()).collect();
        estimates(&sets)[0]
    }

    #[test]
    fn equal_values_leave_no_doubt() {
        assert_eq!(estimate(&[vec![0.25; 40]]), Estimate { mean: 0.25, low: 0.25, high: 0.25 });
    }

    #[test]
    fn the_interval_is_that_of_a_coin() {
        // 400 throws: the standard error is .025, and 1.96 of them lie on each side.
        let throws: Vec<_> = (0..400).map(|index| f64::from(index % 2)).collect();
        let Estimate { mean, low, high } = estimate(&[throws]);
        assert!((mean - 0.5).abs() < 1e-12);
        assert!((low - 0.451).abs() < 0.008 && (high - 0.549).abs() < 0.008, "{low} {high}");
    }

    #[test]
    fn sets_weigh_the_same_however_many_queries_they_have() {
        let estimate = estimate(&[vec![1.0; 10], vec![0.0; 1_000]]);
        assert_eq!(estimate, Estimate { mean: 0.5, low: 0.5, high: 0.5 });
    }

    #[test]
    fn results_repeat() {
        let values: Vec<_> = (0..50).map(f64::from).collect();
        assert_eq!(estimate(std::slice::from_ref(&values)), estimate(&[values]));
    }

    #[test]
    fn each_metric_is_estimated_for_itself() {
        let [first, second] = estimates(&[vec![[1.0, 0.0], [1.0, 0.5]]]);
        assert_eq!((first.mean, first.low, second.mean), (1.0, 1.0, 0.25));
    }
}
