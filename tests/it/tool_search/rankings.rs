//! What a ranking is told reaches it, what it decides reaches clients, and without one nothing answers.

use serde_json::{Value, json};
use vmcp_tests::{
    FakeBackend, Mcp, TestHost,
    embedding_server::EmbeddingServer,
    process::{run, workspace_dir},
};

use super::{backend, desk, desk_host, find, found};
use crate::assembled::{Assembled, assembly, guest};

const RANKINGS: [&str; 4] = ["clause-blend", "linear", "rrf", "toolhive"];
/// Shares words with many tools of the desk, with each in another measure.
const QUERY: &str = "read the text of a message in another language from the disk of a container";

/// `optimizer` with the ranking, the embedding server and `more`.
fn optimizer(ranking: &str, server: &EmbeddingServer, more: &str) -> String {
    format!("{{ ranking: {ranking}, embeddingProvider: tei, embeddingService: '{}', {more} }}", server.url())
}

/// What each arm found for [`QUERY`] in the tools of the running host.
async fn explained(host: &TestHost) -> Value {
    let mut eval = host.written.subcommand("eval");
    eval.args(["--live", "--limit", "8", "--json", "--explain", QUERY, "-c"]).arg(&host.written.config);
    let (code, stdout, stderr) = run(&mut eval).await;
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str::<Value>(&stdout).unwrap()[0]["explanation"].take()
}

/// The names that one arm found, best first; equal scores in the order of names.
#[track_caller]
fn order_of(explanation: &Value, arm: &str) -> Vec<String> {
    let candidates = explanation["candidates"].as_array().unwrap();
    let score = |candidate: &Value| {
        let [hit] = candidate["hits"].as_array().unwrap().as_slice() else { panic!("not one hit: {candidate}") };
        assert_eq!(hit["arm"], arm, "{candidate}");
        hit["score"].as_f64().unwrap()
    };
    let name = |candidate: &Value| candidate["name"].as_str().unwrap().to_owned();
    let mut found: Vec<_> = candidates.iter().map(|candidate| (score(candidate), name(candidate))).collect();
    found.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.cmp(other)));
    found.into_iter().map(|(_, name)| name).take(8).collect()
}

#[tokio::test]
async fn without_meaning_the_order_is_that_of_the_words_and_nobody_is_asked_for_vectors() {
    for ranking in RANKINGS {
        let server = EmbeddingServer::start().await;
        let host = desk_host(&optimizer(ranking, &server, "hybridSearchSemanticRatio: 0")).start().await;
        let names = found(&find(&host.connect_modern(), json!({ "tool_description": QUERY })).await);
        let explanation = explained(&host).await;
        assert!(names.len() > 3, "{names:?}");
        assert_eq!(names, order_of(&explanation, "lexical"), "{ranking}: {explanation:#}");
        let asked = server.asked();
        assert_eq!((asked.requests, asked.about_model), (0, 0), "{ranking}");
    }
}

#[tokio::test]
async fn without_words_the_order_is_that_of_the_meaning() {
    for ranking in RANKINGS {
        let server = EmbeddingServer::start().await;
        let host = desk_host(&optimizer(ranking, &server, "hybridSearchSemanticRatio: '1'")).start().await;
        let before = server.asked().requests;
        let names = found(&find(&host.connect_modern(), json!({ "tool_description": QUERY })).await);
        assert_eq!(server.asked().requests, before + 1, "{ranking}");
        let explanation = explained(&host).await;
        assert_eq!(names.len(), 8, "{ranking}: {names:?}");
        assert_eq!(names, order_of(&explanation, "dense"), "{ranking}: {explanation:#}");
    }
}

#[tokio::test]
async fn what_is_too_far_from_the_query_is_no_hit() {
    for ranking in RANKINGS {
        let server = EmbeddingServer::start().await;
        let more = "hybridSearchSemanticRatio: 1, maxToolsToReturn: 8, semanticDistanceThreshold: 0.2";
        let host = desk_host(&optimizer(ranking, &server, more)).start().await;
        let client = host.connect_modern();
        // The words of one tool, so that it is near.
        let near = "send email send_email Send a message to somebody's mailbox Address to subject";
        let names = found(&find(&client, json!({ "tool_description": near })).await);
        assert!(names.len() < 8, "{ranking}: {names:?}");
        assert_eq!(names.first().map(String::as_str), Some("send_email"), "{ranking}");
        let far = found(&find(&client, json!({ "tool_description": "zzz qqq" })).await);
        assert!(far.is_empty(), "{ranking}: {far:?}");
    }
}

/// What the configuration loads ranks as what comes with the program does.
#[tokio::test]
async fn a_ranking_of_the_users_shows() {
    let source = workspace_dir().join("tests/guests/marked-ranking.wasm");
    let host = desk_host("{ ranking: mine }")
        .yaml(&format!("plugins: [{{ name: mine, source: {} }}]", source.display()))
        .start()
        .await;
    assert_marked(&host.connect_modern()).await;
    assert!(host.status().await["search"]["ranking"].as_str().unwrap().contains("mine"));
}

/// And so does what is in the place of a built-in one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_with_another_default_ranking_shows_its_mark_to_clients() {
    let host = TestHost::builder();
    let desk = backend(host.dir(), "desk.jsonl", &desk()).http();
    let written = host.backend("desk", desk).yaml("optimizer: {}").write().await;
    let host = Assembled::start(assembly(&written).component("clause-blend", guest("marked-ranking"))).await;
    assert_marked(&host.connect_modern()).await;
    host.stop().await;
}

async fn assert_marked(client: &impl Mcp) {
    let reply = find(client, json!({ "tool_description": "read a text file", "explain": true })).await;
    let matches = reply.result()["structuredContent"]["matches"].as_array().unwrap();
    assert!(!matches.is_empty(), "{}", reply.raw);
    for found in matches {
        assert!(found["why"].as_str().unwrap().starts_with("MARK"), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_rankings_names_what_is_missing_and_finds_nothing_itself() {
    let resolver = workspace_dir().join("tests/guests/marked-prefix.wasm");
    let written = TestHost::builder()
        .backend("a", FakeBackend::echo(["search"]).http())
        .yaml(&format!("plugins: [{{ name: mine, source: {} }}]", resolver.display()))
        .yaml("aggregation: { conflictResolution: mine }\noptimizer: {}")
        .write()
        .await;
    let error = assembly(&written).without_components().build().await.err().expect("nothing native answers");
    let error = format!("{error:#}");
    assert!(error.contains("`optimizer.ranking` needs the component `clause-blend`"), "{error}");
}
