//! Providers of vectors as `--embedding` names them.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use tempfile::TempDir;
use vmcp_config::{EmbeddingProvider, OptimizerConfig};
use vmcp_host::search::embedder;
use vmcp_optimizer::embedding::Embedder;

/// A provider that answers, and the configuration that names it.
pub(super) struct Provider {
    /// As the command line or the configuration writes it.
    pub(super) name: String,
    pub(super) config: OptimizerConfig,
    pub(super) embedder: Option<Arc<dyn Embedder>>,
    /// Where vectors are kept from one ranking to the next, if making them takes long.
    index: Option<TempDir>,
}

impl Provider {
    pub(super) async fn open(name: &str, config: OptimizerConfig) -> anyhow::Result<Self> {
        let embedder = embedder(&config).await?;
        let takes_long = embedder.as_ref().is_some_and(|embedder| !embedder.is_built_in());
        let folder = || tempfile::tempdir().context("cannot make a folder for vectors");
        let index = takes_long.then(folder).transpose()?;
        Ok(Self { name: name.to_owned(), config, embedder, index })
    }

    /// The index file for the tools of a set; in memory when absent. Never the one of the configuration.
    pub(super) fn index_file(&self, set: &str) -> Option<PathBuf> {
        let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = set.chars().map(legal).collect();
        self.index.as_ref().map(|folder| folder.path().join(format!("{name}.db")))
    }
}

/// `config` with the provider that `spec` names, e.g. `openai:http://127.0.0.1:8080/v1:bge-small`.
pub(super) fn configured(config: &OptimizerConfig, spec: &str) -> anyhow::Result<OptimizerConfig> {
    let (kind, rest) = spec.split_once(':').map_or((spec, None), |(kind, rest)| (kind, Some(rest)));
    let with_model = |rest: Option<&str>| -> anyhow::Result<_> {
        let (url, model) = rest.and_then(split_model).with_context(|| format!("`{spec}` is no `{kind}:URL:MODEL`"))?;
        Ok((Some(url.to_owned()), Some(model.to_owned())))
    };
    let (provider, (service, model)) = match (kind, rest) {
        ("builtin", None) => (EmbeddingProvider::Builtin, (None, None)),
        ("none", None) => (EmbeddingProvider::None, (None, None)),
        ("tei", Some(url)) => (EmbeddingProvider::Tei, (Some(url.to_owned()), None)),
        ("local", Some(folder)) => (EmbeddingProvider::Local, (None, Some(folder.to_owned()))),
        ("openai", rest) => (EmbeddingProvider::Openai, with_model(rest)?),
        ("ollama", rest) => (EmbeddingProvider::Ollama, with_model(rest)?),
        _ => bail!(
            "`--embedding {spec}`: no such provider; there are `builtin`, `none`, `tei:URL`, `openai:URL:MODEL`, \
             `ollama:URL:MODEL` and `local:FOLDER`"
        ),
    };
    let mut configured = config.clone();
    configured.embedding_provider = Some(provider);
    configured.embedding_service = service;
    configured.embedding_model = model;
    // What the configuration says of another provider is not told to this one.
    if config.provider() != provider {
        configured.embedding_headers.clear();
        configured.embedding_api_key = None;
    }
    Ok(configured)
}

/// `URL:MODEL`: the model begins behind the first colon that belongs neither to the scheme nor to a port. It may have colons
/// of its own.
fn split_model(text: &str) -> Option<(&str, &str)> {
    let after_scheme = text.find("://")? + 3;
    let after_host = match text[after_scheme..].strip_prefix('[') {
        Some(address) => after_scheme + 1 + address.find(']')?,
        None => after_scheme,
    };
    let colon = after_host + text[after_host..].find(':')?;
    let is_in_path = text[after_host..colon].contains('/');
    let digits = text[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
    let behind_digits = &text[colon + 1 + digits..];
    let is_port = !is_in_path && digits > 0 && (behind_digits.starts_with([':', '/']));
    let split = if is_port { colon + 1 + digits + behind_digits.find(':')? } else { colon };
    let (url, model) = (&text[..split], &text[split + 1..]);
    (!model.is_empty()).then_some((url, model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_what_follows_the_address() {
        let check = |text: &str, expected: Option<(&str, &str)>| assert_eq!(split_model(text), expected, "{text}");
        check(
            "http://localhost:11434:nomic-embed-text:v1.5",
            Some(("http://localhost:11434", "nomic-embed-text:v1.5")),
        );
        check("http://localhost:8080/v1:bge", Some(("http://localhost:8080/v1", "bge")));
        check(
            "https://api.openai.com/v1:text-embedding-3-small",
            Some(("https://api.openai.com/v1", "text-embedding-3-small")),
        );
        check("http://[::1]:8080:m", Some(("http://[::1]:8080", "m")));
        check("http://host:model", Some(("http://host", "model")));
        check("http://host:80", Some(("http://host", "80")));
        check("http://host:8080/v1", None);
        check("http://host/v1:", None);
        check("host:model", None);
    }

    #[test]
    fn a_provider_is_configured_by_its_spec() {
        let base = OptimizerConfig { embedding_service: Some("http://old".into()), ..OptimizerConfig::default() };
        let check = |spec: &str, provider: EmbeddingProvider, service: Option<&str>, model: Option<&str>| {
            let config = configured(&base, spec).unwrap();
            let actual = (config.provider(), config.embedding_service.as_deref(), config.embedding_model.as_deref());
            assert_eq!(actual, (provider, service, model), "{spec}");
        };
        check("builtin", EmbeddingProvider::Builtin, None, None);
        check("none", EmbeddingProvider::None, None, None);
        check("tei:http://h:1", EmbeddingProvider::Tei, Some("http://h:1"), None);
        check("openai:http://h/v1:m", EmbeddingProvider::Openai, Some("http://h/v1"), Some("m"));
        check("ollama:http://h:1:m:2", EmbeddingProvider::Ollama, Some("http://h:1"), Some("m:2"));
        check("local:/models/mini", EmbeddingProvider::Local, None, Some("/models/mini"));
        for bad in ["", "tei", "openai:http://h", "local", "builtin:x", "word2vec:x"] {
            assert!(configured(&base, bad).is_err(), "{bad}");
        }
    }
}
