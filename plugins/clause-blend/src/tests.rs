use vmcp_sdk::ranking::{Candidate, Hit};

use super::*;

const TWO_CLAUSES: &str = "Find the latest invoice and send a mail to Ann";

fn ids(ranked: &[Ranked]) -> Vec<u32> {
    ranked.iter().map(|ranked| ranked.id).collect()
}

#[test]
fn every_clause_is_a_search_beside_the_whole_request() {
    let check = |min_clauses: usize, text: &str, expected: &[&str]| {
        let plan = ClauseBlend { min_clauses, ..ClauseBlend::default() }.plan(&Query::new(text)).unwrap();
        let texts = plan.subqueries.iter().map(|subquery| subquery.dense.as_ref().unwrap().text.as_str());
        assert_eq!(texts.collect::<Vec<_>>(), expected);
        assert!(plan.subqueries.iter().map(|subquery| subquery.id).eq(0..expected.len().try_into().unwrap()));
    };
    check(1, TWO_CLAUSES, &[TWO_CLAUSES, "Find the latest invoice", "send a mail to Ann"]);
    check(3, TWO_CLAUSES, &[TWO_CLAUSES]);
    check(1, "list the open issues", &["list the open issues"]);
    check(1, "list the open issues.", &["list the open issues."]);
    check(1, "issues and pull requests of acme", &["issues and pull requests of acme", "pull requests of acme"]);
    check(
        1,
        "summarise the page https://example.com/news",
        &["summarise the page  url; url example com news; ", "summarise the page  url", "url example com news"],
    );
}

#[test]
fn words_of_a_clause_are_its_own() {
    let query = Query { keywords: vec!["github".into()], ..Query::new(TWO_CLAUSES) };
    let plan = ClauseBlend::default().plan(&query).unwrap();
    let terms = |index: usize| {
        let terms = &plan.subqueries[index].lexical.as_ref().unwrap().terms;
        terms.iter().map(|term| term.text.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(terms(0), "Find latest invoice send mail Ann github");
    assert_eq!(terms(1), "Find latest invoice");
    assert_eq!(terms(2), "send mail Ann");
}

#[test]
fn more_clauses_have_smaller_pools() {
    let check = |clauses: usize, expected: u32| assert_eq!(clause_pool(clauses), expected, "{clauses}");
    check(1, 50);
    check(2, 50);
    check(3, 33);
    check(9, 11);
    check(12, 10);
    let many = "do this one thing. ".repeat(20);
    let plan = ClauseBlend::default().plan(&Query::new(many)).unwrap();
    let pools: Vec<u32> = plan.subqueries.iter().map(|subquery| subquery.pool).collect();
    assert_eq!((pools.len(), pools[0], pools[12]), (13, 60, 10));
}

#[test]
fn the_best_clause_lifts_a_tool_that_the_whole_request_buries() {
    let hit = |subquery, score, rank| Hit { subquery, arm: Arm::Lexical, score, rank };
    let candidates = vec![
        Candidate::new(0, "a", "general", &[hit(0, 10.0, 1), hit(1, 2.0, 2), hit(2, 2.0, 2)]),
        Candidate::new(1, "a", "invoice", &[hit(0, 5.0, 2), hit(1, 9.0, 1)]),
        Candidate::new(2, "a", "mail", &[hit(0, 4.0, 3), hit(2, 8.0, 1)]),
    ];
    let findings = Findings { candidates, dense: false };
    let check = |clause_share: f64, text: &str, expected: &[u32]| {
        let ranking = ClauseBlend { clause_share, ..ClauseBlend::default() };
        let ranked = ranking.rank(&Query::new(text), &findings).unwrap();
        assert_eq!(ids(&ranked), expected, "{clause_share}");
    };
    check(0.0, TWO_CLAUSES, &[0, 1, 2]);
    check(0.5, TWO_CLAUSES, &[1, 2, 0]);
    check(0.5, "find an invoice", &[0, 1, 2]);
}

#[test]
fn the_ratio_weighs_the_arms() {
    let hit = |arm, score, rank| Hit { subquery: 0, arm, score, rank };
    let findings = Findings {
        candidates: vec![
            Candidate::new(0, "a", "words", &[hit(Arm::Lexical, 8.0, 1), hit(Arm::Dense, 0.2, 3)]),
            Candidate::new(1, "a", "both", &[hit(Arm::Lexical, 6.0, 2), hit(Arm::Dense, 0.8, 2)]),
            Candidate::new(2, "a", "meaning", &[hit(Arm::Dense, 0.9, 1)]),
        ],
        dense: true,
    };
    let check = |ratio: f64, expected: &[u32]| {
        let query = Query { semantic_ratio: ratio, ..Query::new("x") };
        assert_eq!(ids(&ClauseBlend::default().rank(&query, &findings).unwrap()), expected, "{ratio}");
    };
    check(0.0, &[0, 1, 2]);
    check(0.5, &[1, 0, 2]);
    check(1.0, &[2, 1, 0]);
}

#[test]
fn a_config_out_of_range_is_refused() {
    let check = |clause_share: f64, min_clauses: usize, problems: usize| {
        assert_eq!(ClauseBlend { clause_share, min_clauses }.check().len(), problems);
    };
    check(0.5, 1, 0);
    check(1.1, 1, 1);
    check(f64::NAN, 13, 2);
}
