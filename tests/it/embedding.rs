//! The embedding providers that are servers, against one that speaks their languages.

use std::time::{Duration, Instant};

use vmcp_optimizer::embedding::{
    EmbedError, Embedder, Purpose,
    ollama::{Ollama, OllamaOptions},
    openai::{OpenAi, OpenAiOptions},
    tei::{Tei, TeiOptions},
};
use vmcp_tests::embedding_server::{EmbeddingServer, Fault, WIDTH};

const TIMEOUT: Duration = Duration::from_secs(30);
/// For servers that hang; those that answer have room in it on a machine that stalls, too.
const SHORT: Duration = Duration::from_secs(3);

async fn tei(server: &EmbeddingServer) -> Tei {
    Tei::connect(TeiOptions::new(server.url().parse().unwrap(), TIMEOUT)).await.unwrap()
}

async fn openai(server: &EmbeddingServer) -> OpenAi {
    OpenAi::connect(OpenAiOptions::new(server.openai_url().parse().unwrap(), "small", TIMEOUT)).await.unwrap()
}

async fn ollama(server: &EmbeddingServer) -> Ollama {
    Ollama::connect(OllamaOptions::new(server.url().parse().unwrap(), "all-minilm", TIMEOUT)).await.unwrap()
}

async fn each(server: &EmbeddingServer) -> [Box<dyn Embedder>; 3] {
    [Box::new(tei(server).await), Box::new(openai(server).await), Box::new(ollama(server).await)]
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("tool number {number} lists files of folder {number}")).collect()
}

async fn error(provider: &dyn Embedder, count: usize) -> EmbedError {
    provider.embed(&texts(count), Purpose::Documents).await.unwrap_err()
}

fn dot(left: &[f32], right: &[f32]) -> f32 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}

#[tokio::test]
async fn each_server_gives_the_same_unit_vectors_in_order() {
    let server = EmbeddingServer::start().await;
    let texts = texts(100);
    let mut answers = Vec::new();
    for provider in each(&server).await {
        let embedded = provider.embed(&texts, Purpose::Documents).await.unwrap();
        assert_eq!(embedded.vectors.len(), texts.len(), "{}", provider.label());
        for vector in &embedded.vectors {
            assert_eq!(vector.len(), WIDTH);
            assert!((dot(vector, vector) - 1.0).abs() < 1e-5);
        }
        let query = provider.embed(&texts[7..8], Purpose::Query).await.unwrap();
        assert_eq!(query.vectors[0], embedded.vectors[7], "{}", provider.label());
        assert_eq!(query.model, embedded.model);
        answers.push(embedded.vectors);
    }
    assert!(answers.iter().all(|vectors| *vectors == answers[0]));
}

#[tokio::test]
async fn models_are_named_with_their_revision_and_width() {
    let server = EmbeddingServer::start().await;
    let mut names = Vec::new();
    for provider in each(&server).await {
        let embedded = provider.embed(&texts(1), Purpose::Query).await.unwrap();
        names.push(embedded.model.to_string());
    }
    let [tei, openai, ollama] = <[String; 3]>::try_from(names).unwrap();
    let revision = tei.strip_prefix("tei/example/hashed-words@").and_then(|rest| rest.strip_suffix("/64"));
    assert_eq!(revision.map(str::len), Some(40), "{tei}");
    assert_eq!(openai, "openai/small=example/hashed-words/64");
    let digest = ollama.strip_prefix("ollama/all-minilm@").and_then(|rest| rest.strip_suffix("/64"));
    assert_eq!(digest.map(str::len), Some(64), "{ollama}");
}

#[tokio::test]
async fn batches_keep_to_what_the_server_accepts_and_go_in_parallel() {
    let server = EmbeddingServer::start().await;
    server.max_batch(8);
    let provider = tei(&server).await;
    server.misbehave(Fault::Slow(Duration::from_millis(500)));
    provider.embed(&texts(100), Purpose::Documents).await.unwrap();
    let asked = server.asked();
    assert_eq!((asked.largest, asked.requests, asked.texts), (8, 1 + 13, 1 + 100));
    assert_eq!(asked.at_once, 4);
}

#[tokio::test]
async fn a_limit_that_the_server_did_not_announce_is_found() {
    let server = EmbeddingServer::start().await;
    let tei = tei(&server).await;
    server.max_batch(10);
    assert_eq!(tei.embed(&texts(40), Purpose::Documents).await.unwrap().vectors.len(), 40);
    let before = server.asked().requests;
    tei.embed(&texts(40), Purpose::Documents).await.unwrap();
    assert_eq!(server.asked().requests - before, 5, "batches of 8 from the start");

    server.max_batch(100);
    let openai = openai(&server).await;
    assert_eq!(openai.embed(&texts(400), Purpose::Documents).await.unwrap().vectors.len(), 400);
}

