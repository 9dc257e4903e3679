//! The vectors of one model for all documents, as small integers, and exact search among them.
//!
//! Reading all of them is quicker than an approximate index up to some hundred thousand tools, and exact. A clone shares its
//! blocks with its origin; an update copies those that it changes.

mod product;

use std::sync::Arc;

use self::product::Request;
use super::slot::{Best, Scored, Slot, Visible, by_score};
use crate::embedding::ModelId;

/// Documents per block: what an update of one document copies.
const BLOCK: usize = 1024;
/// The largest number in a vector of a document, and in one of a request, which is worth more bits.
const DOCUMENT_PEAK: f32 = 127.0;
const REQUEST_PEAK: f32 = 2047.0;

/// A document's vector, scaled so that its largest number is 127: its direction is what counts. Empty when it has none.
pub(super) fn quantise(vector: &[f32]) -> Box<[i8]> {
    #[expect(clippy::cast_possible_truncation, reason = "scaled to within -127 to 127")]
    scaled(vector, DOCUMENT_PEAK).map(|number| number as i8).collect()
}

/// The numbers of `vector`, rounded, with `peak` as the largest; none when all are zero or one is not finite.
fn scaled(vector: &[f32], peak: f32) -> impl Iterator<Item = f32> {
    let largest = vector.iter().fold(0.0, |largest: f32, number| largest.max(number.abs()));
    let usable = largest > 0.0 && vector.iter().all(|number| number.is_finite());
    let factor = peak / largest;
    vector.iter().take(if usable { vector.len() } else { 0 }).map(move |number| (number * factor).round())
}

/// One over the length of a vector of integers.
#[expect(clippy::cast_precision_loss, reason = "a rounding error is all it costs")]
fn length_factor(squares: i64) -> f64 {
    if squares == 0 { 0.0 } else { 1.0 / (squares as f64).sqrt() }
}

/// The vectors of all documents in one form.
#[derive(Clone)]
pub(super) struct DenseImage {
    model: ModelId,
    /// Numbers of a vector; 0 until the first one comes.
    width: usize,
    blocks: Vec<Arc<Block>>,
    vectors: usize,
}

#[derive(Clone)]
struct Block {
    /// `BLOCK` vectors, zeros where there is none.
    numbers: Vec<i8>,
    /// One over the length of each vector; 0 where there is none.
    factors: Vec<f64>,
}

/// A search by meaning and the number of hits it wants.
#[derive(Clone, Copy, Debug)]
pub struct DenseSearch<'a> {
    pub vector: &'a [f32],
    pub pool: usize,
}

impl DenseImage {
    pub(super) fn new(model: ModelId) -> Self {
        Self { model, width: 0, blocks: Vec::new(), vectors: 0 }
    }

    pub(super) fn model(&self) -> &ModelId {
        &self.model
    }

    /// Documents that have a vector.
    pub(super) fn vectors(&self) -> usize {
        self.vectors
    }

    pub(super) fn has(&self, slot: Slot) -> bool {
        self.blocks.get(slot.at() / BLOCK).is_some_and(|block| block.factors[slot.at() % BLOCK] > 0.0)
    }

    /// Sets a document's vector; an empty one, or one of another width than the first, is none.
    pub(super) fn set(&mut self, slot: Slot, vector: &[i8]) {
        if self.width == 0 {
            self.width = vector.len();
        }
        self.remove(slot);
        if vector.is_empty() || vector.len() != self.width {
            return;
        }
        let width = self.width;
        while self.blocks.len() <= slot.at() / BLOCK {
            self.blocks.push(Arc::new(Block { numbers: vec![0; BLOCK * width], factors: vec![0.0; BLOCK] }));
        }
        let block = Arc::make_mut(&mut self.blocks[slot.at() / BLOCK]);
        let at = slot.at() % BLOCK;
        block.numbers[at * width..(at + 1) * width].copy_from_slice(vector);
        block.factors[at] = length_factor(vector.iter().map(|number| i64::from(*number).pow(2)).sum());
        self.vectors += usize::from(block.factors[at] > 0.0);
    }

