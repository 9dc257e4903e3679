//! Adds up what words and meaning say of each tool, for the whole request and for each part of it.
//!
//! A request that asks for several things is far from each of the tools that it needs. So every clause is a search of its
//! own, and beside the whole request the clause counts that suits a tool best. Each list is brought to standard scores first,
//! so that a list with a clear winner says more than one where all are alike.

mod addresses;

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, ConfigProblem, Findings, Fusion, Plan, Query, Ranked, RankingError, RankingStrategy, Subquery, Term, Texts,
    clauses, dense_share, standard_scores,
};

/// The subquery of the whole request; those of the clauses follow.
const WHOLE: u32 = 0;
/// Best hits of each arm for the whole request.
const WHOLE_POOL: u32 = 60;
/// The same for all clauses together, and for one of them at least and at most.
const CLAUSES_POOL: u32 = 100;
const MIN_CLAUSE_POOL: u32 = 10;
const MAX_CLAUSE_POOL: u32 = 50;
/// Weight of meaning that finds best on the development data, which is the host's default ratio.
const BEST_DENSE_SHARE: f64 = 0.5;

/// A search for the whole request and one for each clause.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ClauseBlend {
    /// Weight of the best clause against the whole request, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    clause_share: f64,
    /// Clauses that a request must have for them to count; below that the whole request alone does.
    #[schemars(range(min = 1, max = 12))]
    min_clauses: usize,
}

impl Default for ClauseBlend {
    fn default() -> Self {
        Self { clause_share: 0.5, min_clauses: 1 }
    }
}

impl RankingStrategy for ClauseBlend {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        let query = Query { text: addresses::in_words(&query.text), ..query.clone() };
        let whole = Subquery::new(WHOLE, query.terms(), &query.text, WHOLE_POOL);
        let clauses = self.clauses(&query.text);
        let pool = clause_pool(clauses.len());
        let of_clauses =
            clauses.into_iter().zip(WHOLE + 1..).map(|(clause, id)| Subquery::new(id, Term::of(clause), clause, pool));
        Ok(Plan::new(std::iter::once(whole).chain(of_clauses)).reading(Texts::for_reasons(&query)))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        let clauses = self.clauses(&addresses::in_words(&query.text)).len();
        let clause_share = if clauses == 0 { 0.0 } else { self.clause_share };
        let dense = dense_share(query, findings, BEST_DENSE_SHARE);
        let mut fusion = Fusion::new(findings);
        for (weight, arm) in [(1.0 - dense, Arm::Lexical), (dense, Arm::Dense)] {
            fusion.add(weight * (1.0 - clause_share), &list(findings, arm, WHOLE, WHOLE_POOL));
            let best_clause = (WHOLE + 1..)
                .take(clauses)
                .map(|clause| list(findings, arm, clause, clause_pool(clauses)))
                .reduce(|best, other| best.iter().zip(&other).map(|(a, b)| a.max(*b)).collect());
            if let Some(best_clause) = best_clause {
                fusion.add(weight * clause_share, &best_clause);
            }
        }
        Ok(fusion.into_ranked(query))
    }

    fn check(&self) -> Vec<ConfigProblem> {
        let mut problems = Vec::new();
        if !(0.0..=1.0).contains(&self.clause_share) {
            problems.push(ConfigProblem::new("/clauseShare", "must be 0 to 1"));
        }
        if !(1..=12).contains(&self.min_clauses) {
            problems.push(ConfigProblem::new("/minClauses", "must be 1 to 12"));
        }
        problems
    }
}

impl ClauseBlend {
    /// The clauses that are searched for: none if there are too few, or if the only one is the whole request.
    fn clauses<'a>(&self, text: &'a str) -> Vec<&'a str> {
        let clauses = clauses(text);
        let is_whole = |clause: &str| Term::of(clause) == Term::of(text);
        match clauses.as_slice() {
            [only] if is_whole(only) => Vec::new(),
            _ if clauses.len() < self.min_clauses || self.clause_share == 0.0 => Vec::new(),
            _ => clauses,
        }
    }
}

vmcp_sdk::register_ranking_strategy!(ClauseBlend);

/// Best hits of each arm for each of `clauses`: the more there are, the fewer each needs.
fn clause_pool(clauses: usize) -> u32 {
    let clauses = u32::try_from(clauses).unwrap_or(u32::MAX).max(1);
    (CLAUSES_POOL / clauses).clamp(MIN_CLAUSE_POOL, MAX_CLAUSE_POOL)
}

/// Standard scores of one list.
fn list(findings: &Findings, arm: Arm, subquery: u32, pool: u32) -> Vec<f64> {
    let pool = pool as usize;
    // Every tool has a place by meaning, so where there are fewer candidates than places there are no more tools.
    let pool = if findings.dense { pool.min(findings.candidates.len()) } else { pool };
    standard_scores(&findings.list(arm, |id| id == subquery), pool)
}

#[cfg(test)]
mod tests;
