//! The scalar types of the format that serde has none for.

pub(crate) mod duration;
pub(crate) mod ratio;
pub(crate) mod secret;
pub(crate) mod size;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which names may be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NameRule {
    /// Legal for every client: `[A-Za-z0-9_-]`, 1 to 64 characters.
    Strict,
    /// What the MCP specification allows: `[A-Za-z0-9_.-]`, 1 to 128 characters.
    Protocol,
}
