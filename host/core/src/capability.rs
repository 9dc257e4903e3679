//! What a backend offers.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{id::BackendId, json::RawJson};

/// What sort of thing is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Tool,
    Prompt,
    /// Addressed by its URI.
    Resource,
    /// Addressed by its RFC 6570 URI template.
    ResourceTemplate,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Tool, Self::Prompt, Self::Resource, Self::ResourceTemplate];

    /// Whether a resolver may give this kind another name: URIs and templates can only be exposed or hidden.
    pub fn is_renamable(self) -> bool {
        matches!(self, Self::Tool | Self::Prompt)
    }

    /// The field of a definition that identifies it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::ResourceTemplate => "uriTemplate",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource template",
        })
    }
}

/// A tool, prompt, resource or template of one backend: the few fields the host uses beside the backend's own bytes.
#[derive(Clone, Debug)]
pub struct Capability {
    pub kind: Kind,
    pub backend: BackendId,
    /// Name (or URI, or template) by which the backend knows it.
    pub original_name: Arc<str>,
    /// The name after the overrides of the configuration: what a conflict resolver sees.
    pub name: Arc<str>,
    pub title: Option<String>,
    pub description: Option<String>,
    pub annotations: Option<RawJson>,
    /// Hex digest of the input schema (tools) or the arguments (prompts).
    pub schema_digest: Arc<str>,
    /// The definition as the backend sent it, with the overrides of the configuration spliced in.
    pub definition: RawJson,
}

/// Which names may be advertised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameRule {
    /// Legal for every client: `[A-Za-z0-9_-]`, 1 to 64 characters.
    #[default]
    Strict,
    /// The specification's grammar: `[A-Za-z0-9_.-]`, 1 to 128 characters.
    Protocol,
}

impl NameRule {
    /// Longest legal name, in characters.
    pub fn max_length(self) -> usize {
        match self {
            Self::Strict => 64,
            Self::Protocol => 128,
        }
    }

    /// Why `name` may not be advertised, if so.
    pub fn violation(self, name: &str) -> Option<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (self == Self::Protocol && c == '.');
        if name.is_empty() {
            return Some("the name is empty".into());
        }
        if let Some(c) = name.chars().find(|c| !legal(*c)) {
            return Some(format!("the name `{name}` contains `{}`", c.escape_default()));
        }
        (name.len() > self.max_length())
            .then(|| format!("the name `{name}` has {} characters, {} are allowed", name.len(), self.max_length()))
    }
}
