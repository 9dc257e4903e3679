//! Answers as ToolHive does: what is found by meaning first, then what is found by words.
//!
//! For those who come from there, and for comparing. Documents are name and description as they are; each arm has a share of
//! the answer, and what one does not use the other does not get, so tools found by both make the answer shorter.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::ranking::{
    Arm, Candidate, DenseQuery, DocumentForm, Findings, LexicalQuery, Plan, Query, Ranked, RankingError,
    RankingStrategy, Subquery, Term, Texts, distinct, why,
};

/// Words that nearly every tool has, sorted; they are not searched for.
const NOISE: [&str; 23] = [
    "column",
    "content",
    "data",
    "description",
    "field",
    "id",
    "index",
    "input",
    "key",
    "meta",
    "name",
    "output",
    "primary",
    "properties",
    "required",
    "schema",
    "server",
    "table",
    "text",
    "title",
    "tool",
    "type",
    "value",
];

/// Subqueries.
const BY_MEANING: u32 = 0;
const BY_WORDS: u32 = 1;

/// There is nothing to configure but the host's own keys.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Toolhive {}

impl RankingStrategy for Toolhive {
    fn plan(&self, query: &Query) -> Result<Plan, RankingError> {
        let shares = Shares::of(query);
        let dense = (shares.meaning > 0).then(|| Subquery {
            id: BY_MEANING,
            lexical: None,
            dense: Some(DenseQuery { form: DocumentForm::Reference, ..DenseQuery::new(&query.text) }),
            pool: pool(shares.meaning),
        });
        let terms = terms(query);
        let lexical = (shares.words > 0 && !terms.is_empty()).then(|| Subquery {
            id: BY_WORDS,
            lexical: Some(LexicalQuery { form: DocumentForm::Reference, ..LexicalQuery::new(terms) }),
            dense: None,
            // Without meaning, words fill the whole answer.
            pool: pool(query.limit),
        });
        Ok(Plan::new(dense.into_iter().chain(lexical)).reading(Texts::for_reasons(query)))
    }

    fn rank(&self, query: &Query, findings: &Findings) -> Result<Vec<Ranked>, RankingError> {
        let shares = Shares::of(query);
        let by_words = if findings.dense { shares.words } else { query.limit };
        let found = best(findings, BY_MEANING, Arm::Dense, shares.meaning).into_iter().chain(best(
            findings,
            BY_WORDS,
            Arm::Lexical,
            by_words,
        ));
        let mut seen = HashSet::new();
        let answer: Vec<(&Candidate, f64)> =
            found.filter(|(candidate, _)| seen.insert(candidate.id)).take(query.limit).collect();
        let reasons = why(query, answer.iter().map(|(candidate, _)| *candidate));
        let ranked = answer.iter().zip(reasons);
        Ok(ranked.map(|((candidate, score), why)| Ranked { id: candidate.id, score: *score, why }).collect())
    }
}

vmcp_sdk::register_ranking_strategy!(Toolhive);

/// Tools that each arm may give.
struct Shares {
    meaning: usize,
    words: usize,
}

impl Shares {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits are small, ratios 0 to 1"
    )]
    fn of(query: &Query) -> Self {
        let meaning = (query.limit as f64 * query.semantic_ratio.clamp(0.0, 1.0)).round() as usize;
        Self { meaning, words: query.limit - meaning }
    }
}

/// What is searched for by words: the keywords, or the text if they say nothing. Split at white space only.
fn terms(query: &Query) -> Vec<Term> {
    let telling = |text: &str| {
        let telling = |word: &&str| NOISE.binary_search(&word.to_lowercase().as_str()).is_err();
        let words = text.split_whitespace().filter(telling).collect();
        distinct(words).into_iter().map(Term::new).collect::<Vec<_>>()
    };
    let keywords = telling(&query.keywords.join(" "));
    if keywords.is_empty() { telling(&query.text) } else { keywords }
}

