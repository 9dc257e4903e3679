//! What a ranking achieved on a set, alone and beside another.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    bootstrap::{Estimate, estimates},
    budget::Meter,
    golden::GoldenQuery,
    metric::{METRICS, Metric, Scores, score},
};

/// What one ranking with one embedding provider found for the queries of one set.
#[derive(Clone, Debug)]
pub struct Run {
    pub set: String,
    pub ranking: String,
    pub embedding: String,
    /// Ids by query, in the order of the set.
    found: Vec<(String, Vec<String>)>,
    scores: Vec<Scores>,
    latencies: Vec<Duration>,
}

impl Run {
    pub fn new(set: &str, ranking: &str, embedding: &str) -> Self {
        Self {
            set: set.to_owned(),
            ranking: ranking.to_owned(),
            embedding: embedding.to_owned(),
            found: Vec::new(),
            scores: Vec::new(),
            latencies: Vec::new(),
        }
    }

    /// Takes in what a query found: ids, best first.
    pub fn add(&mut self, query: &GoldenQuery, found: Vec<String>, latency: Duration, meter: &Meter) {
        self.scores.push(score(&query.needs(), &found, &meter.fitting(&found)));
        self.found.push((query.id.clone(), found));
        self.latencies.push(latency);
    }

    /// Ids by query, best first: the file that `--run-out` writes.
    pub fn found(&self) -> BTreeMap<&str, &[String]> {
        self.found.iter().map(|(query, found)| (query.as_str(), found.as_slice())).collect()
    }
}

/// A metric and what it came to.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    pub metric: Metric,
    #[serde(flatten)]
    pub estimate: Estimate,
}

fn figures(sets: &[Vec<Scores>]) -> Vec<Figure> {
    let estimated = METRICS.into_iter().zip(estimates(sets));
    estimated.map(|(metric, estimate)| Figure { metric, estimate }).collect()
}

/// Time of one query, from the search's begin to its answer.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    pub p50_millis: f64,
    pub p99_millis: f64,
}

impl Latency {
    /// Of the nearest rank; zeros of nothing.
    fn of(mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        let nearest = |percent: usize| {
            let rank = (latencies.len() * percent).div_ceil(100).saturating_sub(1);
            latencies.get(rank).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Self { p50_millis: nearest(50), p99_millis: nearest(99) }
    }
}

/// A row of the table: one run, or the mean of several, in which each set weighs the same.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    pub set: String,
    pub ranking: String,
    pub embedding: String,
    pub queries: usize,
    pub figures: Vec<Figure>,
    pub latency: Latency,
}

impl Summary {
    /// Of `runs` of one ranking, at least one and none without queries. One run gives its own row, several the row `name`.
    pub fn of(runs: &[&Run], name: &str) -> Self {
        let sets: Vec<_> = runs.iter().map(|run| run.scores.clone()).collect();
        Self {
            set: if runs.len() == 1 { runs[0].set.clone() } else { name.to_owned() },
            ranking: runs[0].ranking.clone(),
            embedding: runs[0].embedding.clone(),
            queries: runs.iter().map(|run| run.scores.len()).sum(),
            figures: figures(&sets),
            latency: Latency::of(runs.iter().flat_map(|run| run.latencies.iter().copied()).collect()),
        }
    }

    /// The estimate of `metric`.
    pub fn figure(&self, metric: Metric) -> Option<Estimate> {
        self.figures.iter().find(|figure| figure.metric == metric).map(|figure| figure.estimate)
    }
}

/// How much better `b` is than `a`, query by query.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    pub set: String,
    pub embedding: String,
    pub a: String,
    pub b: String,
    /// Differences: above 0 where `b` is better. An interval without 0 says that the queries are enough to tell.
    pub figures: Vec<Figure>,
}

impl Comparison {
    /// Of the runs of two rankings on the same sets in the same order, at least one; several give the row `name`.
    pub fn of(a: &[&Run], b: &[&Run], name: &str) -> Self {
        let difference = |(a, b): (&Scores, &Scores)| std::array::from_fn(|metric| b[metric] - a[metric]);
        let sets = a.iter().zip(b).map(|(a, b)| a.scores.iter().zip(&b.scores).map(difference).collect());
        let sets: Vec<Vec<Scores>> = sets.collect();
        Self {
            set: if a.len() == 1 { a[0].set.clone() } else { name.to_owned() },
            embedding: b[0].embedding.clone(),
            a: a[0].ranking.clone(),
            b: b[0].ranking.clone(),
            figures: figures(&sets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ranking: &str, set: &str, found: &[&[&str]]) -> Run {
        let mut run = Run::new(set, ranking, "none");
        let meter = Meter { fixed: 0, tools: std::collections::HashMap::new() };
        for (index, ids) in found.iter().enumerate() {
            let query = GoldenQuery {
                id: index.to_string(),
                query: "x".into(),
                gold: vec!["a".into()],
                groups: Vec::new(),
                source: None,
                keywords: Vec::new(),
            };
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            run.add(&query, ids, Duration::from_millis(index as u64 + 1), &meter);
        }
        run
    }

    fn mean(figures: &[Figure], metric: Metric) -> f64 {
        figures.iter().find(|figure| figure.metric == metric).unwrap().estimate.mean
    }

    #[test]
    fn one_run_is_summed_up_by_its_means() {
        let run = run("linear", "set", &[&["a"], &["x", "a"], &[], &["x"]]);
        let summary = Summary::of(&[&run], "mean");
        assert_eq!((summary.set.as_str(), summary.queries), ("set", 4));
        assert!((mean(&summary.figures, Metric::Recall(1)) - 0.25).abs() < 1e-12);
        assert!((mean(&summary.figures, Metric::Recall(3)) - 0.5).abs() < 1e-12);
        assert!((mean(&summary.figures, Metric::ReciprocalRank) - 0.375).abs() < 1e-12);
        assert!((summary.latency.p50_millis - 2.0).abs() < 1e-9 && (summary.latency.p99_millis - 4.0).abs() < 1e-9);
    }

    #[test]
    fn several_runs_weigh_the_same() {
        let (small, large) = (run("r", "small", &[&["a"]]), run("r", "large", &[&["x"], &["x"], &["x"]]));
        let summary = Summary::of(&[&small, &large], "mean");
        assert_eq!((summary.set.as_str(), summary.queries), ("mean", 4));
        assert!((mean(&summary.figures, Metric::Recall(8)) - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_difference_is_taken_query_by_query() {
        let a = run("a", "set", &[&["a"], &["x"], &["x"], &["a"]]);
        let b = run("b", "set", &[&["a"], &["a"], &["a"], &["x"]]);
        let comparison = Comparison::of(&[&a], &[&b], "mean");
        assert!((mean(&comparison.figures, Metric::Recall(1)) - 0.25).abs() < 1e-12);
        let same = Comparison::of(&[&a], &[&a], "mean");
        assert!(same.figures.iter().all(|figure| figure.estimate == Estimate { mean: 0.0, low: 0.0, high: 0.0 }));
    }

    #[test]
    fn what_was_found_is_told_by_query() {
        let run = run("r", "set", &[&["a", "b"], &[]]);
        let expected = serde_json::json!({ "0": ["a", "b"], "1": [] });
        assert_eq!(serde_json::to_value(run.found()).unwrap(), expected);
    }
}
