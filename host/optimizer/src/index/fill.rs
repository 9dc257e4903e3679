//! Vectors for all documents: from the image that serves, else from the cache, else from the provider.

use std::{
    collections::{HashMap, HashSet},
    panic::resume_unwind,
    sync::Arc,
};

use vmcp_core::ranking::DocumentForm;

use super::{
    Index,
    dense::{DenseImage, quantise},
    snapshot::{Placed, Snapshot},
    storage::TextDigest,
};
use crate::{
    document::ToolDocument,
    embedding::{EmbedError, Embedder, ModelId, Purpose},
};

/// Texts that go to a provider together; it makes batches of them as it needs.
const CHUNK: usize = 256;

/// What a fill did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The model that serves now; none when there is no document and no model is known.
    pub model: Option<ModelId>,
    /// Texts that the provider embedded.
    pub embedded: usize,
    /// Documents that needed nothing from it.
    pub cached: usize,
}

/// A document that is to have a vector.
struct Wanted {
    place: Placed,
    text: TextDigest,
}

type Vectors = HashMap<TextDigest, Box<[i8]>>;

impl Index {
    /// Embeds the documents that have no vector yet, and then serves `form` with the provider's model. What served before
    /// serves until then.
    ///
    /// - `known`: the model that the provider is known to have now. Without it, the one that it had last time is taken for it, so
    ///   that nothing need be asked when nothing is missing. A provider that answers with another one is believed.
    /// - `progress`: told the documents done and all of them
    ///
    /// A second fill waits for the first. Documents that come while it lasts are left to the next one.
    ///
    /// # Errors
    /// Those of the provider, and [`EmbedError::ModelChanged`] when its model changes a second time under way. What was embedded is
    /// kept.
    pub async fn embed_missing(
        &self,
        embedder: &dyn Embedder,
        form: DocumentForm,
        known: Option<&ModelId>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Filled, EmbedError> {
        let _turn = self.inner.filling.lock().await;
        let provider: Arc<str> = embedder.label().into();
        let snapshot = self.snapshot();
        let (wanted, remembered) = {
            let (index, provider, snapshot) = (self.clone(), provider.clone(), snapshot.clone());
            blocking(move || (wanted(&snapshot, form), index.inner.cache.last_model(&provider))).await
        };
        let wanted = Arc::new(wanted);
        let mut fill = Fill {
            index: self,
            embedder,
            form,
            snapshot,
            wanted,
            progress,
            model: known.cloned().or(remembered),
            confirmed: false,
            restarted: false,
            embedded: 0,
        };
        let vectors = loop {
            if let Some(vectors) = fill.attempt().await? {
                break vectors;
            }
        };
        let filled = Filled {
            model: fill.model.clone(),
            embedded: fill.embedded,
            cached: fill.wanted.len().saturating_sub(fill.embedded),
        };
        if let Some(model) = fill.model {
            let (index, wanted) = (self.clone(), fill.wanted);
            blocking(move || {
                index.publish(form, &model, &wanted, &vectors);
                let snapshot = index.snapshot();
                index.inner.cache.used(&provider, &model, snapshot.len(), || live_texts(&snapshot));
            })
            .await;
        }
        Ok(filled)
    }

    /// Puts the vectors in the place of those that serve.
    fn publish(&self, form: DocumentForm, model: &ModelId, wanted: &[Wanted], vectors: &Vectors) {
        let _writer = self.writer();
        let current = self.snapshot();
        let same_model = current.dense(form).filter(|image| image.model() == model);
        let mut image = same_model.cloned().unwrap_or_else(|| DenseImage::new(model.clone()));
        for Wanted { place: (slot, document), text } in wanted {
            // A document that was replaced meanwhile has another text.
            let stays = current.document(*slot).is_some_and(|now| Arc::ptr_eq(now, document));
            if let Some(vector) = vectors.get(text).filter(|_| stays && !image.has(*slot)) {
                image.set(*slot, vector);
            }
        }
        let mut next = Snapshot::clone(&current);
        next.set_dense(form, Some(image));
        self.replace(next);
    }
}

/// A fill under way.
struct Fill<'a> {
    index: &'a Index,
    embedder: &'a dyn Embedder,
    form: DocumentForm,
    snapshot: Arc<Snapshot>,
    wanted: Arc<Vec<Wanted>>,
    progress: &'a (dyn Fn(usize, usize) + Sync),
    model: Option<ModelId>,
    /// Whether the provider named the model itself.
    confirmed: bool,
    restarted: bool,
    embedded: usize,
}

