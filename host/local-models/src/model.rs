//! Runs a model on the processor.

use std::{path::Path, sync::Arc};

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, DTYPE};
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;
use vmcp_optimizer::embedding::{EmbedError, Embedded, Embedder, ModelId, Purpose, unit, wordpiece::WordPiece};

use crate::folder::{Folder, LocalModelError, Pooling};

/// Tokens that go through the model together, padding included: more would only need more memory.
const BATCH_TOKENS: usize = 2048;
const TRIAL: &str = "list the files of a folder";

/// An embedding model of the BERT family in a folder.
pub struct LocalModel {
    label: String,
    id: ModelId,
    network: Arc<Network>,
}

struct Network {
    bert: BertModel,
    word_piece: WordPiece,
    pooling: Pooling,
    padding: u32,
    width: usize,
}

/// The tokens of one text, and where its vector belongs.
type Tokens = (usize, Vec<u32>);

impl LocalModel {
    /// Loads the model, which takes up to a second, and embeds one text.
    pub fn open(folder: &Path) -> Result<Self, LocalModelError> {
        let files = Folder(folder);
        let settings = files.settings()?;
        let weights = files.read("model.safetensors")?;
        let fingerprint = format!("{:x}", Sha256::digest(&weights));
        let broken = |source| LocalModelError::Broken { folder: folder.to_owned(), source };
        let variables = VarBuilder::from_buffered_safetensors(weights, DTYPE, &Device::Cpu).map_err(broken)?;
        let network = Network {
            bert: BertModel::load(variables, &settings.config).map_err(broken)?,
            word_piece: settings.word_piece,
            pooling: settings.pooling,
            padding: u32::try_from(settings.config.pad_token_id).unwrap_or_default(),
            width: settings.config.hidden_size,
        };
        network.vectors(&[(0, network.word_piece.ids(TRIAL))]).map_err(broken)?;
        let pooling = match settings.pooling {
            Pooling::Mean => "mean",
            Pooling::First => "first",
        };
        Ok(Self {
            label: format!("local {}", folder.display()),
            // The weights, and what else decides over a vector.
            id: ModelId::new(format!("local/{}/{pooling}/{}", &fingerprint[..16], settings.max_tokens)),
            network: Arc::new(network),
        })
    }

    pub fn model(&self) -> &ModelId {
        &self.id
    }

    /// Batch after batch, so that a caller who gives up waits for one of them at most.
    async fn embed_all(&self, texts: &[String]) -> Result<Embedded, EmbedError> {
        let mut vectors = vec![vec![0.0; self.network.width]; texts.len()];
        let (network, owned) = (Arc::clone(&self.network), texts.to_vec());
        let batches = self.on_thread(move || Ok(in_batches(network.tokens(&owned)))).await?;
        for batch in batches {
            let network = Arc::clone(&self.network);
            let done = self.on_thread(move || {
                let vectors = network.vectors(&batch)?;
                Ok(batch.into_iter().map(|(place, _)| place).zip(vectors))
            });
            for (place, vector) in done.await? {
                vectors[place] = vector;
            }
        }
        Ok(Embedded { model: self.id.clone(), vectors })
    }

    async fn on_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> candle_core::Result<T> + Send + 'static,
    ) -> Result<T, EmbedError> {
        let failed = |reason: String| EmbedError::Failed { provider: self.label.clone(), reason };
        match spawn_blocking(work).await {
            Ok(done) => done.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Embedder for LocalModel {
    fn label(&self) -> &str {
        &self.label
    }

    fn embed<'a>(&'a self, texts: &'a [String], _purpose: Purpose) -> BoxFuture<'a, Result<Embedded, EmbedError>> {
        Box::pin(self.embed_all(texts))
    }
}

impl Network {
    /// The tokens of the texts that have words.
    fn tokens(&self, texts: &[String]) -> Vec<Tokens> {
        let spoken = texts.iter().enumerate().filter(|(_, text)| !text.trim().is_empty());
        spoken.map(|(place, text)| (place, self.word_piece.ids(text))).collect()
    }

    /// One unit vector per text of `batch`.
    fn vectors(&self, batch: &[Tokens]) -> candle_core::Result<Vec<Vec<f32>>> {
        let longest = batch.iter().map(|(_, ids)| ids.len()).max().unwrap_or_default();
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for (_, tokens) in batch {
            let padding = longest - tokens.len();
            ids.extend(tokens.iter().copied().chain(std::iter::repeat_n(self.padding, padding)));
            mask.extend(std::iter::repeat_n(1.0_f32, tokens.len()).chain(std::iter::repeat_n(0.0, padding)));
        }
        let shape = (batch.len(), longest);
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        // [texts, tokens, width]
        let hidden = self.bert.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let pooled = match self.pooling {
            Pooling::First => hidden.narrow(1, 0, 1)?.squeeze(1)?,
            Pooling::Mean => {
                let sums = hidden.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
                sums.broadcast_div(&mask.sum_keepdim(1)?)?
            }
        };
        let mut vectors: Vec<Vec<f32>> = pooled.to_vec2()?;
        vectors.iter_mut().for_each(|vector| unit::normalise(vector));
        match vectors.iter().flatten().all(|number| number.is_finite()) {
            true => Ok(vectors),
            false => candle_core::bail!("the model gave a number that is not finite"),
        }
    }
}

/// Texts of like length together, since all of a batch are padded to the longest.
fn in_batches(mut texts: Vec<Tokens>) -> Vec<Vec<Tokens>> {
    texts.sort_by_key(|(_, ids)| ids.len());
    let mut batches: Vec<Vec<Tokens>> = Vec::new();
    for text in texts {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * text.1.len() <= BATCH_TOKENS => batch.push(text),
            _ => batches.push(vec![text]),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_texts_of_like_length() {
        let check = |lengths: &[usize], expected: &[&[usize]]| {
            let texts = lengths.iter().map(|length| vec![0; *length]).enumerate().collect();
            let batches: Vec<Vec<usize>> =
                in_batches(texts).iter().map(|batch| batch.iter().map(|(_, ids)| ids.len()).collect()).collect();
            assert_eq!(batches, expected);
        };
        check(&[], &[]);
        check(&[512, 3, 512, 512, 512, 512], &[&[3, 512, 512, 512], &[512, 512]]);
        check(&[4000, 1], &[&[1], &[4000]]);
    }
}
