//! What the backends behind one catalog can do together, as far as clients are told of it beside the lists.

use serde::{Deserialize, Serialize};

use crate::{capability::Kind, json::RawJson};

/// Features that at least one backend has. A backend that was never seen may have any of them.
#[expect(clippy::struct_excessive_bools, reason = "each is a feature of its own, present or not")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Abilities {
    pub prompts: bool,
    pub resources: bool,
    /// Changes of single resources can be followed.
    pub subscribe: bool,
    pub completions: bool,
    pub logging: bool,
    /// Calls can become tasks in the form of revision 2025-11-25.
    pub legacy_tasks: bool,
    /// Extensions and their settings, by name.
    pub extensions: Vec<(String, RawJson)>,
    cache: [CacheHint; Kind::ALL.len()],
}

/// How long, and by whom, a list may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheHint {
    /// Milliseconds; 0 forbids it.
    pub ttl_ms: u64,
    /// Whether it may be shared between users.
    pub is_public: bool,
}

impl Default for CacheHint {
    /// Not at all, which is what silence means.
    fn default() -> Self {
        Self { ttl_ms: 0, is_public: false }
    }
}

impl CacheHint {
    /// What holds for both: the shorter time and the narrower scope.
    #[must_use]
    pub fn strictest(self, other: Self) -> Self {
        Self { ttl_ms: self.ttl_ms.min(other.ttl_ms), is_public: self.is_public && other.is_public }
    }
}

impl Abilities {
    /// What has to be expected of a backend that was never seen.
    pub fn unknown() -> Self {
        Self {
            prompts: true,
            resources: true,
            subscribe: true,
            completions: true,
            logging: true,
            legacy_tasks: false,
            extensions: Vec::new(),
            cache: Default::default(),
        }
    }

    pub fn cache(&self, kind: Kind) -> CacheHint {
        self.cache[kind as usize]
    }

    pub fn set_cache(&mut self, kind: Kind, hint: CacheHint) {
        self.cache[kind as usize] = hint;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strictest_hint_wins() {
        let hint = |ttl_ms, is_public| CacheHint { ttl_ms, is_public };
        assert_eq!(hint(5, true).strictest(hint(9, true)), hint(5, true));
        assert_eq!(hint(5, false).strictest(hint(3, true)), hint(3, false));
        assert_eq!(hint(5, true).strictest(CacheHint::default()), hint(0, false));
    }
}