#[tokio::test]
async fn texts_without_words_are_not_sent() {
    let server = EmbeddingServer::start().await;
    for provider in each(&server).await {
        let before = server.asked().texts;
        let texts = ["read".to_owned(), " \n".to_owned(), String::new(), "write".to_owned()];
        let embedded = provider.embed(&texts, Purpose::Documents).await.unwrap();
        let lengths: Vec<f32> = embedded.vectors.iter().map(|vector| dot(vector, vector).round()).collect();
        assert_eq!(lengths, [1.0, 0.0, 0.0, 1.0], "{}", provider.label());
        assert_eq!(server.asked().texts - before, 2);
        let silent = provider.embed(&texts[1..2], Purpose::Query).await.unwrap();
        assert_eq!((silent.vectors.len(), silent.model), (1, embedded.model));
    }
}

#[tokio::test]
async fn long_texts_are_cut_not_refused() {
    let server = EmbeddingServer::start().await;
    for provider in each(&server).await {
        let long = ["é many words ".repeat(10_000)];
        assert_eq!(provider.embed(&long, Purpose::Query).await.unwrap().vectors.len(), 1, "{}", provider.label());
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_start() {
    let dead = format!("http://127.0.0.1:{}", vmcp_tests::process::free_port());
    let error = Tei::connect(TeiOptions::new(dead.parse().unwrap(), SHORT)).await.err().unwrap();
    assert!(error.to_string().starts_with(&format!("tei {dead} cannot be reached: ")), "{error}");
}

#[tokio::test]
async fn a_server_that_cannot_embed_is_an_error_at_start() {
    let server = EmbeddingServer::start().await;
    server.misbehave(Fault::Status(500));
    let url = || server.url().parse().unwrap();
    let error = Tei::connect(TeiOptions::new(url(), TIMEOUT)).await.err().unwrap();
    assert!(matches!(error, EmbedError::Refused { status: 500, .. }), "{error}");
    server.misbehave(None);
    let error = Ollama::connect(OllamaOptions::new(url(), "missing", TIMEOUT)).await.err().unwrap();
    assert!(error.to_string().ends_with(r#"HTTP 404: model "missing" not found, try pulling it first"#), "{error}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_in_time() {
    let server = EmbeddingServer::start().await;
    let options = TeiOptions::new(server.url().parse().unwrap(), SHORT);
    let provider = Tei::connect(options).await.unwrap();
    server.misbehave(Fault::Hang);
    let begin = Instant::now();
    let error = error(&provider, 1).await;
    assert!(matches!(error, EmbedError::Timeout { timeout: SHORT, .. }), "{error}");
    assert!(begin.elapsed() >= SHORT);
}

#[tokio::test]
async fn passing_refusals_are_tried_again() {
    let server = EmbeddingServer::start().await;
    let provider = tei(&server).await;
    for fault in [Fault::Busy { retry_after: None }, Fault::Status(502), Fault::Status(503), Fault::Status(504)] {
        let before = server.asked().requests;
        server.misbehave_times(2, fault.clone());
        assert!(provider.embed(&texts(1), Purpose::Query).await.is_ok(), "{fault:?}");
        assert_eq!(server.asked().requests - before, 3, "{fault:?}");
    }
    let before = server.asked().requests;
    server.misbehave_times(1, Fault::Status(500));
    assert!(provider.embed(&texts(1), Purpose::Query).await.is_err(), "500 is no passing refusal");
    assert_eq!(server.asked().requests - before, 1);
}

#[tokio::test]
async fn the_wait_that_a_server_asks_for_is_kept_within_the_time_limit() {
    let server = EmbeddingServer::start().await;
    let provider = tei(&server).await;
    server.misbehave_times(1, Fault::Busy { retry_after: Some(1) });
    let begin = Instant::now();
    provider.embed(&texts(1), Purpose::Query).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));

    server.misbehave(Fault::Busy { retry_after: Some(3600) });
    let error = error(&provider, 1).await;
    assert!(error.to_string().contains("HTTP 429: Model is overloaded"), "{error}");
}

#[tokio::test]
async fn answers_that_do_not_fit_are_errors_with_both_numbers() {
    let server = EmbeddingServer::start().await;
    for provider in each(&server).await {
        for (fault, expected) in [
            (Fault::OneTooFew, "2 vectors for 3 texts"),
            (Fault::MixedWidths, "vectors of 64 and of 63 numbers in one answer"),
            (Fault::NotANumber, "a number of a vector is not finite"),
            (Fault::Infinite, "a number of a vector is not finite"),
            (Fault::WebPage, "not the JSON of this kind of server"),
        ] {
            server.misbehave(fault.clone());
            let error = error(&*provider, 3).await.to_string();
            assert!(error.contains(expected), "{fault:?}: {error}");
            assert!(error.starts_with(provider.label()), "{error}");
        }
        server.misbehave(None);
        assert!(provider.embed(&texts(3), Purpose::Query).await.is_ok());
    }
}

#[tokio::test]
async fn wrong_indices_are_errors() {
    let server = EmbeddingServer::start().await;
    let provider = openai(&server).await;
    for (fault, expected) in [(Fault::RepeatedIndex, "index 0 twice"), (Fault::IndexOutOfRange, "index 3 for 3 texts")]
    {
        server.misbehave(fault);
        let error = error(&provider, 3).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn keys_are_sent_and_never_shown() {
    let server = EmbeddingServer::start().await;
    server.require_key("sk-right-1234");
    let options = |key: &str| {
        let mut options = OpenAiOptions::new(server.openai_url().parse().unwrap(), "small", TIMEOUT);
        options.key = Some(key.into());
        options
    };
    assert!(OpenAi::connect(options("sk-right-1234")).await.is_ok());
    let error = OpenAi::connect(options("sk-wrong-1234")).await.err().unwrap().to_string();
    assert!(error.contains("HTTP 401: Incorrect API key provided: "), "{error}");
    assert!(!error.contains("sk-wrong"), "{error}");
    let error = OpenAi::connect(options("two\nlines")).await.err().unwrap().to_string();
    assert!(error.contains("line feed") && !error.contains("lines"), "{error}");
}

#[tokio::test]
async fn a_model_that_changes_during_a_run_gives_only_vectors_of_the_new_one() {
    for kind in 0..3 {
        let server = EmbeddingServer::start().await;
        server.max_batch(32);
        let provider = &each(&server).await[kind];
        let before = provider.embed(&texts(200), Purpose::Documents).await.unwrap();
        // OpenAI's answers name the model, so a mixture shows at once; the others are asked afterwards and do all again.
        server.change_model_after(2, "example/other-words");
        let run = provider.embed(&texts(200), Purpose::Documents).await.unwrap();
        assert_ne!(run.model, before.model);
        let fresh = provider.embed(&texts(200), Purpose::Documents).await.unwrap();
        assert_eq!((fresh.model, fresh.vectors), (run.model, run.vectors), "{}", provider.label());
    }
}

#[tokio::test]
async fn a_new_model_is_noticed_by_queries() {
    let server = EmbeddingServer::start().await;
    let mut options = TeiOptions::new(server.url().parse().unwrap(), TIMEOUT);
    options.model_believed_for = Duration::ZERO;
    let attentive = Tei::connect(options).await.unwrap();
    let trusting = tei(&server).await;
    let before = attentive.embed(&texts(1), Purpose::Query).await.unwrap();

    server.change_model("example/other-words");
    let after = attentive.embed(&texts(1), Purpose::Query).await.unwrap();
    assert_ne!(after.model, before.model);
    assert_ne!(after.vectors, before.vectors);
    let about_model = server.asked().about_model;
    assert_eq!(trusting.embed(&texts(1), Purpose::Query).await.unwrap().model, before.model);
    assert_eq!(server.asked().about_model, about_model, "a query costs one request while the model is believed");
}

#[tokio::test]
async fn a_disturbance_makes_queries_look_at_the_model_again() {
    let server = EmbeddingServer::start().await;
    let provider = tei(&server).await;
    let before = provider.embed(&texts(1), Purpose::Query).await.unwrap();
    server.change_model("example/other-words");
    server.misbehave_times(1, Fault::Status(503));
    let after = provider.embed(&texts(1), Purpose::Query).await.unwrap();
    assert_ne!(after.model, before.model);
}

#[tokio::test]
async fn another_width_is_another_model() {
    let server = EmbeddingServer::start().await;
    for provider in each(&server).await {
        let before = provider.embed(&texts(1), Purpose::Query).await.unwrap();
        server.misbehave(Fault::OtherWidth);
        let after = provider.embed(&texts(1), Purpose::Query).await.unwrap();
        assert!(after.model.as_str().ends_with("/63"), "{}", after.model);
        assert_ne!(after.model, before.model);
        server.misbehave(None);
    }
}

#[tokio::test]
async fn servers_that_do_not_name_their_model_are_told_apart_by_their_address() {
    let server = EmbeddingServer::start().await;
    server.hide_info();
    let provider = tei(&server).await;
    let embedded = provider.embed(&texts(40), Purpose::Documents).await.unwrap();
    assert_eq!(embedded.model.as_str(), format!("tei {}/64", server.url()));
    assert_eq!(server.asked().largest, 32);
}
