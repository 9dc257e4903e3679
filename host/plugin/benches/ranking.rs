//! One search through a ranking: a fresh instance, `plan`, the conversion of 200 candidates, `rank`, the answer read. The
//! search itself is not in it.
//!
//! The goal is a median below 0.5 ms.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

use std::{sync::Arc, time::Duration};

use divan::{Bencher, black_box};
use vmcp_core::ranking::{Arm, Candidate, Findings, Hit, RankingQuery, RankingStrategy, SearchPlan, Usage};
use vmcp_plugin::{ComponentSource, EngineOptions, Grants, Limits, PluginEngine};

const RANKINGS: [&str; 4] = ["clause-blend", "linear", "rrf", "toolhive"];
const CANDIDATES: usize = 200;

fn main() {
    divan::main();
}

/// A request for one thing.
#[divan::bench(args = RANKINGS)]
fn one_clause(bencher: Bencher, name: &str) {
    measure(bencher, name, "list all open issues of a repository that are assigned to a user");
}

/// A request for several.
#[divan::bench(args = RANKINGS)]
fn four_clauses(bencher: Bencher, name: &str) {
    let text =
        "find the latest invoice of acme, then send it to Ann by mail and mark it as paid; also book a flight to Oslo";
    measure(bencher, name, text);
}

/// What the host alone costs: an instance and `plan`.
#[divan::bench]
fn plan_only(bencher: Bencher) {
    let ranking = ranking("linear");
    let query = query("list all open issues");
    bencher.bench(|| ranking.begin().unwrap().plan(black_box(&query)).unwrap());
}

fn measure(bencher: Bencher, name: &str, text: &str) {
    let ranking = ranking(name);
    let query = query(text);
    let plan = ranking.begin().unwrap().plan(&query).unwrap();
    let all: Vec<(String, String)> = (0..CANDIDATES).map(texts).collect();
    let candidates = all.iter().enumerate().map(|(number, texts)| candidate(number, texts, &plan)).collect();
    let findings = Findings { candidates, dense: true };
    bencher.bench(|| {
        let mut run = ranking.begin().unwrap();
        run.plan(black_box(&query)).unwrap();
        run.rank(black_box(&query), black_box(&findings)).unwrap()
    });
}

fn ranking(name: &str) -> Arc<dyn RankingStrategy> {
    let builtin = vmcp_builtin::all().iter().find(|builtin| builtin.name == name).unwrap();
    let source = ComponentSource {
        name: name.into(),
        bytes: builtin.wasm.into(),
        origin: "bench".into(),
        sha256: None,
        grants: Grants::default(),
        limits: Limits::default(),
    };
    let engine = PluginEngine::new(EngineOptions::default()).unwrap();
    engine.load(source).unwrap().ranking_strategy(&serde_json::json!({})).unwrap()
}

fn query(text: &str) -> RankingQuery {
    RankingQuery { text: text.into(), keywords: Vec::new(), semantic_ratio: 0.5, limit: 8, explain: false }
}

fn texts(number: usize) -> (String, String) {
    (format!("search_issues_{number}"), "Searches the index and returns the matching entries. ".repeat(4))
}

/// Each is in half of the lists, at another place in each.
fn candidate<'a>(number: usize, (name, description): &'a (String, String), plan: &SearchPlan) -> Candidate<'a> {
    let mut hits = Vec::new();
    for subquery in &plan.subqueries {
        let arms = [(Arm::Lexical, subquery.lexical.is_some(), 12.0), (Arm::Dense, subquery.dense.is_some(), 0.9)];
        for (index, (arm, _, best)) in arms.into_iter().enumerate().filter(|(_, (_, is_asked, _))| *is_asked) {
            let place = (number * 7 + subquery.id as usize * 31 + index * 13) % CANDIDATES;
            if let Ok(rank @ 1..=100) = u32::try_from(place) {
                hits.push(Hit { subquery: subquery.id, arm, score: best / f64::from(rank), rank });
            }
        }
    }
    Candidate {
        id: u32::try_from(number).unwrap(),
        name,
        backend: plan.texts.backend.then_some("github"),
        description: plan.texts.description.then_some(description),
        annotations: plan.texts.annotations.then_some(r#"{"readOnlyHint":true,"openWorldHint":false}"#),
        hits,
        similar: Vec::new(),
        usage: Usage { calls: 3, failures: 0, idle: Some(Duration::from_mins(1)) },
        pinned: false,
    }
}
