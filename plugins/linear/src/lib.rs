//! Adds up what words and meaning say of each tool, both stretched to the same scale.
//!
//! Relative score fusion: each arm's list is rescaled between its best score and the last one of its pool, and the two are
//! added with a weight each. No parts, no memory, no config: what the host falls back on when another ranking fails.

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, Texts, dense_share, min_max,
};

/// Best hits of each arm that count.
const POOL: u32 = 100;
/// Weight of meaning that finds best on the development data; the host's default ratio of 0.5 stands for it.
const BEST_DENSE_SHARE: f64 = 0.4;

/// One search for the whole request. There is nothing to configure but the host's `hybridSearchSemanticRatio`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Linear {}

impl RankingStrategy for Linear {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        let subquery = Subquery::new(0, query.terms(), &query.text, POOL);
        Ok(Plan::new([subquery]).reading(Texts::for_reasons(query)))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        let dense = dense_share(query, findings, BEST_DENSE_SHARE);
        let mut fusion = Fusion::new(findings);
        for (weight, arm) in [(1.0 - dense, Arm::Lexical), (dense, Arm::Dense)] {
            fusion.add(weight, &min_max(&findings.list(arm, |_| true), POOL as usize));
        }
        Ok(fusion.into_ranked(query))
    }
}

vmcp_sdk::register_ranking_strategy!(Linear);

#[cfg(test)]
mod tests {
    use vmcp_sdk::ranking::{Candidate, Hit};

    use super::*;

    #[test]
    fn one_search_asks_both_arms_for_the_whole_request() {
        let query = Query { keywords: vec!["github".into()], ..Query::new("Find the issues of a user") };
        let plan = Linear {}.plan(&query).unwrap();
        let [subquery] = plan.subqueries.try_into().unwrap();
        let terms: Vec<String> = subquery.lexical.unwrap().terms.into_iter().map(|term| term.text).collect();
        assert_eq!(terms, ["Find", "issues", "user", "github"]);
        assert_eq!(subquery.dense.unwrap().text, "Find the issues of a user");
    }

    /// By words `words` is best and `both` second; by meaning `meaning` is best and `both` second.
    fn findings(dense: bool) -> Findings {
        let lexical = |score, rank| Hit { subquery: 0, arm: Arm::Lexical, score, rank };
        let dense_hit = |score, rank| Hit { subquery: 0, arm: Arm::Dense, score, rank };
        let mut candidates = vec![
            Candidate::new(0, "a", "meaning", &[dense_hit(0.9, 1)]),
            Candidate::new(1, "a", "both", &[lexical(8.0, 2), dense_hit(0.7, 2)]),
            Candidate::new(2, "a", "words", &[lexical(10.0, 1), dense_hit(0.1, 3)]),
        ];
        if !dense {
            for candidate in &mut candidates {
                candidate.hits.retain(|hit| hit.arm == Arm::Lexical);
            }
        }
        Findings { candidates, dense }
    }

    #[test]
    fn the_ratio_moves_the_order_from_words_to_meaning() {
        let check = |ratio: f64, dense: bool, expected: &[u32]| {
            let query = Query { semantic_ratio: ratio, ..Query::new("x") };
            let ranked = Linear {}.rank(&query, &findings(dense)).unwrap();
            assert_eq!(ranked.iter().map(|ranked| ranked.id).collect::<Vec<_>>(), expected, "{ratio} {dense}");
        };
        check(0.0, true, &[2, 1, 0]);
        check(0.5, true, &[1, 2, 0]);
        check(1.0, true, &[0, 1, 2]);
        check(0.5, false, &[2, 1, 0]);
    }

    #[test]
    fn nothing_found_is_an_empty_answer() {
        assert_eq!(Linear {}.rank(&Query::new("x"), &Findings::default()).unwrap(), []);
        assert_eq!(Linear {}.plan(&Query::new("")).unwrap().subqueries[0].lexical, None);
    }
}