    pub(super) fn remove(&mut self, slot: Slot) {
        if self.has(slot) {
            Arc::make_mut(&mut self.blocks[slot.at() / BLOCK]).factors[slot.at() % BLOCK] = 0.0;
            self.vectors -= 1;
        }
    }

    /// The documents of the greatest cosine for each search, best first, ties by slot. A search whose vector has another width, or
    /// no direction, finds nothing; nor does a document without vector match.
    pub(super) fn search(&self, searches: &[DenseSearch<'_>], visible: &Visible) -> Vec<Vec<Scored>> {
        let mut runs: Vec<Run> = searches.iter().map(|search| Run::new(search, self.width)).collect();
        for (n, block) in self.blocks.iter().enumerate() {
            let vectors = block.factors.iter().zip(block.numbers.chunks_exact(self.width));
            for (at, (factor, vector)) in vectors.enumerate() {
                let slot = Slot::from_position(n * BLOCK + at);
                if *factor > 0.0 && visible.contains(slot) {
                    runs.iter_mut().for_each(|run| run.offer(slot, vector, *factor));
                }
            }
        }
        runs.into_iter().map(|run| run.best.into_sorted()).collect()
    }

    /// For each of `slots`, the others with a cosine of at least `from`, most similar first.
    pub(super) fn similar(&self, slots: &[Slot], from: f64) -> Vec<Vec<Scored>> {
        let vectors: Vec<Option<(&[i8], f64)>> = slots.iter().map(|slot| self.vector(*slot)).collect();
        let mut similar = vec![Vec::new(); slots.len()];
        for (n, one) in vectors.iter().enumerate() {
            for (m, other) in vectors.iter().enumerate().skip(n + 1) {
                let (Some((one, one_factor)), Some((other, other_factor))) = (one, other) else { continue };
                let score = product::of_documents(one, other) * one_factor * other_factor;
                if score >= from {
                    similar[n].push(Scored { slot: slots[m], score });
                    similar[m].push(Scored { slot: slots[n], score });
                }
            }
        }
        similar.iter_mut().for_each(|others| others.sort_unstable_by(by_score));
        similar
    }

    fn vector(&self, slot: Slot) -> Option<(&[i8], f64)> {
        let block = self.blocks.get(slot.at() / BLOCK).filter(|_| self.has(slot))?;
        let at = slot.at() % BLOCK;
        Some((&block.numbers[at * self.width..(at + 1) * self.width], block.factors[at]))
    }
}

/// One search under way.
struct Run {
    request: Request,
    factor: f64,
    best: Best,
}

impl Run {
    fn new(search: &DenseSearch<'_>, width: usize) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "scaled to within -2047 to 2047")]
        let vector: Box<[i16]> = scaled(search.vector, REQUEST_PEAK).map(|number| number as i16).collect();
        let factor = length_factor(vector.iter().map(|number| i64::from(*number).pow(2)).sum());
        let usable = factor > 0.0 && vector.len() == width;
        // No cosine is below -1.
        let best = Best::new(if usable { search.pool } else { 0 }, f64::NEG_INFINITY);
        Self { request: Request::new(vector), factor, best }
    }

