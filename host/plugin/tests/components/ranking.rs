//! Rankings: what the shipped ones do with made-up findings, and how those that misbehave are stopped.

use std::{
    fs,
    path::Path,
    sync::{Arc, Barrier, mpsc},
    time::Duration,
};

use serde_json::{Value, json};
use vmcp_core::ranking::{
    Arm, Candidate, DocumentForm, Findings, Hit, Ranked, RankingError, RankingQuery, RankingStrategy, SearchPlan,
    Texts, Usage,
};
use vmcp_plugin::{
    CONFLICT_RESOLVER, Component, EngineOptions, Limit, Limits, PluginEngine, PluginError, RANKING_STRATEGY, inspect,
};

use crate::{Guest, LONG, SHORT, engine, source, with_running_time};

const SHIPPED: [&str; 4] = ["clause-blend", "linear", "rrf", "toolhive"];

fn built_in(name: &str) -> Vec<u8> {
    vmcp_builtin::all().iter().find(|builtin| builtin.name == name).unwrap().wasm.to_vec()
}

fn committed(path: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).with_extension("wasm");
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn load(bytes: Vec<u8>) -> Component {
    engine().load(source(bytes)).unwrap()
}

fn shipped(name: &str, config: &Value) -> Arc<dyn RankingStrategy> {
    load(built_in(name)).ranking_strategy(config).unwrap()
}

fn guest(name: &str) -> Arc<dyn RankingStrategy> {
    load(committed(&format!("tests/guests/{name}"))).ranking_strategy(&json!({})).unwrap()
}

fn query(text: &str, semantic_ratio: f64) -> RankingQuery {
    RankingQuery { text: text.into(), keywords: Vec::new(), semantic_ratio, limit: 8, explain: false }
}

/// Tools whose names are their ids as letters, by words in the order of `lexical` and by meaning in that of `dense`, both
/// through every subquery of `plan` that asks for it. The first candidate is the last letter.
fn findings(plan: &SearchPlan, lexical: &[u32], dense: &[u32], is_dense: bool) -> Findings<'static> {
    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let list = |arm: Arm, subquery: u32, order: &[u32], id: u32| {
        let rank = u32::try_from(order.iter().position(|other| *other == id)?).unwrap() + 1;
        let best = if arm == Arm::Lexical { 12.0 } else { 0.9 };
        Some(Hit { subquery, arm, score: best / f64::from(rank), rank })
    };
    let candidate = |id: u32| {
        let hits = plan.subqueries.iter().flat_map(|subquery| {
            let by_words = subquery.lexical.as_ref().and_then(|_| list(Arm::Lexical, subquery.id, lexical, id));
            let by_meaning = subquery.dense.as_ref().and_then(|_| list(Arm::Dense, subquery.id, dense, id));
            by_words.into_iter().chain(by_meaning.filter(|_| is_dense))
        });
        Candidate {
            id,
            name: NAMES[id as usize],
            backend: plan.texts.backend.then_some(if id.is_multiple_of(2) { "even" } else { "odd" }),
            description: plan.texts.description.then_some("Does something"),
            annotations: plan.texts.annotations.then_some(r#"{"readOnlyHint":true}"#),
            hits: hits.collect(),
            similar: Vec::new(),
            usage: Usage { calls: 3, failures: 1, idle: Some(Duration::from_mins(1)) },
            pinned: false,
        }
    };
    let candidates: Vec<_> = (0..6).rev().map(candidate).filter(|candidate| !candidate.hits.is_empty()).collect();
    Findings { candidates, dense: is_dense }
}

/// A whole search.
fn search(
    ranking: &dyn RankingStrategy,
    query: &RankingQuery,
    find: impl Fn(&SearchPlan) -> Findings<'static>,
) -> Result<Vec<Ranked>, RankingError> {
    let mut run = ranking.begin()?;
    let plan = run.plan(query)?;
    run.rank(query, &find(&plan))
}

/// A search of two words over three tools.
fn any_search(ranking: &dyn RankingStrategy) -> Result<Vec<Ranked>, RankingError> {
    search(ranking, &query("search issues", 0.5), |plan| findings(plan, &[0, 1], &[1, 2], true))
}

fn ids(ranked: &[Ranked]) -> Vec<u32> {
    ranked.iter().map(|ranked| ranked.id).collect()
}

fn plugin_error(error: RankingError) -> PluginError {
    assert!(error.to_string().starts_with("`mine 0.1.0`"), "{error}");
    let RankingError::Component { source, .. } = error else { panic!("another error: {error}") };
    *source.downcast().unwrap()
}