/// The first `count` candidates of one list, with their scores.
fn best(findings: &Findings, subquery: u32, arm: Arm, count: usize) -> Vec<(&Candidate, f64)> {
    let hits = findings.candidates.iter().filter_map(|candidate| Some((candidate, candidate.hit(subquery, arm)?)));
    let mut hits: Vec<_> = hits.collect();
    hits.sort_by(|(one, a), (other, b)| a.rank.cmp(&b.rank).then_with(|| one.name.cmp(&other.name)));
    hits.into_iter().take(count).map(|(candidate, hit)| (candidate, hit.score)).collect()
}

fn pool(hits: usize) -> u32 {
    u32::try_from(hits).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use vmcp_sdk::ranking::Hit;

    use super::*;

    #[test]
    fn keywords_go_before_the_text_and_noise_is_dropped() {
        let check = |text: &str, keywords: &[&str], expected: &[&str]| {
            let keywords = keywords.iter().map(|keyword| (*keyword).into()).collect();
            let terms = terms(&Query { keywords, ..Query::new(text) });
            assert_eq!(terms.iter().map(|term| term.text.as_str()).collect::<Vec<_>>(), expected);
        };
        check("Find the Schema of a table, find it", &[], &["Find", "the", "of", "a", "table,", "it"]);
        check("find", &["create issue", "Issue"], &["create", "issue"]);
        check("find", &["TOOL", "id"], &["find"]);
        check("tool", &[], &[]);
        assert!(NOISE.is_sorted());
    }

    #[test]
    fn the_ratio_splits_the_answer() {
        let check = |limit: usize, ratio: f64, expected: &[(u32, bool, u32)]| {
            let query = Query { limit, semantic_ratio: ratio, ..Query::new("find issues") };
            let plan = Toolhive {}.plan(&query).unwrap();
            let found: Vec<_> = plan.subqueries.iter().map(|one| (one.id, one.dense.is_some(), one.pool)).collect();
            assert_eq!(found, expected, "{limit} {ratio}");
        };
        check(8, 0.5, &[(0, true, 4), (1, false, 8)]);
        check(5, 0.5, &[(0, true, 3), (1, false, 5)]);
        check(8, 0.0, &[(1, false, 8)]);
        check(8, 1.0, &[(0, true, 8)]);
        check(1, 0.2, &[(1, false, 1)]);
    }

    fn findings(by_meaning: &[u32], by_words: &[u32], dense: bool) -> Findings {
        let hit = |list: &[u32], id: u32, subquery, arm| {
            let place = list.iter().position(|other| *other == id)?;
            Some(Hit { subquery, arm, score: 1.0, rank: u32::try_from(place).unwrap() + 1 })
        };
        let candidate = |id: u32| {
            let hits = [hit(by_meaning, id, BY_MEANING, Arm::Dense), hit(by_words, id, BY_WORDS, Arm::Lexical)];
            Candidate::new(id, "backend", format!("tool-{id}"), &hits.into_iter().flatten().collect::<Vec<_>>())
        };
        Findings { candidates: (0..10).map(candidate).collect(), dense }
    }

    #[test]
    fn meaning_comes_first_and_no_arm_gets_what_the_other_leaves() {
        let check = |ratio: f64, findings: &Findings, expected: &[u32]| {
            let query = Query { limit: 4, semantic_ratio: ratio, ..Query::new("x") };
            let ranked = Toolhive {}.rank(&query, findings).unwrap();
            assert_eq!(ranked.iter().map(|ranked| ranked.id).collect::<Vec<_>>(), expected);
        };
        check(0.5, &findings(&[3, 1], &[2, 5, 6, 7], true), &[3, 1, 2, 5]);
        check(0.5, &findings(&[3, 1], &[1, 5, 6, 7], true), &[3, 1, 5]);
        check(0.5, &findings(&[3], &[2, 5, 6, 7], true), &[3, 2, 5]);
        check(0.0, &findings(&[], &[2, 5, 6, 7], false), &[2, 5, 6, 7]);
        check(1.0, &findings(&[8, 3, 2, 1], &[], true), &[8, 3, 2, 1]);
        // The dense queries could not be run.
        check(0.5, &findings(&[], &[2, 5, 6, 7], false), &[2, 5, 6, 7]);
    }
}
