//! Texts as hashed words.

use sha2::{Digest, Sha256};

use super::WIDTH;

/// Every word adds one to or takes one from a place that it shares with few others; each model has places of its own.
pub(super) fn of(text: &str, model: &str) -> Vec<f64> {
    let mut vector = vec![0.0; WIDTH];
    // Never zero, whatever the words.
    vector[WIDTH - 1] = 0.1;
    for word in text.to_lowercase().split(|ch: char| !ch.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let hash = Sha256::digest(format!("{model} {word}"));
        vector[usize::from(hash[0]) % (WIDTH - 1)] += if hash[1] < 128 { 1.0 } else { -1.0 };
    }
    vector
}

/// JSON, with `NaN` as Python writes it.
pub(super) fn json(vector: &[f64]) -> String {
    let numbers: Vec<String> = vector.iter().map(|number| format!("{number:?}")).collect();
    format!("[{}]", numbers.join(","))
}