#[test]
fn shipped_rankings_go_from_the_order_by_words_to_that_by_meaning() {
    let (by_words, by_meaning) = ([0, 1, 2, 3], [3, 0, 4, 1]);
    let check = |name: &str, ratio: f64, is_dense: bool, expected: &[u32]| {
        let ranked = search(&*shipped(name, &json!({})), &query("search issues", ratio), |plan| {
            // At the ends the host runs one arm only.
            let (lexical, dense) = (if ratio < 1.0 { &by_words[..] } else { &[] }, &by_meaning[..]);
            findings(plan, lexical, dense, is_dense)
        });
        let ranked = ids(&ranked.unwrap());
        assert_eq!(ranked[..expected.len()], *expected, "{name} {ratio} {is_dense}: {ranked:?}");
    };
    for name in SHIPPED {
        check(name, 0.0, false, &by_words);
        check(name, 1.0, true, &by_meaning);
        check(name, 0.5, false, &by_words);
    }
    for name in ["clause-blend", "linear", "rrf"] {
        check(name, 0.5, true, &[0, 3, 1]);
    }
    check("toolhive", 0.5, true, &[3, 0, 4, 1, 2]);
}

#[test]
fn plans_ask_for_what_the_ranking_stands_for() {
    let plan = |name: &str, text: &str| shipped(name, &json!({})).begin().unwrap().plan(&query(text, 0.5)).unwrap();
    let reference = plan("toolhive", "find the issue of a user");
    let forms = reference.subqueries.iter().map(|subquery| match (&subquery.lexical, &subquery.dense) {
        (Some(lexical), None) => (lexical.form, subquery.pool, lexical.terms.len()),
        (None, Some(dense)) => (dense.form, subquery.pool, 0),
        _ => panic!("one arm each"),
    });
    let form = DocumentForm::Reference;
    assert_eq!(forms.collect::<Vec<_>>(), [(form, 4, 0), (form, 8, 6)]);

    let text = "find the latest invoice and send a mail to Ann";
    for (name, subqueries) in [("linear", 1), ("rrf", 1), ("clause-blend", 3)] {
        let plan = plan(name, text);
        assert_eq!(plan.subqueries.len(), subqueries, "{name}");
        let terms = &plan.subqueries[0].lexical.as_ref().unwrap().terms;
        let terms: Vec<&str> = terms.iter().map(|term| term.text.as_str()).collect();
        assert_eq!(terms, ["find", "latest", "invoice", "send", "mail", "Ann"], "{name}");
        assert_eq!(plan.subqueries[0].dense.as_ref().unwrap().text, text, "{name}");
    }
}

#[test]
fn a_tool_s_place_is_explained_to_those_who_ask() {
    for name in SHIPPED {
        let check = |explain: bool, expected: [&str; 2]| {
            let ranking = shipped(name, &json!({}));
            let query = RankingQuery { explain, ..query("make something", 0.5) };
            let ranked = search(&*ranking, &query, |plan| {
                let texts = Texts { description: explain, ..Texts::default() };
                assert_eq!(plan.texts, texts, "{name}: no text is copied that is not read");
                findings(plan, &[0, 1], &[1, 2], true)
            });
            let mut ranked = ranked.unwrap();
            ranked.sort_by_key(|ranked| ranked.id);
            assert_eq!([&ranked[0].why, &ranked[1].why], expected, "{name}");
        };
        check(true, ["description matches `something`", "description matches `something`; meaning close"]);
        check(false, ["", ""]);
    }
}

#[test]
fn configs_are_checked_by_the_component() {
    let check = |name: &str, config: &Value, problems: &[&str]| {
        let found = load(built_in(name)).check_config(RANKING_STRATEGY, config).unwrap();
        assert_eq!(found.iter().map(|problem| problem.pointer.as_str()).collect::<Vec<_>>(), problems, "{name}");
    };
    for name in SHIPPED {
        check(name, &json!({}), &[]);
        check(name, &json!({ "nonsense": 1 }), &["/nonsense"]);
    }
    check("rrf", &json!({ "k": 10 }), &[]);
    check("rrf", &json!({ "k": -1 }), &["/k"]);
    check("clause-blend", &json!({ "clauseShare": 2, "minClauses": 0 }), &["/clauseShare", "/minClauses"]);
    let error = load(built_in("rrf")).ranking_strategy(&json!({ "k": -1 })).err().unwrap();
    assert_eq!(error.to_string(), "component `mine` does not accept its config: /k: must be 0 to 10000");
}

#[test]
fn the_example_lifts_the_tools_of_a_server() {
    let example = load(committed("examples/plugins/server-boost"));
    let check = |config: &Value, expected: &[u32]| {
        let ranked = any_search(&*example.ranking_strategy(config).unwrap()).unwrap();
        assert_eq!(ids(&ranked), expected, "{config}");
    };
    check(&json!({}), &[1, 0, 2]);
    check(&json!({ "boost": { "even": 1.5 } }), &[0, 1, 2]);
}

#[test]
fn a_component_may_be_resolver_and_ranking_at_once() {
    let bytes = committed("tests/guests/both");
    let inspection = inspect(&engine(), &bytes, "both").unwrap();
    let mut worlds: Vec<_> = inspection.worlds.iter().map(|world| (world.world.as_str(), world.supported)).collect();
    worlds.sort_unstable();
    assert_eq!(worlds, [(CONFLICT_RESOLVER, true), (RANKING_STRATEGY, true)]);
    assert!(inspection.worlds.iter().all(|world| world.config_schema.is_some()));

    let both = load(bytes);
    assert!(both.implements_conflict_resolver() && both.implements_ranking_strategy());
    assert_eq!(crate::resolve(&*both.conflict_resolver(&json!({})).unwrap(), 3).unwrap().len(), 3);
    assert_eq!(ids(&any_search(&*both.ranking_strategy(&json!({})).unwrap()).unwrap()), [1, 0, 2]);
}

