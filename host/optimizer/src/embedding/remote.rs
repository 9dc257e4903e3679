//! What all providers outside of the host have in common: batches, several at a time, vectors that are checked, and a model
//! that may change while they are at work.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use tracing::{info, warn};

use super::{EmbedError, Embedded, Embedder, ModelId, Purpose, http::HttpClient, unit};

/// How long a model is believed to be the same while only queries come.
pub(super) const MODEL_BELIEVED_FOR: Duration = Duration::from_secs(30);
/// Batches that a server gets at the same time.
const PARALLEL: usize = 4;
/// What any answer may be long, plus so much per text: more than 4,096 numbers written out.
const BASE_ANSWER: usize = 1024 * 1024;
const ANSWER_PER_TEXT: usize = 128 * 1024;
/// Embedded once at start, to see that it can be done.
const TRIAL: &str = "list the files of a folder";

/// What differs from one kind of server to the next.
pub trait Wire: Send + Sync {
    /// The kind's name, as in the configuration.
    const NAME: &'static str;

    /// What a request may hold.
    fn limits(&self) -> BatchLimits;

    /// Asks for the vectors of one batch.
    fn batch<'a>(&'a self, texts: &'a [&'a str], longest: usize) -> BoxFuture<'a, Result<Batch, EmbedError>>;

    /// Asks which model the server runs, in which revision; `None` where servers of this kind cannot tell.
    fn revision(&self) -> BoxFuture<'_, Result<Option<String>, EmbedError>>;

    fn http(&self) -> &HttpClient;
}

/// What one request may hold.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    pub texts: usize,
    /// Bytes of all texts together; one text may always go.
    pub bytes: usize,
}

/// The answer to one batch.
#[derive(Debug)]
pub struct Batch {
    /// The model that the answer itself names.
    pub model: Option<String>,
    /// One per text, in order, as the server gave them.
    pub vectors: Vec<Vec<f32>>,
}

/// A provider that is a server.
pub struct Remote<W> {
    wire: W,
    /// How long a model is believed to be the same while only queries come.
    believed_for: Duration,
    known: Mutex<Known>,
    /// Texts per request, made smaller when the server refuses so many.
    batch_texts: AtomicUsize,
}

/// The model as last seen.
#[derive(Clone)]
struct Known {
    model: Model,
    seen: Option<Instant>,
}

/// What tells one model from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    revision: Option<String>,
    width: usize,
}

/// Vectors of unknown age, with what the answers said of the model.
struct Gathered {
    named: Option<String>,
    width: usize,
    vectors: Vec<Vec<f32>>,
}

impl<W: Wire> Remote<W> {
    /// Proves that one text can be embedded.
    ///
    /// - `believed_for`: how long a model is believed to be the same while only queries come
    pub(super) async fn start(wire: W, believed_for: Duration) -> Result<Self, EmbedError> {
        let limits = wire.limits();
        let unknown = Known { model: Model { revision: None, width: 0 }, seen: None };
        let remote =
            Self { wire, believed_for, known: Mutex::new(unknown), batch_texts: AtomicUsize::new(limits.texts.max(1)) };
        let revision = remote.wire.revision().await?;
        let trial = remote.gather(&[TRIAL]).await?;
        let model = Model { revision: trial.named.or(revision), width: trial.width };
        info!(provider = remote.label(), model = %remote.id(&model), "the embedding provider answers");
        drop(remote.remember(model));
        Ok(remote)
    }

