//! Texts become vectors of their meaning. A provider says with every answer which model gave it, so that vectors of different
//! models are never compared.

pub mod builtin;
mod http;
pub mod ollama;
pub mod openai;
mod remote;
pub mod tei;
pub mod unit;
pub mod wordpiece;

use std::{fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;

/// Turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// The provider and where it is, for people, e.g. `tei http://127.0.0.1:8080`.
    fn label(&self) -> &str;

    /// One vector of length 1 per text, in order; zeros where a text has none. Splits into batches, waits and tries again as
    /// the provider needs it.
    fn embed<'a>(&'a self, texts: &'a [String], purpose: Purpose) -> BoxFuture<'a, Result<Embedded, EmbedError>>;

    /// Whether it answers at once and without anything outside of the host.
    fn is_built_in(&self) -> bool {
        false
    }
}

/// What the vectors are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Documents of the index: there may be thousands, nobody waits for them.
    Documents,
    /// A search that somebody waits for.
    Query,
}

/// Vectors, and the model that made them.
#[derive(Clone, Debug)]
pub struct Embedded {
    pub model: ModelId,
    pub vectors: Vec<Vec<f32>>,
}

/// Identifies a model and its revision; equal ids give comparable vectors.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct ModelId(Arc<str>);

impl ModelId {
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbedError {
    /// What is configured cannot work, whatever the server.
    #[error("{provider} cannot be used: {reason}")]
    Unusable { provider: String, reason: String },
    #[error("{provider} did not answer within {timeout:?}")]
    Timeout { provider: String, timeout: Duration },
    #[error("{provider} cannot be reached: {reason}")]
    Unreachable { provider: String, reason: String },
    #[error("{provider} refused: HTTP {status}: {message}")]
    Refused { provider: String, status: u16, message: String },
    /// The answer is not what was asked for: another count, another width, no JSON.
    #[error("{provider} answered with something else: {message}")]
    BadReply { provider: String, message: String },
    /// A model inside of the host gave no vectors.
    #[error("{provider} failed: {reason}")]
    Failed { provider: String, reason: String },
    /// The model is another than a moment ago.
    #[error("{provider} changed its model from {earlier} to {now} while it was at work")]
    ModelChanged { provider: String, earlier: ModelId, now: ModelId },
}
