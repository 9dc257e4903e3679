//! Ollama: `POST /api/embed`, and `GET /api/tags` about the models it holds.

use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    EmbedError,
    http::{HttpClient, is_absent},
    remote::{Batch, BatchLimits, MODEL_BELIEVED_FOR, Remote, Wire},
};

/// Texts per request: Ollama has no limit, but nothing of a request is answered before all of it is.
const BATCH: usize = 64;
const BATCH_BYTES: usize = 1024 * 1024;
const LONGEST_TAGS: usize = 8 * 1024 * 1024;
/// What a name without a tag means.
const DEFAULT_TAG: &str = "latest";

/// An Ollama server.
pub type Ollama = Remote<OllamaWire>;

/// Where it is, which model is wanted, and how long it may take.
#[derive(Clone)]
pub struct OllamaOptions {
    /// E.g. `http://127.0.0.1:11434`.
    pub url: Url,
    /// As `ollama list` names it; without a tag, `latest`.
    pub model: String,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// For one request with all its tries; the first one loads the model.
    pub timeout: Duration,
    /// How long a model is believed to be the same while only queries come.
    pub model_believed_for: Duration,
}

impl OllamaOptions {
    pub fn new(url: Url, model: impl Into<String>, timeout: Duration) -> Self {
        let headers = HeaderMap::new();
        Self { url, model: model.into(), headers, timeout, model_believed_for: MODEL_BELIEVED_FOR }
    }
}

impl Ollama {
    /// Asks for the model and embeds one text, so that what cannot work fails here.
    pub async fn connect(options: OllamaOptions) -> Result<Self, EmbedError> {
        let http = HttpClient::new(OllamaWire::NAME, options.url, options.headers, options.timeout)?;
        Self::start(OllamaWire { http, model: options.model }, options.model_believed_for).await
    }
}

/// Requests and answers of Ollama.
pub struct OllamaWire {
    http: HttpClient,
    model: String,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: &'a [&'a str],
    truncate: bool,
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    digest: String,
}

impl Wire for OllamaWire {
    const NAME: &'static str = "ollama";

    fn limits(&self) -> BatchLimits {
        BatchLimits { texts: BATCH, bytes: BATCH_BYTES }
    }

    fn batch<'a>(&'a self, texts: &'a [&'a str], longest: usize) -> BoxFuture<'a, Result<Batch, EmbedError>> {
        Box::pin(async move {
            let question = Question { model: &self.model, input: texts, truncate: true };
            let answer: Answer = self.http.post("api/embed", &question, longest).await?;
            Ok(Batch { model: None, vectors: answer.embeddings })
        })
    }

    /// The digest of the model's files; its name where the server has no list, as stand-ins for Ollama may not.
    fn revision(&self) -> BoxFuture<'_, Result<Option<String>, EmbedError>> {
        Box::pin(async move {
            let tags = match self.http.get::<Tags>("api/tags", LONGEST_TAGS).await {
                Ok(tags) => tags.models,
                Err(error) if is_absent(&error) => Vec::new(),
                Err(error) => return Err(error),
            };
            let found = tags.into_iter().find(|tag| is_same_model(&tag.name, &self.model));
            let digest = found.map_or_else(|| "unknown".into(), |tag| tag.digest);
            Ok(Some(format!("{}@{digest}", self.model)))
        })
    }

    fn http(&self) -> &HttpClient {
        &self.http
    }
}

fn is_same_model(left: &str, right: &str) -> bool {
    let full = |name: &str| {
        let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if has_tag { name.to_owned() } else { format!("{name}:{DEFAULT_TAG}") }
    };
    full(left) == full(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_the_latest() {
        let check = |left: &str, right: &str, expected: bool| assert_eq!(is_same_model(left, right), expected);
        check("all-minilm:latest", "all-minilm", true);
        check("all-minilm:33m", "all-minilm", false);
        check("registry:5000/all-minilm:latest", "registry:5000/all-minilm", true);
    }
}
