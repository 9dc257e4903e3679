//! The provider inside the program: a table with one row per piece of a word, so that a text's vector is a sum of rows.
//!
//! Needs no network, no run-time library and no waiting: a request takes microseconds. What it lacks is the order of words.

use std::{borrow::Cow, sync::LazyLock, thread::available_parallelism};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesOrdered};
use half::f16;
use safetensors::SafeTensors;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{
    EmbedError, Embedded, Embedder, ModelId, Purpose, unit,
    wordpiece::{Vocabulary, WordPiece, WordPieceOptions},
};

static TABLE: &[u8] = include_bytes!("../../data/table.safetensors");
static VOCABULARY: &str = include_str!("../../data/vocab.txt");
/// How the table's SHA-256 begins, in hex. Written down, since computing it would cost every start 40 ms; a test compares.
const FINGERPRINT: &str = "fb05ebb45f525cc3";
static MODEL: LazyLock<Model> = LazyLock::new(Model::read);

const UNKNOWN: &str = "[UNK]";
/// Tokens of a text that count; a tool's document has fewer.
const MAX_TOKENS: usize = 512;
/// Changes with the way from rows to a vector, so that an index with vectors of the old way makes new ones.
const FORMULA: u32 = 1;
/// Documents that one thread takes at a time: a few milliseconds of work.
const CHUNK: usize = 256;

/// The built-in embedding provider. All values share one table.
#[derive(Clone, Copy)]
pub struct Builtin {
    model: &'static Model,
}

/// The table where it lies in the program, and how to find rows in it.
struct Model {
    word_piece: WordPiece,
    /// Row after row of int8 numbers.
    rows: &'static [u8],
    width: usize,
    /// One little-endian f16 per row.
    scales: &'static [u8],
    id: ModelId,
}

impl Builtin {
    /// The first call reads the vocabulary, which takes some milliseconds.
    pub fn new() -> Self {
        Self { model: &MODEL }
    }

    /// How many numbers a vector has.
    pub fn width(&self) -> usize {
        self.model.width
    }

    pub fn model(&self) -> &ModelId {
        &self.model.id
    }

    /// The vector of one text, in microseconds.
    pub fn vector(&self, text: &str) -> Vec<f32> {
        self.model.vector(text)
    }
}

impl Default for Builtin {
    fn default() -> Self {
        Self::new()
    }
}

impl Embedder for Builtin {
    fn label(&self) -> &'static str {
        "builtin"
    }

    fn embed<'a>(&'a self, texts: &'a [String], purpose: Purpose) -> BoxFuture<'a, Result<Embedded, EmbedError>> {
        Box::pin(async move {
            let vectors = match purpose {
                Purpose::Query => texts.iter().map(|text| self.vector(text)).collect(),
                Purpose::Documents => self.documents(texts).await?,
            };
            Ok(Embedded { model: self.model.id.clone(), vectors })
        })
    }

    fn is_built_in(&self) -> bool {
        true
    }
}

impl Builtin {
    /// Spread over the processors, away from the threads that answer clients.
    async fn documents(self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let threads = available_parallelism().map_or(1, usize::from);
        let mut vectors = Vec::with_capacity(texts.len());
        let mut running = FuturesOrdered::new();
        for chunk in texts.chunks(CHUNK) {
            if running.len() == threads {
                self.take_next(&mut running, &mut vectors).await?;
            }
            let chunk = chunk.to_vec();
            running.push_back(spawn_blocking(move || chunk.iter().map(|text| self.vector(text)).collect()));
        }
        while !running.is_empty() {
            self.take_next(&mut running, &mut vectors).await?;
        }
        Ok(vectors)
    }

    async fn take_next(
        self,
        running: &mut FuturesOrdered<JoinHandle<Vec<Vec<f32>>>>,
        vectors: &mut Vec<Vec<f32>>,
    ) -> Result<(), EmbedError> {
        if let Some(done) = running.next().await {
            let provider = self.label().into();
            vectors.extend(done.map_err(|error| EmbedError::Failed { provider, reason: error.to_string() })?);
        }
        Ok(())
    }
}

