//! Questions, answers and refusals, as each kind of server words them.

use axum::{
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Fault, vector};

/// Most texts of a request, where a test does not say otherwise.
const TEI_BATCH: usize = 32;
const OPENAI_BATCH: usize = 2048;
/// Longest text that is not cut, in words.
const LONGEST_TEXT: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Tei,
    OpenAi,
    Ollama,
}

pub(super) struct Question {
    pub(super) texts: Vec<String>,
    model: Option<String>,
    truncate: bool,
}

pub(super) enum Refusal {
    Status(u16),
    /// With what `Retry-After` says.
    Busy(Option<u32>),
    Malformed(String),
    TooMany {
        texts: usize,
        allowed: usize,
    },
    TooLong(usize),
    NoTexts,
    WrongKey(String),
    NoModel(String),
}

impl Question {
    pub(super) fn read(language: Language, body: &[u8]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|error| Refusal::Malformed(error.to_string()))?;
        let texts = match language {
            Language::Tei => &body["inputs"],
            Language::OpenAi | Language::Ollama => &body["input"],
        };
        let texts = match texts {
            Value::String(text) => vec![text.clone()],
            Value::Array(texts) => texts.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => return Err(Refusal::Malformed("missing field for the texts".into())),
        };
        let model = body["model"].as_str().map(str::to_owned);
        if language != Language::Tei && model.is_none() {
            return Err(Refusal::Malformed("you must provide a model parameter".into()));
        }
        Ok(Self { texts, model, truncate: body["truncate"].as_bool().unwrap_or(language == Language::Ollama) })
    }

    pub(super) fn check(
        &self,
        language: Language,
        headers: &HeaderMap,
        key: Option<&str>,
        max_batch: Option<usize>,
    ) -> Result<(), Refusal> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let given = given.strip_prefix("Bearer ").unwrap_or_default();
        if key.is_some_and(|key| key != given) {
            return Err(Refusal::WrongKey(given.to_owned()));
        }
        if self.texts.is_empty() {
            return Err(Refusal::NoTexts);
        }
        let allowed = language.max_batch(max_batch);
        if self.texts.len() > allowed {
            return Err(Refusal::TooMany { texts: self.texts.len(), allowed });
        }
        let longest = self.texts.iter().map(|text| text.split_whitespace().count()).max().unwrap_or_default();
        if language == Language::Tei && !self.truncate && longest > LONGEST_TEXT {
            return Err(Refusal::TooLong(longest));
        }
        match &self.model {
            Some(model) if model == "missing" => Err(Refusal::NoModel(model.clone())),
            _ => Ok(()),
        }
    }
}

impl Language {
    /// - `wished`: what a test wants instead of the usual; Ollama knows no limit
    pub(super) fn max_batch(self, wished: Option<usize>) -> usize {
        match self {
            Self::Tei => wished.unwrap_or(TEI_BATCH),
            Self::OpenAi => wished.unwrap_or(OPENAI_BATCH),
            Self::Ollama => usize::MAX,
        }
    }