impl Fill<'_> {
    /// Collects the vectors of one model; `None` when the provider turned out to have another one.
    async fn attempt(&mut self) -> Result<Option<Vectors>, EmbedError> {
        let mut vectors = self.known_vectors().await;
        let (snapshot, all_wanted) = (self.snapshot.clone(), self.wanted.clone());
        let served = snapshot.dense(self.form).filter(|image| Some(image.model()) == self.model.as_ref());
        let is_served = |wanted: &Wanted| served.is_some_and(|image| image.has(wanted.place.0));
        let mut texts = HashSet::new();
        let is_missing =
            |wanted: &&Wanted| !is_served(wanted) && !vectors.contains_key(&wanted.text) && texts.insert(wanted.text);
        let missing: Vec<&Wanted> = all_wanted.iter().filter(is_missing).collect();
        let all = all_wanted.len();
        let mut done = all - missing.len();
        (self.progress)(done, all);
        for chunk in missing.chunks(CHUNK) {
            let (model, embedded) = embed(self.embedder, self.form, chunk).await?;
            self.embedded += chunk.len();
            let kept = Arc::new(embedded);
            {
                let (index, model, kept) = (self.index.clone(), model.clone(), kept.clone());
                blocking(move || index.inner.cache.keep(&model, &kept)).await;
            }
            if self.model.as_ref() != Some(&model) {
                self.change_model(model)?;
                return Ok(None);
            }
            self.confirmed = true;
            vectors.extend(kept.iter().cloned());
            done += chunk.len();
            (self.progress)(done, all);
        }
        Ok(Some(vectors))
    }

    /// What the cache has of the documents that are not served yet.
    async fn known_vectors(&self) -> Vectors {
        let Some(model) = self.model.clone() else { return Vectors::new() };
        let (index, snapshot, wanted, form) =
            (self.index.clone(), self.snapshot.clone(), self.wanted.clone(), self.form);
        blocking(move || {
            let served = snapshot.dense(form).filter(|image| *image.model() == model);
            let unserved = wanted.iter().filter(|wanted| !served.is_some_and(|image| image.has(wanted.place.0)));
            let texts: Vec<TextDigest> = unserved.map(|wanted| wanted.text).collect();
            index.inner.cache.vectors(&model, &texts)
        })
        .await
    }

    /// A guess may be wrong, and a model may be replaced while the fill lasts, but not again and again.
    fn change_model(&mut self, now: ModelId) -> Result<(), EmbedError> {
        if let Some(earlier) = self.model.take().filter(|_| self.confirmed) {
            let provider = self.embedder.label().to_owned();
            if self.restarted {
                return Err(EmbedError::ModelChanged { provider, earlier, now });
            }
            tracing::info!(provider, %earlier, %now, "the embedding model changed under way; beginning again");
            self.restarted = true;
        }
        self.model = Some(now);
        self.confirmed = true;
        Ok(())
    }
}

async fn embed(
    embedder: &dyn Embedder,
    form: DocumentForm,
    chunk: &[&Wanted],
) -> Result<(ModelId, Vec<(TextDigest, Box<[i8]>)>), EmbedError> {
    let documents: Vec<_> = chunk.iter().map(|wanted| wanted.place.1.embedding_texts(form)).collect();
    let texts: Vec<String> = documents.iter().flat_map(|texts| texts.texts().cloned()).collect();
    let answer = embedder.embed(&texts, Purpose::Documents).await?;
    let bad_reply = |message: String| EmbedError::BadReply { provider: embedder.label().to_owned(), message };
    if answer.vectors.len() != texts.len() {
        return Err(bad_reply(format!("{} vectors for {} texts", answer.vectors.len(), texts.len())));
    }
    let widths: HashSet<usize> = answer.vectors.iter().map(Vec::len).filter(|width| *width > 0).collect();
    if widths.len() > 1 {
        return Err(bad_reply(format!("vectors of {} widths", widths.len())));
    }
    let mut vectors = answer.vectors.as_slice();
    let quantised = documents.iter().map(|texts| {
        let (own, others) = vectors.split_at(texts.len());
        vectors = others;
        quantise(&texts.combine(own))
    });
    Ok((answer.model, chunk.iter().map(|wanted| wanted.text).zip(quantised).collect()))
}

fn wanted(snapshot: &Snapshot, form: DocumentForm) -> Vec<Wanted> {
    let wanted = |(slot, document): (_, &Arc<ToolDocument>)| Wanted {
        text: document.text_digest(form),
        place: (slot, document.clone()),
    };
    snapshot.documents().map(wanted).collect()
}

/// The texts of all documents in all forms.
fn live_texts(snapshot: &Snapshot) -> Vec<TextDigest> {
    let forms = |(_, document): (_, &Arc<ToolDocument>)| {
        [DocumentForm::Standard, DocumentForm::Reference].map(|form| document.text_digest(form))
    };
    snapshot.documents().flat_map(forms).collect()
}

/// Runs `work` where blocking is allowed; nothing comes of it while the runtime goes down.
async fn blocking<T: Default + Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_cancelled) => T::default(),
        },
    }
}