impl Model {
    fn read() -> Self {
        let tensors = SafeTensors::deserialize(TABLE).expect("the table of the program is whole, which a test shows");
        let tensor = |name| tensors.tensor(name).expect("the table of the program has this tensor");
        let rows = tensor("rows");
        let vocabulary = Vocabulary::from_lines(Cow::Borrowed(VOCABULARY));
        let unknown = vocabulary.id(UNKNOWN).expect("the vocabulary has a token for what it lacks");
        let options =
            WordPieceOptions { lower_case: true, strip_accents: true, unknown, frame: None, max_tokens: MAX_TOKENS };
        Self {
            word_piece: WordPiece::new(vocabulary, options),
            rows: rows.data(),
            width: rows.shape()[1],
            scales: tensor("scales").data(),
            id: ModelId::new(format!("builtin/{FORMULA}/{FINGERPRINT}")),
        }
    }

    /// `Σ sqrt(count) · scale · row` over the distinct tokens, brought to length 1; zeros for a text without tokens.
    fn vector(&self, text: &str) -> Vec<f32> {
        let mut sum = self.sum(text);
        unit::normalise(&mut sum);
        sum
    }

    fn sum(&self, text: &str) -> Vec<f32> {
        let mut ids = self.word_piece.ids(text);
        ids.sort_unstable();
        let mut sum = vec![0.0; self.width];
        for equal in ids.chunk_by(|left, right| left == right) {
            let (row, scale) = self.row(equal[0]);
            #[expect(clippy::cast_precision_loss, reason = "a count of at most 512")]
            let weight = (equal.len() as f32).sqrt() * scale;
            for (total, byte) in sum.iter_mut().zip(row) {
                *total += weight * f32::from(byte.cast_signed());
            }
        }
        sum
    }

    fn row(&self, id: u32) -> (&'static [u8], f32) {
        let index = id as usize;
        let scale = f16::from_le_bytes([self.scales[2 * index], self.scales[2 * index + 1]]);
        (&self.rows[index * self.width..(index + 1) * self.width], scale.to_f32())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        text: String,
        ids: Vec<u32>,
        first8: [f32; 8],
        norm: f32,
    }

    fn golden() -> Vec<Golden> {
        serde_json::from_str(include_str!("../../tests/data/embedding_golden.json")).unwrap()
    }

    #[test]
    fn tokens_and_vectors_are_those_of_the_fit() {
        let builtin = Builtin::new();
        let close = |got: f32, expected: f32, text: &str| {
            assert!((got - expected).abs() < 1e-4, "{text:?}: {got} is not {expected}");
        };
        for golden in golden() {
            assert_eq!(builtin.model.word_piece.ids(&golden.text), golden.ids, "{:?}", golden.text);
            let norm = builtin.model.sum(&golden.text).iter().map(|x| x * x).sum::<f32>().sqrt();
            close(norm, golden.norm, &golden.text);
            let vector = builtin.vector(&golden.text);
            assert_eq!(vector.len(), 256);
            for (got, expected) in vector.iter().zip(golden.first8) {
                close(*got, expected, &golden.text);
            }
        }
    }

    #[test]
    fn every_piece_of_the_vocabulary_has_a_row() {
        let model = Builtin::new().model;
        let pieces = VOCABULARY.lines().count();
        assert_eq!(model.rows.len(), pieces * model.width);
        assert_eq!(model.scales.len(), pieces * 2);
    }

    #[test]
    fn the_id_names_the_table() {
        assert_eq!(hex::encode(&Sha256::digest(TABLE)[..8]), FINGERPRINT);
        assert_eq!(Builtin::new().model().as_str(), format!("builtin/1/{FINGERPRINT}"));
    }

    #[test]
    fn a_text_without_words_has_a_vector_of_zeros() {
        for text in ["", " \n", "\u{200b}"] {
            assert!(Builtin::new().vector(text).iter().all(|number| *number == 0.0), "{text:?}");
        }
    }

    #[tokio::test]
    async fn documents_keep_their_order_over_the_threads() {
        let texts: Vec<String> = (0..=CHUNK * 3).map(|number| format!("tool number {number}")).collect();
        let builtin = Builtin::new();
        let documents = builtin.embed(&texts, Purpose::Documents).await.unwrap();
        let queries = builtin.embed(&texts, Purpose::Query).await.unwrap();
        assert_eq!(documents.model, *builtin.model());
        assert_eq!(documents.vectors, queries.vectors);
    }
}