#[test]
fn a_resolver_is_no_ranking() {
    let component = crate::load(&Guest::default()).unwrap();
    assert!(!component.implements_ranking_strategy());
    let error = component.ranking_strategy(&json!({})).err().unwrap();
    assert_eq!(error.to_string(), "component `mine` does not export `vmcp:ranking/ranking-strategy@0.1.0`");
}

#[test]
fn both_functions_run_on_one_instance_and_the_next_search_on_another() {
    let ranking = guest("rank-remembers");
    for _ in 0..2 {
        assert_eq!(any_search(&*ranking).unwrap()[0].why, "asked 2 times");
    }
    // Whoever skips the plan gets an instance that was asked nothing before.
    let plan = ranking.begin().unwrap().plan(&query("x", 0.5)).unwrap();
    let ranked = ranking.begin().unwrap().rank(&query("x", 0.5), &findings(&plan, &[0], &[], true)).unwrap();
    assert_eq!(ranked[0].why, "asked 1 times");
}

#[test]
fn rankings_that_misbehave_are_stopped_with_name_and_reason() {
    let failure = |name: &str| {
        let bytes = committed(&format!("tests/guests/{name}"));
        let component = engine().load(with_running_time(SHORT, bytes)).unwrap();
        plugin_error(any_search(&*component.ranking_strategy(&json!({})).unwrap()).unwrap_err())
    };
    let limit = |name: &str, expected: Limit, function: &str| match failure(name) {
        PluginError::LimitExceeded { limit, during, .. } => {
            assert_eq!((limit, during), (expected, function), "{name}");
        }
        other => panic!("{name}: {other:?}"),
    };
    limit("plan-loops", Limit::RunningTime { allowed: SHORT }, "plan");
    limit("rank-loops", Limit::RunningTime { allowed: SHORT }, "rank");
    limit("rank-allocates", Limit::Memory { allowed: 64 << 20 }, "rank");
    // 40 MiB in `plan` are allowed, and 40 MiB more in `rank` are not.
    limit("rank-allocates-in-both", Limit::Memory { allowed: 64 << 20 }, "rank");

    let reason = |name: &str, expected: &str| assert_eq!(failure(name).to_string(), expected);
    let wrong =
        |function: &str, reason: &str| format!("component `mine` gave a wrong answer to `{function}`: {reason}");
    reason("plan-too-large", &wrong("plan", "33 subqueries, 32 are allowed"));
    reason("rank-unknown", &wrong("rank", "no candidate has the id 4294967295"));
    reason("rank-repeats", &wrong("rank", "candidate 1 is ranked twice"));
    let panicked = failure("rank-panics").to_string();
    assert!(panicked.contains("`mine`") && panicked.contains("this ranking always panics"), "{panicked}");
}

#[test]
fn a_ranking_without_limits_of_its_own_has_a_tenth_of_a_second() {
    let mut source = source(committed("tests/guests/rank-loops"));
    source.limits = Limits::default();
    let ranking = engine().load(source).unwrap().ranking_strategy(&json!({})).unwrap();
    let error = plugin_error(any_search(&*ranking).unwrap_err());
    let expected = Limit::RunningTime { allowed: Duration::from_millis(100) };
    assert!(matches!(error, PluginError::LimitExceeded { limit, .. } if limit == expected), "{error:?}");
    assert!(error.hint().unwrap().contains("`limits.runningTime`"));
}

#[test]
fn a_run_that_is_dropped_after_its_plan_frees_its_place() {
    const SLOTS: usize = 64;
    let engine = PluginEngine::new(EngineOptions::default()).unwrap();
    let ranking = engine.load(source(built_in("linear"))).unwrap().ranking_strategy(&json!({})).unwrap();
    let planned = || {
        let mut run = ranking.begin().unwrap();
        run.plan(&query("x", 0.5)).unwrap();
        run
    };
    for _ in 0..2 * SLOTS {
        drop(planned());
    }
    let mut all_slots: Vec<_> = std::iter::repeat_with(planned).take(SLOTS).collect();
    let (sender, done) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            drop(planned());
            sender.send(()).unwrap();
        });
        assert!(done.recv_timeout(Duration::from_millis(100)).is_err(), "there was no slot left");
        all_slots.pop();
        done.recv_timeout(LONG).unwrap();
    });
}

#[test]
fn more_searches_than_slots_wait_and_all_succeed() {
    const SEARCHES: usize = 100;
    let ranking = shipped("clause-blend", &json!({}));
    let barrier = Arc::new(Barrier::new(SEARCHES));
    std::thread::scope(|scope| {
        for _ in 0..SEARCHES {
            scope.spawn(|| {
                barrier.wait();
                assert_eq!(ids(&any_search(&*ranking).unwrap()), [1, 0, 2]);
            });
        }
    });
}
