//! The results that the host writes itself: who it is, what it offers, and its lists.

use std::collections::BTreeMap;

use rmcp::model::{CacheScope, DiscoverResult, Implementation, InitializeResult, ProtocolVersion, ServerCapabilities};
use serde_json::json;
use vmcp_core::{
    ability::{Abilities, CacheHint},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{
    era::{Era, Revision},
    error::RpcError,
    meta::TASKS_EXTENSION,
    object::Object,
};

/// The host as clients and backends see it.
#[derive(Clone, Debug)]
pub struct HostInfo {
    /// `name` of the configuration: which of several hosts this is.
    pub title: String,
    pub version: String,
    /// The configuration file, as commands compare it.
    pub config: String,
}

impl HostInfo {
    /// As `serverInfo` and `clientInfo`.
    pub fn implementation(&self) -> Implementation {
        Implementation::new("vmcp-host", &self.version).with_title(&self.title)
    }

    fn capabilities(abilities: &Abilities, era: Era) -> ServerCapabilities {
        let tools = ServerCapabilities::builder().enable_tools().enable_tool_list_changed();
        let mut capabilities = tools.build();
        if abilities.prompts {
            let prompts = ServerCapabilities::builder().enable_prompts().enable_prompts_list_changed();
            capabilities.prompts = prompts.build().prompts;
        }
        if abilities.resources {
            let resources = ServerCapabilities::builder().enable_resources().enable_resources_list_changed();
            capabilities.resources = match abilities.subscribe {
                true => resources.enable_resources_subscribe().build().resources,
                false => resources.build().resources,
            };
        }
        capabilities.completions = abilities.completions.then(serde_json::Map::new);
        capabilities.logging = abilities.logging.then(serde_json::Map::new);
        // Legacy clients know tasks in another form.
        let extensions = abilities.extensions.iter().filter(|(name, _)| era == Era::Modern || name != TASKS_EXTENSION);
        let extensions: BTreeMap<_, _> =
            extensions.map(|(name, settings)| (name.clone(), settings.to_value().unwrap_or_default())).collect();
        capabilities.extensions = (!extensions.is_empty()).then_some(extensions);
        capabilities
    }

    /// The answer to `initialize`.
    pub fn initialize(&self, revision: Revision, abilities: &Abilities, instructions: Option<&str>) -> RawJson {
        let version = ProtocolVersion::KNOWN_VERSIONS.iter().find(|known| known.as_str() == revision.as_str());
        let mut result = InitializeResult::new(Self::capabilities(abilities, Era::Legacy))
            .with_server_info(self.implementation())
            .with_protocol_version(version.cloned().unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE));
        result.instructions = instructions.map(str::to_owned);
        let mut result = serde_json::to_value(&result).unwrap_or_default();
        if abilities.legacy_tasks && revision >= Revision::V2025_11_25 {
            result["capabilities"]["tasks"] =
                json!({ "list": {}, "cancel": {}, "requests": { "tools": { "call": {} } } });
        }
        RawJson::of(&result)
    }

    /// The answer to `server/discover`.
    pub fn discover(&self, abilities: &Abilities, instructions: Option<&str>) -> RawJson {
        let versions = ProtocolVersion::KNOWN_VERSIONS.iter().rev().cloned().collect();
        let capabilities = Self::capabilities(abilities, Era::Modern);
        let mut result = DiscoverResult::new(versions, capabilities).with_server_info(self.implementation());
        result.instructions = instructions.map(str::to_owned);
        result.ttl_ms = 0;
        result.cache_scope = CacheScope::Private;
        RawJson::of(&result)
    }
}

/// One page of a list as a client of `era` expects it.
///
/// - `cache`: how long a modern client may keep it, as the strictest backend allows
pub fn list_page(era: Era, kind: Kind, page: RawJson, next_cursor: Option<String>, cache: CacheHint) -> RawJson {
    let member = match kind {
        Kind::Tool => "tools",
        Kind::Prompt => "prompts",
        Kind::Resource => "resources",
        Kind::ResourceTemplate => "resourceTemplates",
    };
    let mut result = Object::from([(member, page)]);
    if let Some(cursor) = next_cursor {
        result.set("nextCursor", RawJson::of(&cursor));
    }
    if era == Era::Modern {
        complete(&mut result);
        result.set("ttlMs", RawJson::of(&cache.ttl_ms));
        result.set("cacheScope", RawJson::of(&if cache.is_public { "public" } else { "private" }));
    }
    result.to_json()
}

/// A result without content.
pub fn empty(era: Era) -> RawJson {
    let mut result = Object::default();
    if era == Era::Modern {
        complete(&mut result);
    }
    result.to_json()
}

/// What `completion/complete` answers when nothing is known.
pub fn no_completions(era: Era) -> RawJson {
    let mut result =
        Object::from([("completion", RawJson::of(&json!({ "values": [], "total": 0, "hasMore": false })))]);
    if era == Era::Modern {
        complete(&mut result);
    }
    result.to_json()
}

/// The result of a tool that is the host's own.
///
/// - `structured`: the same as a value, if it is more than text
pub fn tool_result(era: Era, text: &str, structured: Option<&RawJson>, is_error: bool) -> RawJson {
    let mut result = Object::from([("content", RawJson::of(&json!([{ "type": "text", "text": text }])))]);
    if let Some(structured) = structured {
        result.set("structuredContent", structured.clone());
    }
    if is_error {
        result.set("isError", RawJson::of(&true));
    }
    if era == Era::Modern {
        complete(&mut result);
    }
    result.to_json()
}

fn complete(result: &mut Object) {
    result.set("resultType", RawJson::of(&"complete"));
}

/// Cursors name the last entry of the page before, so they survive a change of the catalog.
pub mod cursor {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{Kind, RpcError};

    /// Longest cursor that is read, in bytes.
    const MAX_LENGTH: usize = 16 << 10;

    pub fn write(kind: Kind, last: &str) -> String {
        URL_SAFE_NO_PAD.encode(format!("{kind}\n{last}"))
    }

    /// The name after which the page begins.
    pub fn read(kind: Kind, cursor: &str) -> Result<String, RpcError> {
        let text = (cursor.len() <= MAX_LENGTH).then(|| URL_SAFE_NO_PAD.decode(cursor).ok()).flatten();
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        text.and_then(|text| text.strip_prefix(&format!("{kind}\n")).map(str::to_owned))
            .ok_or_else(|| RpcError::invalid_params("the cursor is not one of this list's"))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn cursors_are_read_back_for_their_own_list_only() {
            let cursor = write(Kind::Tool, "a name");
            assert_eq!(read(Kind::Tool, &cursor).unwrap(), "a name");
            assert!(read(Kind::Prompt, &cursor).is_err());
            assert!(read(Kind::Tool, "nonsense").is_err());
            assert!(read(Kind::Tool, &"A".repeat(5000)).is_err());
        }
    }
}