    async fn embed_all(&self, texts: &[String], purpose: Purpose) -> Result<Embedded, EmbedError> {
        let spoken: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.trim().is_empty()).collect();
        if spoken.is_empty() {
            let Known { model, .. } = self.known();
            let vectors = vec![vec![0.0; model.width]; texts.len()];
            return Ok(Embedded { model: self.id(&model), vectors });
        }
        let (model, vectors) = self.embed_under_one_model(&spoken, purpose).await?;
        let mut vectors = vectors.into_iter();
        let silent = || vec![0.0; model.width];
        let place = |text: &String| match text.trim().is_empty() {
            true => silent(),
            false => vectors.next().unwrap_or_else(silent),
        };
        Ok(Embedded { model: self.id(&model), vectors: texts.iter().map(place).collect() })
    }

    /// Once more where the model changed meanwhile: vectors of two models cannot be told apart afterwards.
    async fn embed_under_one_model(
        &self,
        texts: &[&str],
        purpose: Purpose,
    ) -> Result<(Model, Vec<Vec<f32>>), EmbedError> {
        let mut before = match purpose {
            Purpose::Documents => Model { revision: self.wire.revision().await?, ..self.known().model },
            Purpose::Query => self.known().model,
        };
        let mut is_second = false;
        loop {
            let changed = match self.gather(texts).await {
                Ok(gathered) => {
                    let now = self.model_after(&gathered, purpose).await?;
                    // An answer that names its model needs no comparison.
                    if gathered.named.is_some() || now == before {
                        return Ok((now, gathered.vectors));
                    }
                    let earlier = std::mem::replace(&mut before, now);
                    self.changed(&earlier, &before)
                }
                Err(error @ EmbedError::ModelChanged { .. }) => error,
                Err(error) => return Err(error),
            };
            if is_second {
                return Err(changed);
            }
            warn!(error = %changed, "texts are embedded once more");
            is_second = true;
        }
    }

    fn changed(&self, earlier: &Model, now: &Model) -> EmbedError {
        let provider = self.label().into();
        EmbedError::ModelChanged { provider, earlier: self.id(earlier), now: self.id(now) }
    }

    /// The model after an answer: as the answer says, else as the server says, who is not asked after each query.
    async fn model_after(&self, gathered: &Gathered, purpose: Purpose) -> Result<Model, EmbedError> {
        let width = gathered.width;
        if gathered.named.is_some() {
            return Ok(self.remember(Model { revision: gathered.named.clone(), width }));
        }
        let Known { model, seen } = self.known();
        let disturbed = self.wire.http().was_disturbed();
        let fresh = seen.is_some_and(|seen| seen.elapsed() < self.believed_for);
        if purpose == Purpose::Query && fresh && !disturbed && model.width == width {
            return Ok(model);
        }
        Ok(self.remember(Model { revision: self.wire.revision().await?, width }))
    }

    /// Again with smaller batches where the server refuses so many texts at once.
    async fn gather(&self, texts: &[&str]) -> Result<Gathered, EmbedError> {
        loop {
            let batch_texts = self.batch_texts.load(Ordering::Relaxed).min(texts.len());
            match self.gather_in_batches(texts, batch_texts).await {
                Err(error) if batch_texts > 1 && is_too_many(&error) => {
                    warn!(%error, "an embedding server gets smaller batches");
                    self.batch_texts.fetch_min(batch_texts / 2, Ordering::Relaxed);
                }
                gathered => return gathered,
            }
        }
    }

    async fn gather_in_batches(&self, texts: &[&str], batch_texts: usize) -> Result<Gathered, EmbedError> {
        let limits = BatchLimits { texts: batch_texts, ..self.wire.limits() };
        let batches: Vec<_> = split(texts, limits).into_iter().map(|batch| self.batch(batch)).collect();
        let answers: Vec<Batch> = stream::iter(batches).buffered(PARALLEL).try_collect().await?;
        let named = answers.first().and_then(|answer| answer.model.clone());
        if let Some(other) = answers.iter().find(|answer| answer.model != named) {
            let model = |revision: &Option<String>| Model { revision: revision.clone(), width: 0 };
            return Err(self.changed(&model(&named), &model(&other.model)));
        }
        let mut vectors: Vec<Vec<f32>> = answers.into_iter().flat_map(|answer| answer.vectors).collect();
        let width = self.check(&vectors)?;
        vectors.iter_mut().for_each(|vector| unit::normalise(vector));
        Ok(Gathered { named, width, vectors })
    }

    async fn batch(&self, texts: &[&str]) -> Result<Batch, EmbedError> {
        let batch = self.wire.batch(texts, BASE_ANSWER + texts.len() * ANSWER_PER_TEXT).await?;
        match batch.vectors.len() == texts.len() {
            true => Ok(batch),
            false => {
                Err(self.wire.http().bad_reply(format!("{} vectors for {} texts", batch.vectors.len(), texts.len())))
            }
        }
    }

    /// The width of all `vectors`.
    fn check(&self, vectors: &[Vec<f32>]) -> Result<usize, EmbedError> {
        let bad = |message: String| Err(self.wire.http().bad_reply(message));
        let width = vectors.first().map_or(0, Vec::len);
        if width == 0 {
            return bad("vectors without numbers".into());
        }
        if let Some(other) = vectors.iter().find(|vector| vector.len() != width) {
            return bad(format!("vectors of {width} and of {} numbers in one answer", other.len()));
        }
        match vectors.iter().flatten().all(|number| number.is_finite()) {
            true => Ok(width),
            false => bad("a number of a vector is not finite".into()),
        }
    }

    fn id(&self, model: &Model) -> ModelId {
        let name = W::NAME;
        match &model.revision {
            Some(revision) => ModelId::new(format!("{name}/{revision}/{}", model.width)),
            // Who cannot name its model is told from others by where it is.
            None => ModelId::new(format!("{}/{}", self.wire.http().label(), model.width)),
        }
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, model: Model) -> Model {
        let known = Known { model: model.clone(), seen: Some(Instant::now()) };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        model
    }
}

impl<W: Wire> Embedder for Remote<W> {
    fn label(&self) -> &str {
        self.wire.http().label()
    }

    fn embed<'a>(&'a self, texts: &'a [String], purpose: Purpose) -> BoxFuture<'a, Result<Embedded, EmbedError>> {
        Box::pin(self.embed_all(texts, purpose))
    }
}

fn is_too_many(error: &EmbedError) -> bool {
    match error {
        EmbedError::Refused { status: 413, .. } => true,
        EmbedError::Refused { status: 400 | 422, message, .. } => {
            ["batch size", "array too long"].iter().any(|words| message.contains(words))
        }
        _ => false,
    }
}

/// Batches in order, each within `limits`.
fn split<'a, 't>(texts: &'a [&'t str], limits: BatchLimits) -> Vec<&'a [&'t str]> {
    let mut batches = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (index, text) in texts.iter().enumerate() {
        let is_full = index - start == limits.texts || bytes + text.len() > limits.bytes;
        if is_full && index > start {
            batches.push(&texts[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += text.len();
    }
    if start < texts.len() {
        batches.push(&texts[start..]);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_both_limits() {
        let check = |texts: &[&str], expected: &[usize]| {
            let batches = split(texts, BatchLimits { texts: 3, bytes: 10 });
            assert_eq!(batches.iter().map(|batch| batch.len()).collect::<Vec<_>>(), expected);
            assert_eq!(batches.concat(), texts);
        };
        check(&[], &[]);
        check(&["a"], &[1]);
        check(&["a", "b", "c", "d"], &[3, 1]);
        check(&["12345", "12345", "1"], &[2, 1]);
        // Too long for any batch: goes alone, and the server says what it thinks of it.
        check(&["12345678901", "1", "12345678901"], &[1, 1, 1]);
    }
}
