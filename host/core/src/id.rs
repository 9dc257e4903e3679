//! Names that are valid by construction and cheap to clone.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest legal backend name, in bytes.
pub const MAX_BACKEND_NAME: usize = 253;

/// What [`BackendId::composite`] is called: the `/` is what no other has.
const COMPOSITE: &str = "vmcp/composite";

/// Name of a backend as the configuration writes it, e.g. `GitHub` or `brave_search`: 1 to 253 bytes without control
/// characters or `/`. Tool names use its [`slug`](Self::slug), legal everywhere; two equal slugs are a config error.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct BackendId(Arc<str>);

/// Why a string is no backend name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackendIdError {
    #[error("a backend name must not be empty")]
    Empty,
    #[error("a backend name has at most {MAX_BACKEND_NAME} bytes, this one has {0}")]
    TooLong(usize),
    #[error("a backend name must not contain `{}`", .0.escape_default())]
    IllegalCharacter(char),
}

impl BackendId {
    /// Checks `name` and takes it.
    pub fn new(name: &str) -> Result<Self, BackendIdError> {
        if name.is_empty() {
            return Err(BackendIdError::Empty);
        }
        if name.len() > MAX_BACKEND_NAME {
            return Err(BackendIdError::TooLong(name.len()));
        }
        match name.chars().find(|c| c.is_control() || *c == '/') {
            Some(illegal) => Err(BackendIdError::IllegalCharacter(illegal)),
            None => Ok(Self(name.into())),
        }
    }

    /// Stands for the host itself where composite tools say who has them. No backend of the configuration can have this name.
    pub fn composite() -> Self {
        Self(COMPOSITE.into())
    }

    pub fn is_composite(&self) -> bool {
        &*self.0 == COMPOSITE
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name with every character outside `[A-Za-z0-9_-]` replaced by `_`: legal in tool names of every client.
    pub fn slug(&self) -> String {
        legalised(&self.0)
    }
}

/// `name` with every character outside `[A-Za-z0-9_-]` replaced by `_`.
pub fn legalised(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' }).collect()
}

impl fmt::Display for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BackendId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl TryFrom<String> for BackendId {
    type Error = BackendIdError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<BackendId> for String {
    fn from(id: BackendId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// Name of a view: what one endpoint shows. `/mcp` is the default view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ViewId(Arc<str>);

impl ViewId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ViewId {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Who a client is, as far as sharing goes: whatever holds state belongs to one identity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// Nobody proved who they are; all such clients are one identity.
    #[default]
    Anonymous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_names_are_checked_and_slugs_are_legal() {
        let check = |name: &str, expected: Result<&str, BackendIdError>| {
            assert_eq!(BackendId::new(name).map(|id| id.slug()).as_deref(), expected.as_ref().copied(), "{name:?}");
        };
        check("GitHub", Ok("GitHub"));
        check("brave search.v2", Ok("brave_search_v2"));
        check("bücher", Ok("b_cher"));
        check("", Err(BackendIdError::Empty));
        check("a/b", Err(BackendIdError::IllegalCharacter('/')));
        check("a\nb", Err(BackendIdError::IllegalCharacter('\n')));
        check(&"x".repeat(254), Err(BackendIdError::TooLong(254)));
    }
}
