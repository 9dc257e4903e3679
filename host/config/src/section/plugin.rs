//! `plugins`: components besides those that come with the host.

use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{duration::GoDuration, size::ByteSize};

/// A component besides those that come with the host. Its name is what other keys select it by.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Plugin")]
pub struct PluginConfig {
    /// What `conflictResolution`, `ranking` and `workflow` call it; not the name of a component that comes with the host.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Path of the `.wasm` file, relative to this file.
    #[schemars(length(min = 1))]
    pub source: String,
    /// SHA-256 of the file, 64 hexadecimal digits; the host refuses a file with another one.
    #[schemars(extend("format" = "sha256", "x-expect" = "64 hexadecimal digits"))]
    pub sha256: Option<String>,
    /// What it may reach besides what its world gives it.
    #[serde(default)]
    pub grants: GrantsConfig,
    /// What it may use; absent ones are the world's.
    #[serde(default)]
    pub limits: LimitsConfig,
}

impl PluginConfig {
    /// Makes a relative path relative to `base`; addresses stay.
    pub(crate) fn rebase(&mut self, base: &Path) {
        if !is_address(&self.source) {
            self.source = base.join(&self.source).to_string_lossy().into_owned();
        }
    }
}

/// Whether a component's source is an address (`oci://`, `https://`) rather than a path.
pub(crate) fn is_address(source: &str) -> bool {
    source.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+'))
}

/// What a component may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Grants")]
pub struct GrantsConfig {
    /// Tools it may call: patterns over `backend/original-name`, e.g. `github/*`. Absent: those its definition declares.
    pub tools: Option<Vec<String>>,
    /// WASI interfaces it may import: patterns such as `wasi:clocks/*` or `wasi:*`.
    pub wasi: Vec<String>,
}

/// What a component may use in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Limits")]
pub struct LimitsConfig {
    /// Memory.
    pub memory: Option<ByteSize>,
    /// Time it may compute, waiting not counted.
    pub running_time: Option<GoDuration>,
    /// Time that a workflow may take, waits for answers of a person not counted; others never wait.
    pub wall_time: Option<GoDuration>,
    /// What it may return.
    pub output_size: Option<ByteSize>,
}
