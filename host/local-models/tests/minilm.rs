//! Vectors of all-MiniLM-L6-v2, against those of another implementation. `cargo xtask local-models` fetches the model and says
//! in `VMCP_MINILM` where it is; without that there is nothing to compare.
#![cfg(feature = "candle")]

use std::{env, path::PathBuf};

use serde::Deserialize;
use vmcp_local_models::LocalModel;
use vmcp_optimizer::embedding::{Embedder as _, Purpose};

#[derive(Deserialize)]
struct Reference {
    text: String,
    /// The first numbers of the unit vector.
    first16: Vec<f32>,
}

fn model() -> Option<LocalModel> {
    let folder = PathBuf::from(env::var_os("VMCP_MINILM")?);
    Some(LocalModel::open(&folder).expect("the package holds a model"))
}

#[tokio::test]
async fn vectors_are_those_of_the_reference_implementation() {
    let Some(model) = model() else { return };
    let references: Vec<Reference> = serde_json::from_str(include_str!("data/minilm_vectors.json")).unwrap();
    let texts: Vec<String> = references.iter().map(|reference| reference.text.clone()).collect();
    assert_eq!(texts.len(), 20);
    let embedded = model.embed(&texts, Purpose::Documents).await.unwrap();
    assert_eq!(embedded.model, *model.model());
    for (reference, vector) in references.iter().zip(&embedded.vectors) {
        assert_eq!(vector.len(), 384);
        for (got, expected) in vector.iter().zip(&reference.first16) {
            assert!((got - expected).abs() < 1e-3, "{:?}: {got} is not {expected}", reference.text);
        }
    }
}

#[tokio::test]
async fn a_text_has_the_same_vector_alone_and_in_a_batch() {
    let Some(model) = model() else { return };
    let texts =
        ["read a file", "", "list all pull requests of a repository that wait for my review"].map(str::to_owned);
    let together = model.embed(&texts, Purpose::Documents).await.unwrap().vectors;
    for (text, expected) in texts.iter().zip(&together) {
        let alone = model.embed(std::slice::from_ref(text), Purpose::Query).await.unwrap().vectors;
        let far = alone[0].iter().zip(expected).map(|(left, right)| (left - right).abs()).fold(0.0, f32::max);
        assert!(far < 1e-4, "{text:?}: {far}");
    }
    assert!(together[1].iter().all(|number| *number == 0.0), "a text without words has no vector");
}

#[test]
fn a_folder_without_a_model_is_named() {
    let error = LocalModel::open("/not/there".as_ref()).err().unwrap();
    assert!(error.to_string().contains("/not/there/config.json"), "{error}");
}