    #[inline]
    fn offer(&mut self, slot: Slot, vector: &[i8], factor: f64) {
        let score = self.request.product(vector) * factor * self.factor;
        if self.best.wants(score) {
            self.best.add(slot, score);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(vectors: &[Vec<f32>]) -> DenseImage {
        let mut image = DenseImage::new(ModelId::new("m"));
        for (slot, vector) in vectors.iter().enumerate() {
            image.set(Slot::from_position(slot), &quantise(vector));
        }
        image
    }

    fn found(image: &DenseImage, vector: &[f32], visible: &Visible) -> Vec<(u32, f64)> {
        let hits = image.search(&[DenseSearch { vector, pool: 10 }], visible).remove(0);
        hits.iter().map(|hit| (hit.slot.0, (hit.score * 100.0).round() / 100.0)).collect()
    }

    #[test]
    fn documents_come_by_cosine_and_those_without_vector_never() {
        let vectors = [vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 0.0], vec![0.6, 0.8], vec![-1.0, 0.0], vec![0.6, 0.8]];
        let mut image = image(&vectors);
        let check = |image: &DenseImage, vector: &[f32], expected: &[(u32, f64)]| {
            assert_eq!(found(image, vector, &Visible::All), expected, "{vector:?}");
        };
        check(&image, &[2.0, 0.0], &[(0, 1.0), (3, 0.6), (5, 0.6), (1, 0.0), (4, -1.0)]);
        check(&image, &[0.0, 0.0], &[]);
        check(&image, &[1.0, 0.0, 0.0], &[]);
        check(&image, &[f32::NAN, 1.0], &[]);
        assert_eq!(image.vectors(), 5);
        let only = Visible::Only([Slot(1), Slot(2), Slot(4)].into_iter().collect());
        assert_eq!(found(&image, &[1.0, 0.0], &only), [(1, 0.0), (4, -1.0)]);

        let before = image.clone();
        image.remove(Slot(0));
        image.set(Slot(4), &quantise(&[1.0, 0.0]));
        image.set(Slot(3), &quantise(&[1.0, 0.0, 0.0]));
        check(&image, &[1.0, 0.0], &[(4, 1.0), (5, 0.6), (1, 0.0)]);
        check(&before, &[1.0, 0.0], &[(0, 1.0), (3, 0.6), (5, 0.6), (1, 0.0), (4, -1.0)]);
        assert_eq!((image.vectors(), before.vectors()), (3, 5));
    }

    #[test]
    fn similar_documents_name_each_other() {
        let image = image(&[vec![1.0, 0.0], vec![0.9, 0.1], vec![0.0, 1.0], vec![0.0, 0.0]]);
        let slots = [Slot(1), Slot(0), Slot(2), Slot(3), Slot(99)];
        let similar = image.similar(&slots, 0.9);
        let names: Vec<Vec<u32>> = similar.iter().map(|list| list.iter().map(|hit| hit.slot.0).collect()).collect();
        assert_eq!(names, [vec![0], vec![1], vec![], vec![], vec![]]);
    }

    #[test]
    fn an_image_without_vectors_finds_nothing() {
        let image = DenseImage::new(ModelId::new("m"));
        assert_eq!(found(&image, &[1.0], &Visible::All), []);
        assert_eq!(found(&image, &[], &Visible::All), []);
    }

    proptest! {
        #[test]
        fn cosines_are_those_of_floats_but_for_rounding(
            vectors in prop::collection::vec(prop::collection::vec(-1.0f32..1.0, 40), 1..20),
            request in prop::collection::vec(-1.0f32..1.0, 40),
        ) {
            let length = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
            for hit in image(&vectors).search(&[DenseSearch { vector: &request, pool: 50 }], &Visible::All).remove(0) {
                let vector = &vectors[hit.slot.at()];
                let dot: f64 = vector.iter().zip(&request).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                let cosine = dot / (length(vector) * length(&request)).max(1e-9);
                prop_assert!((hit.score - cosine).abs() < 0.02, "{} {cosine}", hit.score);
            }
        }

        #[test]
        fn wide_vectors_do_not_overflow(width in 4000usize..9000) {
            let flat = vec![1.0; width];
            let hits = image(std::slice::from_ref(&flat)).search(&[DenseSearch { vector: &flat, pool: 1 }], &Visible::All).remove(0);
            prop_assert!((hits[0].score - 1.0).abs() < 1e-9);
        }
    }
}
