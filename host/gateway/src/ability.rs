//! Merges what the backends say of themselves into what the host says of itself.

use vmcp_core::{
    ability::{Abilities, CacheHint},
    capability::Kind,
    json::RawJson,
};
use vmcp_mcp::{meta::TASKS_EXTENSION, object::Object};

use crate::aggregator::Offer;

/// What the host can do with these backends.
///
/// - `is_complete`: whether each configured backend was seen at least once; one that was not may bring anything
pub(crate) fn merged(offers: &[&Offer], is_complete: bool) -> Abilities {
    let mut merged = if is_complete { Abilities::default() } else { Abilities::unknown() };
    for offer in offers {
        let declared = Object::parse_lenient(Some(&offer.discovered.capabilities));
        let resources = declared.get("resources").map(|resources| Object::parse_lenient(Some(resources)));
        merged.prompts |= declared.get("prompts").is_some();
        merged.resources |= resources.is_some();
        merged.subscribe |= resources.is_some_and(|resources| is_true(resources.get("subscribe")));
        merged.completions |= declared.get("completions").is_some();
        merged.logging |= declared.get("logging").is_some();
        merged.legacy_tasks |= !offer.discovered.is_modern && declared.get("tasks").is_some();
        for (name, settings) in declared.get_object("extensions").iter() {
            let is_usable = name != TASKS_EXTENSION || offer.discovered.is_modern;
            if is_usable && !merged.extensions.iter().any(|(known, _)| known == name) {
                merged.extensions.push((name.to_owned(), settings.clone()));
            }
        }
    }
    // Modern clients know tasks as an extension, whatever the backend calls them.
    if merged.legacy_tasks && !merged.extensions.iter().any(|(name, _)| name == TASKS_EXTENSION) {
        merged.extensions.push((TASKS_EXTENSION.to_owned(), Object::default().to_json()));
    }
    for kind in Kind::ALL {
        let listed = offers.iter().filter(|offer| offer.available && !offer.discovered.of(kind).is_empty());
        let hints = listed.map(|offer| offer.discovered.cache_hints.get(&kind).copied().unwrap_or_default());
        merged.set_cache(kind, hints.reduce(CacheHint::strictest).unwrap_or_default());
    }
    merged
}

fn is_true(value: Option<&RawJson>) -> bool {
    value.is_some_and(|value| value.as_str() == "true")
}

/// The hint on one page of a list; of the pages together the strictest holds.
pub(crate) fn hint_on(page: &Object) -> CacheHint {
    CacheHint {
        ttl_ms: page.get("ttlMs").and_then(|ttl| ttl.as_str().parse().ok()).unwrap_or(0),
        is_public: page.get_string("cacheScope").as_deref() == Some("public"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use serde_json::{Value, json};
    use vmcp_core::id::BackendId;

    use super::*;
    use crate::discovery::Discovered;

    fn offer(backend: &str, is_modern: bool, capabilities: &Value, ttl_ms: u64) -> Offer {
        let discovered = Discovered {
            tools: vec![RawJson::of(&json!({"name": "x"}))],
            capabilities: RawJson::of(capabilities),
            is_modern,
            cache_hints: BTreeMap::from([(Kind::Tool, CacheHint { ttl_ms, is_public: true })]),
            ..Discovered::default()
        };
        Offer { backend: BackendId::new(backend).unwrap(), discovered: Arc::new(discovered), available: true }
    }

    #[test]
    fn the_host_can_do_what_any_backend_can_and_nothing_more() {
        let one = offer("a", true, &json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}), 900);
        let two = offer("b", false, &json!({"resources": {"subscribe": true}, "tasks": {}, "logging": {}}), 300);
        let able = merged(&[&one, &two], true);
        assert!(able.resources && able.subscribe && able.logging && able.legacy_tasks);
        assert!(!able.prompts && !able.completions);
        assert_eq!(able.extensions.len(), 1);
        assert_eq!(able.cache(Kind::Tool), CacheHint { ttl_ms: 300, is_public: true });
        assert_eq!(able.cache(Kind::Prompt), CacheHint::default());
    }

    #[test]
    fn a_backend_that_was_never_seen_may_bring_anything() {
        let able = merged(&[], false);
        assert!(able.prompts && able.resources && able.subscribe && able.completions && able.logging);
    }
}