    pub(super) fn answer(
        self,
        model: &str,
        question: &Question,
        vectors: &[Vec<f64>],
        fault: Option<&Fault>,
    ) -> Response {
        let written: Vec<String> = vectors.iter().map(|vector| vector::json(vector)).collect();
        let asked = question.model.as_deref().unwrap_or_default();
        let tokens: usize = question.texts.iter().map(|text| text.split_whitespace().count()).sum();
        let body = match self {
            Self::Tei => format!("[{}]", written.join(",")),
            Self::OpenAi => {
                let index = |at: usize| match fault {
                    Some(Fault::RepeatedIndex) if at + 1 == written.len() => 0,
                    Some(Fault::IndexOutOfRange) => at + 1,
                    _ => at,
                };
                let item = |(at, vector): (usize, &String)| {
                    format!(r#"{{"object":"embedding","index":{},"embedding":{vector}}}"#, index(at))
                };
                let items: Vec<String> = written.iter().enumerate().rev().map(item).collect();
                let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
                let items = items.join(",");
                format!(r#"{{"object":"list","data":[{items}],"model":{},"usage":{usage}}}"#, json!(model))
            }
            Self::Ollama => format!(
                r#"{{"model":{},"embeddings":[{}],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":{tokens}}}"#,
                json!(asked),
                written.join(",")
            ),
        };
        respond(200, body)
    }

    pub(super) fn refuse(self, refusal: &Refusal) -> Response {
        let (status, message) = self.word(refusal);
        let body = match self {
            Self::Tei => json!({ "error": message, "error_type": tei_kind(refusal) }),
            Self::OpenAi => {
                let (kind, code) = openai_kind(refusal);
                json!({ "error": { "message": message, "type": kind, "param": null, "code": code } })
            }
            Self::Ollama => json!({ "error": message }),
        };
        let mut response = respond(status, body.to_string());
        if let Refusal::Busy(Some(wait)) = refusal {
            response.headers_mut().insert(header::RETRY_AFTER, (*wait).into());
        }
        response
    }

    fn word(self, refusal: &Refusal) -> (u16, String) {
        let is_tei = self == Self::Tei;
        match refusal {
            Refusal::Status(status) => (*status, "something went wrong".into()),
            Refusal::Busy(_) if is_tei => (429, "Model is overloaded".into()),
            Refusal::Busy(_) => (429, "Rate limit reached for requests".into()),
            Refusal::Malformed(message) => (if is_tei { 422 } else { 400 }, message.clone()),
            Refusal::TooMany { texts, allowed } if is_tei => {
                (413, format!("batch size {texts} > maximum allowed batch size {allowed}"))
            }
            Refusal::TooMany { texts, allowed } => {
                let expected = format!("Expected an array with maximum length {allowed}");
                (
                    400,
                    format!(
                        "Invalid 'input': array too long. {expected}, but got an array with length {texts} instead."
                    ),
                )
            }
            Refusal::TooLong(given) => {
                (413, format!("`inputs` must have less than {LONGEST_TEXT} tokens. Given: {given}"))
            }
            Refusal::NoTexts => (400, "`inputs` cannot be empty".into()),
            Refusal::WrongKey(key) => (401, format!("Incorrect API key provided: {key}.")),
            Refusal::NoModel(model) if self == Self::Ollama => {
                (404, format!("model \"{model}\" not found, try pulling it first"))
            }
            Refusal::NoModel(model) => (404, format!("The model `{model}` does not exist.")),
        }
    }
}

fn tei_kind(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Busy(_) => "Overloaded",
        Refusal::Malformed(_) => "Tokenizer",
        Refusal::Status(503) => "Unhealthy",
        Refusal::Status(_) => "Backend",
        Refusal::NoTexts => "Empty",
        _ => "Validation",
    }
}

fn openai_kind(refusal: &Refusal) -> (&'static str, Option<&'static str>) {
    match refusal {
        Refusal::Busy(_) => ("requests", Some("rate_limit_exceeded")),
        Refusal::Status(_) => ("server_error", None),
        Refusal::TooMany { .. } => ("invalid_request_error", Some("array_above_max_length")),
        Refusal::WrongKey(_) => ("invalid_request_error", Some("invalid_api_key")),
        Refusal::NoModel(_) => ("invalid_request_error", Some("model_not_found")),
        _ => ("invalid_request_error", None),
    }
}

/// `GET /info` of text-embeddings-inference.
pub(super) fn info(model: &str, max_batch: usize) -> Response {
    let body = json!({
        "model_id": model,
        "model_sha": &digest(model)[..40],
        "model_dtype": "float32",
        "model_type": { "embedding": { "pooling": "mean" } },
        "max_concurrent_requests": 512,
        "max_input_length": LONGEST_TEXT,
        "max_batch_tokens": 16384,
        "max_batch_requests": null,
        "max_client_batch_size": max_batch,
        "auto_truncate": false,
        "tokenization_workers": 2,
        "version": "1.7.0",
        "sha": null,
        "docker_label": null,
    });
    respond(200, body.to_string())
}

/// `GET /api/tags` of Ollama: two models, the second of which is the one that answers.
pub(super) fn tags(model: &str) -> Response {
    let tag = |name: &str, digest: String| {
        json!({
            "name": name,
            "model": name,
            "modified_at": "2026-01-02T03:04:05.678901234Z",
            "size": 45_960_996,
            "digest": digest,
            "details": { "parent_model": "", "format": "gguf", "family": "bert", "families": ["bert"], "parameter_size": "23M", "quantization_level": "F16" },
        })
    };
    let body = json!({ "models": [tag("llama3.2:latest", digest("llama")), tag("all-minilm:latest", digest(model))] });
    respond(200, body.to_string())
}

pub(super) fn absent() -> Response {
    respond(404, r#"{"detail":"Not Found"}"#.into())
}

fn digest(model: &str) -> String {
    format!("{:x}", Sha256::digest(model))
}

fn respond(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).expect("a test asks for a status that there is");
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
