//! `optimizer`: tool search in place of the whole catalog.

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::value::{duration::GoDuration, ratio::Ratio, secret::Secret};

/// The ranking of a file that names none.
pub const DEFAULT_RANKING: &str = "clause-blend";

/// Shows `find_tool` and `call_tool` in place of the whole catalog. Absent: off.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Optimizer")]
pub struct OptimizerConfig {
    /// Address of the embedding service, e.g. `http://127.0.0.1:8080`; of `openai` with its path, e.g.
    /// `https://api.openai.com/v1`.
    #[schemars(extend("format" = "http-url", "x-expect" = "an address like `http://127.0.0.1:8080`"))]
    pub embedding_service: Option<String>,
    /// Longest wait for one answer of it.
    pub embedding_service_timeout: GoDuration,
    /// What turns text into vectors. Absent: `tei` when `embeddingService` is set, else `builtin`.
    pub embedding_provider: Option<EmbeddingProvider>,
    /// The provider's model: a name for `openai` and `ollama`, a folder for `local`; required for these.
    pub embedding_model: Option<String>,
    /// Key for `openai`. Absent: the environment variable `OPENAI_API_KEY`, and none where that is not set.
    pub embedding_api_key: Option<Secret>,
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
    /// Name of the component that plans searches and orders what was found: `clause-blend`, `linear`, `rrf`, `toolhive` or an
    /// entry of `plugins`. Absent: `clause-blend`.
    #[schemars(length(min = 1))]
    pub ranking: Option<String>,
    /// Handed to that component, which says what belongs in it.
    pub ranking_config: Option<Map<String, Value>>,
    /// Where the index is kept.
    pub index: IndexConfig,
    /// Advertised names of tools that clients see beside `find_tool` and `call_tool`.
    #[schemars(length(max = 50))]
    pub pinned_tools: Vec<String>,
    /// What clients read about the two tools.
    pub descriptions: ToolDescriptions,
}

impl OptimizerConfig {
    /// What turns text into vectors.
    pub fn provider(&self) -> EmbeddingProvider {
        self.embedding_provider.unwrap_or(match self.embedding_service {
            Some(_) => EmbeddingProvider::Tei,
            None => EmbeddingProvider::Builtin,
        })
    }

    /// The component that ranks.
    pub fn ranking(&self) -> &str {
        self.ranking.as_deref().unwrap_or(DEFAULT_RANKING)
    }

    /// Makes relative paths relative to `base`.
    pub(crate) fn rebase(&mut self, base: &Path) {
        self.embedding_headers.values_mut().for_each(|value| value.rebase(base));
        if let Some(key) = &mut self.embedding_api_key {
            key.rebase(base);
        }
        if let Some(path) = &mut self.index.path {
            *path = base.join(&*path);
        }
        if let (EmbeddingProvider::Local, Some(folder)) = (self.provider(), &mut self.embedding_model) {
            *folder = base.join(&*folder).to_string_lossy().into_owned();
        }
    }
}

/// Where the index is kept.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "OptimizerIndex")]
pub struct IndexConfig {
    /// File of the index, a cache: whatever is lost with it is made again. Never on a network file system. Absent: in memory.
    pub path: Option<PathBuf>,
}

/// What clients read about the two tools. A summary of what is behind the host follows in either case.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "OptimizerDescriptions")]
pub struct ToolDescriptions {
    /// Description of `find_tool`.
    #[schemars(length(min = 1))]
    pub find_tool: Option<String>,
    /// Description of `call_tool`.
    #[schemars(length(min = 1))]
    pub call_tool: Option<String>,
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
            embedding_api_key: None,
            index: IndexConfig::default(),
            pinned_tools: Vec::new(),
            descriptions: ToolDescriptions::default(),
        }
    }
}

/// What turns text into vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmbeddingProvider {
    /// The table inside the host: no network, no key, no download.
    Builtin,
    /// Text Embeddings Inference.
    Tei,
    /// A server with the API of OpenAI.
    Openai,
    /// An Ollama server.
    Ollama,
    /// A folder with a model of the BERT family.
    Local,
    /// Nothing: search by words only.
    None,
}

impl EmbeddingProvider {
    /// As the file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builtin => "builtin",
            Self::Tei => "tei",
            Self::Openai => "openai",
            Self::Ollama => "ollama",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}
