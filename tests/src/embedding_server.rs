//! `EmbeddingServer`: speaks what text-embeddings-inference, OpenAI and Ollama speak, all at one address, and misbehaves when
//! a test asks for it.
//!
//! Its vectors are hashed words, so that similar texts are near each other. They are not of length 1, and OpenAI's come in
//! reverse order, because nobody promises otherwise.

mod language;
mod vector;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::HeaderMap,
    response::Response,
    routing::{get, post},
};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

use self::language::{Language, Question, Refusal};

/// Numbers of a vector.
pub const WIDTH: usize = 64;

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct EmbeddingServer {
    url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a request for vectors meets instead of them.
#[derive(Clone, Debug)]
pub enum Fault {
    /// No answer, ever.
    Hang,
    /// The right answer, late.
    Slow(Duration),
    Status(u16),
    /// Too many requests; the wait in seconds is what `Retry-After` says.
    Busy {
        retry_after: Option<u32>,
    },
    /// All vectors have one number less.
    OtherWidth,
    /// The last vector has one number less.
    MixedWidths,
    /// The last vector is missing.
    OneTooFew,
    /// A number is `NaN`, as some servers write it.
    NotANumber,
    /// A number is too large for 32 bits.
    Infinite,
    /// The first vector comes twice, the last not at all (OpenAI only).
    RepeatedIndex,
    /// All indices are one too high (OpenAI only).
    IndexOutOfRange,
    /// A web page with status 200.
    WebPage,
}

/// What was asked so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// Requests for vectors.
    pub requests: usize,
    /// Texts in them, of refused requests too.
    pub texts: usize,
    /// Texts of the largest request.
    pub largest: usize,
    /// Requests that were there at the same time.
    pub at_once: usize,
    /// Requests about the model.
    pub about_model: usize,
}

#[derive(Debug, Default)]
struct Shared(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    model: String,
    /// The model from the request of this number on.
    next_model: Option<(usize, String)>,
    /// Instead of each kind's own limit.
    max_batch: Option<usize>,
    key: Option<String>,
    has_info: bool,
    /// With the number of requests that it is for.
    fault: Option<(Fault, usize)>,
    asked: Asked,
    now: usize,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            model: "example/hashed-words".into(),
            next_model: None,
            max_batch: None,
            key: None,
            has_info: true,
            fault: None,
            asked: Asked::default(),
            now: 0,
        }
    }
}

impl EmbeddingServer {
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let router = Router::new()
            .route("/embed", post(|state, headers, body| embed(Language::Tei, state, headers, body)))
            .route("/v1/embeddings", post(|state, headers, body| embed(Language::OpenAi, state, headers, body)))
            .route("/api/embed", post(|state, headers, body| embed(Language::Ollama, state, headers, body)))
            .route("/info", get(info))
            .route("/api/tags", get(tags))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "ended by `drop`")]
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// For TEI and Ollama.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn openai_url(&self) -> String {
        format!("{}/v1", self.url)
    }

    pub fn asked(&self) -> Asked {
        self.shared.lock().asked
    }

    /// From now on; `None` ends it.
    pub fn misbehave(&self, fault: impl Into<Option<Fault>>) {
        self.shared.lock().fault = fault.into().map(|fault| (fault, usize::MAX));
    }

    /// For the next `requests` requests.
    pub fn misbehave_times(&self, requests: usize, fault: Fault) {
        self.shared.lock().fault = Some((fault, requests));
    }

    /// Another model, with other vectors.
    pub fn change_model(&self, name: &str) {
        self.change_model_after(0, name);
    }

    /// The same once so many more requests for vectors were answered.
    pub fn change_model_after(&self, requests: usize, name: &str) {
        let mut inner = self.shared.lock();
        inner.next_model = Some((inner.asked.requests + requests, name.into()));
    }

    /// Requests with more texts are refused.
    pub fn max_batch(&self, texts: usize) {
        self.shared.lock().max_batch = Some(texts);
    }

    /// Requests without this bearer token are refused.
    pub fn require_key(&self, key: &str) {
        self.shared.lock().key = Some(key.into());
    }

    /// No page about the model.
    pub fn hide_info(&self) {
        self.shared.lock().has_info = false;
    }
}

impl Drop for EmbeddingServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn model(&mut self) -> String {
        if let Some((from, name)) = &self.next_model
            && self.asked.requests >= *from
        {
            self.model.clone_from(name);
            self.next_model = None;
        }
        self.model.clone()
    }

    fn next_fault(&mut self) -> Option<Fault> {
        let (fault, left) = self.fault.as_mut()?;
        *left = left.checked_sub(1)?;
        Some(fault.clone())
    }

    fn note(&mut self, texts: usize) {
        self.now += 1;
        let Asked { requests, at_once, largest, texts: all, .. } = &mut self.asked;
        *requests += 1;
        *all += texts;
        *largest = texts.max(*largest);
        *at_once = self.now.max(*at_once);
    }
}

/// Counts a request as present.
struct Presence(Arc<Shared>);

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.lock().now -= 1;
    }
}

async fn embed(language: Language, State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let question = match Question::read(language, &body) {
        Ok(question) => question,
        Err(refusal) => return language.refuse(&refusal),
    };
    let (model, fault, max_batch, key) = {
        let mut inner = shared.lock();
        let model = inner.model();
        inner.note(question.texts.len());
        (model, inner.next_fault(), inner.max_batch, inner.key.clone())
    };
    let _presence = Presence(Arc::clone(&shared));
    match &fault {
        Some(Fault::Hang) => std::future::pending::<()>().await,
        Some(Fault::Slow(wait)) => sleep(*wait).await,
        Some(Fault::Status(status)) => return language.refuse(&Refusal::Status(*status)),
        Some(Fault::Busy { retry_after }) => return language.refuse(&Refusal::Busy(*retry_after)),
        Some(Fault::WebPage) => return Response::new("<html>nothing to see</html>".into()),
        _ => {}
    }
    if let Err(refusal) = question.check(language, &headers, key.as_deref(), max_batch) {
        return language.refuse(&refusal);
    }
    let mut vectors: Vec<Vec<f64>> = question.texts.iter().map(|text| vector::of(text, &model)).collect();
    match &fault {
        Some(Fault::OtherWidth) => vectors.iter_mut().for_each(|vector| vector.truncate(WIDTH - 1)),
        Some(Fault::MixedWidths) => vectors.iter_mut().skip(1).for_each(|vector| vector.truncate(WIDTH - 1)),
        Some(Fault::OneTooFew) => drop(vectors.pop()),
        Some(Fault::NotANumber) => vectors.iter_mut().for_each(|vector| vector[0] = f64::NAN),
        Some(Fault::Infinite) => vectors.iter_mut().for_each(|vector| vector[0] = 1e39),
        _ => {}
    }
    language.answer(&model, &question, &vectors, fault.as_ref())
}

async fn info(State(shared): State<Arc<Shared>>) -> Response {
    let mut inner = shared.lock();
    inner.asked.about_model += 1;
    let model = inner.model();
    match inner.has_info {
        true => language::info(&model, Language::Tei.max_batch(inner.max_batch)),
        false => language::absent(),
    }
}

async fn tags(State(shared): State<Arc<Shared>>) -> Response {
    let mut inner = shared.lock();
    inner.asked.about_model += 1;
    let model = inner.model();
    match inner.has_info {
        true => language::tags(&model),
        false => language::absent(),
    }
}
