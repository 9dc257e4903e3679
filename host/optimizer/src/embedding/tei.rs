//! Embedding servers of the Hugging Face kind (text-embeddings-inference): `POST /embed`, and `GET /info` about the model.

use std::time::Duration;

use futures::future::BoxFuture;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tracing::warn;
use url::Url;

use super::{
    EmbedError,
    http::{HttpClient, is_absent},
    remote::{Batch, BatchLimits, MODEL_BELIEVED_FOR, Remote, Wire},
};

/// Texts per request where the server does not say; its own default.
const BATCH: usize = 32;
/// Bytes per request, well within the two megabytes that the server accepts by default.
const BATCH_BYTES: usize = 1024 * 1024;
const LONGEST_INFO: usize = 64 * 1024;

/// A server of the Hugging Face kind.
pub type Tei = Remote<TeiWire>;

/// Where it is and how long it may take.
#[derive(Clone)]
pub struct TeiOptions {
    /// E.g. `http://127.0.0.1:8080`.
    pub url: Url,
    /// Sent with every request.
    pub headers: HeaderMap,
    /// For one request with all its tries.
    pub timeout: Duration,
    /// How long a model is believed to be the same while only queries come.
    pub model_believed_for: Duration,
}

impl TeiOptions {
    pub fn new(url: Url, timeout: Duration) -> Self {
        Self { url, headers: HeaderMap::new(), timeout, model_believed_for: MODEL_BELIEVED_FOR }
    }
}

impl Tei {
    /// Asks for the model and embeds one text, so that what cannot work fails here.
    pub async fn connect(options: TeiOptions) -> Result<Self, EmbedError> {
        let http = HttpClient::new(TeiWire::NAME, options.url, options.headers, options.timeout)?;
        let info: Option<Info> = match http.get("info", LONGEST_INFO).await {
            Ok(info) => Some(info),
            // Servers that speak the same language need not have this page.
            Err(error) if is_absent(&error) => {
                warn!(%error, "an embedding server does not say which model it runs; a change of it may go unseen");
                None
            }
            Err(error) => return Err(error),
        };
        let batch = info.as_ref().and_then(|info| info.max_client_batch_size).unwrap_or(BATCH);
        let wire = TeiWire { http, batch, has_info: info.is_some_and(|info| info.model_id.is_some()) };
        Self::start(wire, options.model_believed_for).await
    }
}

/// Requests and answers of these servers.
pub struct TeiWire {
    http: HttpClient,
    batch: usize,
    has_info: bool,
}

#[derive(Serialize)]
struct Question<'a> {
    inputs: &'a [&'a str],
    truncate: bool,
}

#[derive(Deserialize)]
struct Info {
    model_id: Option<String>,
    /// The commit of the model's repository.
    model_sha: Option<String>,
    max_client_batch_size: Option<usize>,
}

impl Wire for TeiWire {
    const NAME: &'static str = "tei";

    fn limits(&self) -> BatchLimits {
        BatchLimits { texts: self.batch, bytes: BATCH_BYTES }
    }

    fn batch<'a>(&'a self, texts: &'a [&'a str], longest: usize) -> BoxFuture<'a, Result<Batch, EmbedError>> {
        Box::pin(async move {
            let question = Question { inputs: texts, truncate: true };
            let vectors = self.http.post("embed", &question, longest).await?;
            Ok(Batch { model: None, vectors })
        })
    }

    fn revision(&self) -> BoxFuture<'_, Result<Option<String>, EmbedError>> {
        Box::pin(async move {
            if !self.has_info {
                return Ok(None);
            }
            let info: Info = self.http.get("info", LONGEST_INFO).await?;
            let Some(model) = info.model_id else { return Err(self.http.bad_reply("no `model_id` in /info any more")) };
            Ok(Some(format!("{model}@{}", info.model_sha.as_deref().unwrap_or("unknown"))))
        })
    }

    fn http(&self) -> &HttpClient {
        &self.http
    }
}
