//! Unstable. Embedding models of the BERT family, run from a folder with `model.safetensors` and `tokenizer.json`.
//!
//! A crate of its own because what it needs takes long to compile; builds without it refuse `embeddingProvider: local`.

#![cfg(feature = "candle")]

mod folder;
mod model;

pub use self::{folder::LocalModelError, model::LocalModel};
