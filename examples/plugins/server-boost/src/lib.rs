//! Lifts or lowers the tools of chosen servers in every search.
//!
//! Words and meaning are added up as the built-in `linear` does; then each tool's score is multiplied by the factor of its
//! server. A tool that nothing was found of stays where it is: a factor makes no hit.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, ConfigProblem, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, Texts,
    dense_share, min_max,
};

/// Best hits of each arm that count.
const POOL: u32 = 100;
/// Weight of meaning at the host's default ratio of 0.5.
const DENSE_SHARE: f64 = 0.4;
/// Factors beyond this would decide alone.
const MAX_FACTOR: f64 = 100.0;

/// Relative score fusion with a factor per server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ServerBoost {
    /// Factors by the server's name in the configuration, e.g. `{ github: 1.5 }`; 1 for the others.
    boost: BTreeMap<String, f64>,
}

impl RankingStrategy for ServerBoost {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        let subquery = Subquery::new(0, query.terms(), &query.text, POOL);
        Ok(Plan::new([subquery]).reading(Texts { backend: true, ..Texts::for_reasons(query) }))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        let dense = dense_share(query, findings, DENSE_SHARE);
        let mut fusion = Fusion::new(findings);
        for (weight, arm) in [(1.0 - dense, Arm::Lexical), (dense, Arm::Dense)] {
            fusion.add(weight, &min_max(&findings.list(arm, |_| true), POOL as usize));
        }
        fusion.scale(|candidate| self.boost.get(&candidate.backend).copied().unwrap_or(1.0));
        Ok(fusion.into_ranked(query))
    }

    fn check(&self) -> Vec<ConfigProblem> {
        let bad = self.boost.iter().filter(|(_, factor)| !(0.0..=MAX_FACTOR).contains(*factor));
        let problem = |(server, _): (&String, &f64)| {
            let key = server.replace('~', "~0").replace('/', "~1");
            ConfigProblem::new(format!("/boost/{key}"), format!("must be 0 to {MAX_FACTOR}"))
        };
        bad.map(problem).collect()
    }
}

vmcp_sdk::register_ranking_strategy!(ServerBoost);

#[cfg(test)]
mod tests {
    use vmcp_sdk::ranking::{Candidate, Hit};

    use super::*;

    #[test]
    fn a_server_s_tools_rise_by_its_factor() {
        let hit = |score, rank| [Hit { subquery: 0, arm: Arm::Lexical, score, rank }];
        let candidates = vec![
            Candidate::new(0, "jira", "search", &hit(10.0, 1)),
            Candidate::new(1, "github", "search_issues", &hit(8.0, 2)),
            Candidate::new(2, "github", "star", &[]),
        ];
        let findings = Findings { candidates, dense: false };
        let check = |boost: &[(&str, f64)], expected: &[u32]| {
            let boost = boost.iter().map(|(server, factor)| ((*server).into(), *factor)).collect();
            let ranked = ServerBoost { boost }.rank(&Query::new("search"), &findings).unwrap();
            assert_eq!(ranked.iter().map(|ranked| ranked.id).collect::<Vec<_>>(), expected);
        };
        check(&[], &[0, 1, 2]);
        check(&[("github", 1.5)], &[1, 0, 2]);
        check(&[("github", 1.2)], &[0, 1, 2]);
        check(&[("jira", 0.5), ("gitlab", 9.0)], &[1, 0, 2]);
    }

    #[test]
    fn factors_are_numbers_from_0_to_100() {
        let check = |factor: f64, expected: &[&str]| {
            let boost = BTreeMap::from([("a/b".to_owned(), factor)]);
            let problems: Vec<String> = ServerBoost { boost }.check().into_iter().map(|one| one.pointer).collect();
            assert_eq!(problems, expected);
        };
        check(1.5, &[]);
        check(-1.0, &["/boost/a~1b"]);
        check(f64::INFINITY, &["/boost/a~1b"]);
    }
}
