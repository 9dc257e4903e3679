//! Adds up the reciprocal ranks of each tool by words and by meaning.
//!
//! Scores do not count, so it needs no scale; the gap between a clear hit and the next one is lost with them.

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, ConfigProblem, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, Texts,
    dense_share, reciprocal_ranks,
};

/// Best hits of each arm that count.
const POOL: u32 = 100;

/// Reciprocal rank fusion over one search for the whole request.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ReciprocalRanks {
    /// A rank is worth `1 / (k + rank)`: larger flattens the weight of the top ranks.
    #[schemars(range(min = 0.0, max = 10_000.0))]
    k: f64,
}

impl Default for ReciprocalRanks {
    fn default() -> Self {
        Self { k: 60.0 }
    }
}

impl RankingStrategy for ReciprocalRanks {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        let subquery = Subquery::new(0, query.terms(), &query.text, POOL);
        Ok(Plan::new([subquery]).reading(Texts::for_reasons(query)))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        // The ratio as it is: equal weights are what the method is known for.
        let dense = dense_share(query, findings, 0.5);
        let mut fusion = Fusion::new(findings);
        for (weight, arm) in [(1.0 - dense, Arm::Lexical), (dense, Arm::Dense)] {
            fusion.add(weight, &reciprocal_ranks(&findings.ranks(0, arm), self.k));
        }
        Ok(fusion.into_ranked(query))
    }

    fn check(&self) -> Vec<ConfigProblem> {
        if (0.0..=10_000.0).contains(&self.k) {
            return Vec::new();
        }
        vec![ConfigProblem::new("/k", "must be 0 to 10000")]
    }
}

vmcp_sdk::register_ranking_strategy!(ReciprocalRanks);

#[cfg(test)]
mod tests {
    use vmcp_sdk::ranking::{Candidate, Hit};

    use super::*;

    /// A candidate with a rank by words and one by meaning; 0 is none.
    fn candidate(id: u32, name: &str, lexical: u32, dense: u32) -> Candidate {
        let hit = |arm, rank| Hit { subquery: 0, arm, score: 0.5, rank };
        let hits = [hit(Arm::Lexical, lexical), hit(Arm::Dense, dense)];
        let hits: Vec<Hit> = hits.into_iter().filter(|hit| hit.rank > 0).collect();
        Candidate::new(id, "backend", name, &hits)
    }

    #[test]
    fn ranks_add_up_by_the_ratio() {
        let check = |k: f64, ratio: f64, dense: bool, expected: &[u32]| {
            let candidates = vec![
                candidate(0, "meaning", 0, 1),
                candidate(1, "both", 3, 3),
                candidate(2, "words", 1, 0),
                candidate(3, "alike", 1, 0),
            ];
            let query = Query { semantic_ratio: ratio, ..Query::new("x") };
            let ranked = ReciprocalRanks { k }.rank(&query, &Findings { candidates, dense }).unwrap();
            assert_eq!(ranked.iter().map(|ranked| ranked.id).collect::<Vec<_>>(), expected, "{k} {ratio}");
        };
        check(60.0, 0.5, true, &[1, 3, 0, 2]);
        check(0.0, 0.5, true, &[3, 0, 2, 1]);
        check(60.0, 0.0, true, &[3, 2, 1, 0]);
        check(60.0, 1.0, true, &[0, 1, 3, 2]);
        check(60.0, 0.5, false, &[3, 2, 1, 0]);
    }

    #[test]
    fn k_is_no_negative_number() {
        let check = |k: f64, problems: usize| assert_eq!(ReciprocalRanks { k }.check().len(), problems, "{k}");
        check(0.0, 0);
        check(60.0, 0);
        check(-1.0, 1);
        check(f64::NAN, 1);
    }
}
