//! Embedding servers that fail: a start that asks for meaning and cannot have it fails, a search later goes by words and says so.

use std::time::Duration;

use serde_json::{Value, json};
use vmcp_tests::{
    Mcp, TestHost,
    embedding_server::{EmbeddingServer, Fault},
    eventually,
    process::{PATIENCE, free_port},
};

use super::{desk, desk_host, find, found};

/// `optimizer` with a server that is given up after two seconds.
fn tei(url: &str) -> String {
    format!("{{ embeddingProvider: tei, embeddingService: '{url}', embeddingServiceTimeout: 2s }}")
}

async fn search_status(host: &TestHost) -> Value {
    host.doctor().await["search"].take()
}

/// What a search says beside its tools.
async fn note(client: &impl Mcp, query: &str) -> Option<String> {
    let reply = find(client, json!({ "tool_description": query })).await;
    assert!(!found(&reply).is_empty(), "{query}: {}", reply.raw);
    reply.result()["structuredContent"]["note"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_start_without_the_server_that_is_asked_for_fails() {
    let dead = format!("http://127.0.0.1:{}", free_port());
    let ended = desk_host(&tei(&dead)).fail().await;
    assert!(ended.code != Some(0), "{}", ended.stderr);
    for wanted in ["`optimizer.embeddingProvider: tei` does not work", &dead] {
        assert!(ended.stderr.contains(wanted), "{wanted} is missing in {}", ended.stderr);
    }
}

#[tokio::test]
async fn searches_go_by_words_while_the_server_fails_and_by_meaning_after_it() {
    let check = async |fault: Fault, reason: &str| {
        let server = EmbeddingServer::start().await;
        let host = desk_host(&tei(server.url())).start().await;
        let client = host.connect_modern();
        assert_eq!(note(&client, "read a text file").await, None);

        server.misbehave(fault.clone());
        for query in ["read a text file", "send a message"] {
            let note = note(&client, query).await.unwrap_or_else(|| panic!("{fault:?} is kept secret"));
            assert!(note.contains("searched by words only") && note.contains(reason), "{fault:?}: {note}");
        }
        let status = search_status(&host).await;
        assert!(status["providerFault"].as_str().is_some_and(|fault| fault.contains(reason)), "{status}");
        assert_eq!(status["searchesWithoutVectors"], 2);
        assert!(host.stderr().contains("searches go by words only"), "{}", host.stderr());

        server.misbehave(None);
        eventually("the server is asked again", PATIENCE, || async {
            search_status(&host).await["providerFault"].is_null()
        })
        .await;
        assert_eq!(note(&client, "play some music").await, None, "{fault:?}");
    };
    tokio::join!(
        check(Fault::Hang, "did not answer within 2s"),
        check(Fault::Status(500), "HTTP 500"),
        check(Fault::OneTooFew, "0 vectors for 1 texts"),
        check(Fault::WebPage, "not the JSON"),
    );
}

#[tokio::test]
async fn vectors_of_two_models_are_never_compared() {
    let server = EmbeddingServer::start().await;
    let host = desk_host(&tei(server.url())).start().await;
    let client = host.connect_modern();
    let models = async || {
        let vectors = search_status(&host).await["index"]["vectors"].take();
        let models: Vec<String> =
            vectors.as_array().unwrap().iter().map(|row| row["model"].as_str().unwrap().to_owned()).collect();
        assert_eq!(vectors[0]["vectors"], desk().len(), "{vectors}");
        models
    };
    let before = models().await;
    assert_eq!(before.len(), 1, "one form of one model");

    // Vectors of another width are another model's.
    server.misbehave(Fault::OtherWidth);
    let told = note(&client, "read a text file").await.expect("the other model is noticed");
    assert!(told.contains("the provider answers with") && told.contains("/63"), "{told}");
    eventually("the tools are embedded anew", PATIENCE, || async { models().await != before }).await;
    assert_eq!(note(&client, "read a text file").await, None);
    let after = models().await;
    assert!(after.len() == 1 && after[0].ends_with("/63"), "{after:?}");

    // A server that restarts with another model is noticed, too.
    server.misbehave_times(1, Fault::Status(500));
    server.change_model("example/other-words");
    note(&client, "read a text file").await.expect("words only");
    eventually("the tools are embedded anew", PATIENCE, || async { models().await[0].contains("other-words") }).await;
    assert_eq!(note(&client, "read a text file").await, None);
}

#[tokio::test]
async fn a_slow_server_is_waited_for_before_the_host_is_ready() {
    let server = EmbeddingServer::start().await;
    server.misbehave(Fault::Slow(Duration::from_millis(500)));
    let host = desk_host(&tei(server.url())).start().await;
    assert_eq!(search_status(&host).await["index"]["vectors"][0]["vectors"], desk().len());
}
