//! `optimizer`: tool search in place of the whole catalog.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::value::{duration::GoDuration, ratio::Ratio, secret::Secret};

/// Shows `find_tool` and `call_tool` in place of the whole catalog. Absent: off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Optimizer")]
pub struct OptimizerConfig {
    /// Address of the embedding service.
    pub embedding_service: Option<String>,
    /// Longest wait for it.
    pub embedding_service_timeout: GoDuration,
    /// What turns text into vectors. Absent: `tei` when `embeddingService` is set, else the table inside the host.
    pub embedding_provider: Option<EmbeddingProvider>,
    /// The provider's model; required for `openai`.
    pub embedding_model: Option<String>,
    /// Headers for the provider; `openai` only, at most 32, none that the host sets itself.
    #[schemars(extend("maxProperties" = 32))]
    pub embedding_headers: IndexMap<String, Secret>,
    /// Tools that one search returns.
    #[schemars(range(min = 1, max = 50))]
    pub max_tools_to_return: u32,
    /// Weight of meaning against words: 0 is words only, 1 is meaning only.
    pub hybrid_search_semantic_ratio: Ratio,
    /// Cosine distance beyond which a tool is no hit: 0 to 2.
    pub semantic_distance_threshold: Ratio,
    /// Name of the component that orders what was found.
    #[schemars(length(min = 1))]
    pub ranking: Option<String>,
    /// Handed to that component, which says what belongs in it.
    pub ranking_config: Option<Map<String, Value>>,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            embedding_service: None,
            embedding_service_timeout: GoDuration::from_secs(30),
            embedding_provider: None,
            embedding_model: None,
            embedding_headers: IndexMap::new(),
            max_tools_to_return: 8,
            hybrid_search_semantic_ratio: Ratio::new(0.5),
            semantic_distance_threshold: Ratio::new(1.0),
            ranking: None,
            ranking_config: None,
        }
    }
}

/// What turns text into vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingProvider {
    /// Text Embeddings Inference.
    Tei,
    /// A server with the API of OpenAI.
    Openai,
    /// Nothing: search by words only.
    None,
}
