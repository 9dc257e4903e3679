//! `runs`: where the runs of composite tools are kept.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::duration::GoDuration;

/// Where the runs of composite tools are kept, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Runs")]
pub struct RunsConfig {
    /// A SQLite file, which several hosts of one machine may share: runs then outlast a restart, and go on in any of them. They
    /// have to share `sealing.keys` or `stateDir` as well. Absent: in memory.
    #[schemars(length(min = 1))]
    pub path: Option<PathBuf>,
    /// How long a run waits for somebody who does not come back; then it fails.
    pub lifetime: GoDuration,
    /// How long a run can be looked at, and its result be fetched again, after its end.
    pub kept: GoDuration,
    /// Most runs that wait at a time.
    #[schemars(range(min = 1))]
    pub limit: u64,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self {
            path: None,
            lifetime: GoDuration::from_secs(7 * 24 * 3600),
            kept: GoDuration::from_secs(3600),
            limit: 10_000,
        }
    }
}

impl RunsConfig {
    pub(crate) fn rebase(&mut self, base: &Path) {
        self.path = self.path.take().map(|path| base.join(path));
    }
}
