//! Embedding servers that speak OpenAI's language, which many do: `POST {base}/embeddings`.

use std::time::Duration;

use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    EmbedError,
    http::HttpClient,
    remote::{Batch, BatchLimits, MODEL_BELIEVED_FOR, Remote, Wire},
};

/// Texts per request that OpenAI accepts.
const BATCH: usize = 2048;
/// Below the 300,000 tokens per request of OpenAI, whatever the texts: a token is a byte at least.
const BATCH_BYTES: usize = 250_000;
/// Below the 8,191 tokens per text of OpenAI's models, for the same reason. Longer texts are cut, not refused.
const TEXT_BYTES: usize = 8_000;

/// A server that speaks OpenAI's language.
pub type OpenAi = Remote<OpenAiWire>;

/// Where it is, which model is wanted, and how long it may take.
#[derive(Clone)]
pub struct OpenAiOptions {
    /// What `/embeddings` is appended to, e.g. `https://api.openai.com/v1`.
    pub url: Url,
    pub model: String,
    /// Sent as bearer token unless it is empty.
    pub key: Option<String>,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// For one request with all its tries.
    pub timeout: Duration,
}

impl OpenAiOptions {
    pub fn new(url: Url, model: impl Into<String>, timeout: Duration) -> Self {
        Self { url, model: model.into(), key: None, headers: HeaderMap::new(), timeout }
    }
}

impl OpenAi {
    /// Embeds one text, so that what cannot work fails here.
    pub async fn connect(options: OpenAiOptions) -> Result<Self, EmbedError> {
        let OpenAiOptions { url, model, key, mut headers, timeout } = options;
        let key = key.filter(|key| !key.is_empty());
        let bearer = key.map(|key| HeaderValue::try_from(format!("Bearer {key}"))).transpose();
        let bad_key = bearer.is_err();
        if let Ok(Some(mut bearer)) = bearer {
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = HttpClient::new(OpenAiWire::NAME, url, headers, timeout)?;
        if bad_key {
            let reason = "its key has characters that no header may have, e.g. a line feed".into();
            return Err(EmbedError::Unusable { provider: http.label().into(), reason });
        }
        // Every answer names its model, so there is nothing to believe.
        Self::start(OpenAiWire { http, model }, MODEL_BELIEVED_FOR).await
    }
}

/// Requests and answers of these servers.
pub struct OpenAiWire {
    http: HttpClient,
    model: String,
}

#[derive(Serialize)]
struct Question<'a> {
    model: &'a str,
    input: Vec<&'a str>,
    encoding_format: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    model: Option<String>,
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Vec<f32>,
}

impl Wire for OpenAiWire {
    const NAME: &'static str = "openai";

    fn limits(&self) -> BatchLimits {
        BatchLimits { texts: BATCH, bytes: BATCH_BYTES }
    }

    fn batch<'a>(&'a self, texts: &'a [&'a str], longest: usize) -> BoxFuture<'a, Result<Batch, EmbedError>> {
        Box::pin(async move {
            let input = texts.iter().map(|text| &text[..text.floor_char_boundary(TEXT_BYTES)]).collect();
            let question = Question { model: &self.model, input, encoding_format: "float" };
            let answer: Answer = self.http.post("embeddings", &question, longest).await?;
            let model = match answer.model {
                Some(served) if served != self.model => format!("{}={served}", self.model),
                _ => self.model.clone(),
            };
            let vectors = in_order(answer.data, texts.len()).map_err(|message| self.http.bad_reply(message))?;
            Ok(Batch { model: Some(model), vectors })
        })
    }

    fn revision(&self) -> BoxFuture<'_, Result<Option<String>, EmbedError>> {
        Box::pin(async { Ok(None) })
    }

    fn http(&self) -> &HttpClient {
        &self.http
    }
}

/// The vectors by their `index`, which need not be the order of the answer.
fn in_order(items: Vec<Item>, count: usize) -> Result<Vec<Vec<f32>>, String> {
    if items.len() != count {
        return Err(format!("{} vectors for {count} texts", items.len()));
    }
    let mut places: Vec<Option<Vec<f32>>> = vec![None; count];
    for Item { index, embedding } in items {
        match places.get_mut(index) {
            None => return Err(format!("index {index} for {count} texts")),
            Some(Some(_)) => return Err(format!("index {index} twice")),
            Some(place) => *place = Some(embedding),
        }
    }
    // As many as places, none twice: all are filled.
    Ok(places.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_are_ordered_by_their_index() {
        let check = |indices: &[usize], count: usize, expected: Result<&[f32], &str>| {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let items = indices.iter().map(|index| Item { index: *index, embedding: vec![*index as f32] }).collect();
            let got = in_order(items, count).map(|vectors| vectors.concat());
            assert_eq!(got.as_deref().map_err(String::as_str), expected);
        };
        check(&[0, 1], 2, Ok(&[0.0, 1.0]));
        check(&[2, 0, 1], 3, Ok(&[0.0, 1.0, 2.0]));
        check(&[0, 2], 2, Err("index 2 for 2 texts"));
        check(&[1, 1], 2, Err("index 1 twice"));
        check(&[0], 2, Err("1 vectors for 2 texts"));
        check(&[0, 1, 2], 2, Err("3 vectors for 2 texts"));
    }
}
