//! Tool search from its section of the configuration: the index, the provider of vectors, the rankings.

use std::sync::Arc;

use anyhow::Context as _;
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;
use vmcp_config::{EmbeddingProvider, OptimizerConfig, Secret};
use vmcp_gateway::tool_search::{ToolSearch, ToolSearchOptions};
use vmcp_optimizer::{
    embedding::{
        Embedder,
        builtin::Builtin,
        ollama::{Ollama, OllamaOptions},
        openai::{OpenAi, OpenAiOptions},
        tei::{Tei, TeiOptions},
    },
    index::{Index, IndexOptions},
    search::{Optimizer, OptimizerOptions, SearchSettings},
};

use super::Rankings;

/// Where `openai` finds its key if the configuration names none.
const OPENAI_KEY: &str = "OPENAI_API_KEY";

/// Tool search as the configuration wants it.
///
/// # Errors
/// If the index cannot be kept where it is asked for, or the provider does not answer: who asks for search by meaning does
/// not get search by words without a word.
pub(super) async fn tool_search(config: &OptimizerConfig, rankings: Rankings) -> anyhow::Result<Arc<ToolSearch>> {
    let embedder = embedder(config).await?;
    let tier = tier(config, embedder.as_deref());
    let optimizer = optimizer(config, rankings, embedder).await?;
    Ok(Arc::new(ToolSearch::new(
        optimizer,
        ToolSearchOptions {
            tier,
            pinned: config.pinned_tools.clone(),
            find_description: config.descriptions.find_tool.clone(),
            call_description: config.descriptions.call_tool.clone(),
        },
    )))
}

/// An engine as the configuration wants it.
pub async fn optimizer(
    config: &OptimizerConfig,
    rankings: Rankings,
    embedder: Option<Arc<dyn Embedder>>,
) -> anyhow::Result<Arc<Optimizer>> {
    let path = config.index.path.clone();
    let index = tokio::task::spawn_blocking(move || Index::open(IndexOptions { path }))
        .await?
        .context("`optimizer.index.path` cannot be used")?;
    Ok(Arc::new(Optimizer::new(OptimizerOptions {
        index,
        embedder,
        ranking: rankings.chosen,
        fallback: rankings.fallback,
        settings: SearchSettings {
            semantic_ratio: config.hybrid_search_semantic_ratio.value(),
            distance_threshold: config.semantic_distance_threshold.value(),
            max_tools: config.max_tools_to_return,
        },
    })))
}

/// The provider that the configuration names, proved to answer; none where meaning has no weight, so that nobody is asked.
pub async fn embedder(config: &OptimizerConfig) -> anyhow::Result<Option<Arc<dyn Embedder>>> {
    let timeout = config.embedding_service_timeout.as_duration();
    // The configuration was checked: what a provider needs is there.
    let url =
        || Url::parse(config.embedding_service.as_deref().unwrap_or_default()).context("`optimizer.embeddingService`");
    let model = config.embedding_model.clone().unwrap_or_default();
    let provider = config.provider();
    let is_wanted = provider != EmbeddingProvider::None && config.hybrid_search_semantic_ratio.value() > 0.0;
    if !is_wanted {
        return Ok(None);
    }
    let connected = async || -> anyhow::Result<Arc<dyn Embedder>> {
        Ok(match provider {
            EmbeddingProvider::None => unreachable!("nothing is connected where none is wanted"),
            EmbeddingProvider::Builtin => Arc::new(Builtin::new()) as Arc<dyn Embedder>,
            EmbeddingProvider::Tei => Arc::new(Tei::connect(TeiOptions::new(url()?, timeout)).await?),
            EmbeddingProvider::Openai => {
                let mut options = OpenAiOptions::new(url()?, model, timeout);
                options.headers = headers(config).context("`optimizer.embeddingHeaders`")?;
                options.key = openai_key(config.embedding_api_key.as_ref()).context("`optimizer.embeddingApiKey`")?;
                Arc::new(OpenAi::connect(options).await?)
            }
            EmbeddingProvider::Ollama => Arc::new(Ollama::connect(OllamaOptions::new(url()?, model, timeout)).await?),
            EmbeddingProvider::Local => local_model(model).await?,
        })
    };
    let failed = || format!("`optimizer.embeddingProvider: {}` does not work", provider.name());
    connected().await.map(Some).with_context(failed)
}

fn headers(config: &OptimizerConfig) -> anyhow::Result<HeaderMap> {
    let header = |(name, value): (&String, &Secret)| {
        Ok((HeaderName::try_from(name.as_str())?, HeaderValue::try_from(value.resolve()?)?))
    };
    config.embedding_headers.iter().map(header).collect()
}

fn openai_key(configured: Option<&Secret>) -> anyhow::Result<Option<String>> {
    match configured {
        Some(secret) => Ok(Some(secret.resolve()?)),
        None => Ok(std::env::var(OPENAI_KEY).ok().filter(|key| !key.is_empty())),
    }
}

#[cfg(feature = "local-models")]
async fn local_model(folder: String) -> anyhow::Result<Arc<dyn Embedder>> {
    let opened = tokio::task::spawn_blocking(move || vmcp_local_models::LocalModel::open(folder.as_ref())).await??;
    Ok(Arc::new(opened))
}

#[cfg(not(feature = "local-models"))]
#[expect(clippy::unused_async, reason = "as the one that opens a model")]
async fn local_model(_folder: String) -> anyhow::Result<Arc<dyn Embedder>> {
    anyhow::bail!("this build cannot run models; build it with `--features local-models`, or use another provider")
}

/// Which kind of search it is, in the reference's counting, and what it needs.
fn tier(config: &OptimizerConfig, embedder: Option<&dyn Embedder>) -> String {
    match (config.provider(), embedder) {
        (_, None) => "1: by words".into(),
        (EmbeddingProvider::Builtin | EmbeddingProvider::Local, Some(embedder)) => {
            format!("1: by words and meaning ({}), without an external service", embedder.label())
        }
        (_, Some(embedder)) => format!("3: by words and meaning ({})", embedder.label()),
    }
}
