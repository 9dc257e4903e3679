//! Remembers on disk what each backend offered, so that a backend that is down when the host starts keeps its names.
//!
//! One file per backend under `stateDir/last-seen/`. Several hosts may share the folder: a file is replaced whole, and the
//! last writer wins.

use std::{fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::warn;
use vmcp_core::id::BackendId;

use crate::discovery::Discovered;

/// The folder of remembered offers.
#[derive(Clone, Debug)]
pub struct LastSeen {
    folder: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    backend: BackendId,
    /// Digest of how the backend is reached: what another server offered is not remembered for this one.
    reached: String,
    offered: Discovered,
}

impl LastSeen {
    /// Remembers in `folder`, which is made if need be; without one nothing outlives the process.
    pub fn new(folder: Option<PathBuf>) -> io::Result<Self> {
        if let Some(folder) = &folder {
            fs::create_dir_all(folder)?;
        }
        Ok(Self { folder })
    }

    /// What `backend` offered when it was last up, if it is still reached in the same way.
    pub fn recall(&self, backend: &BackendId, reached: &str) -> Option<Discovered> {
        let text = fs::read(self.file(backend)?).ok()?;
        let remembered: Remembered = serde_json::from_slice(&text).ok()?;
        (remembered.backend == *backend && remembered.reached == reached).then_some(remembered.offered)
    }

    /// Remembers `offered`. A failure costs nothing but the memory, so it is only logged.
    pub fn remember(&self, backend: &BackendId, reached: &str, offered: &Discovered) {
        let Some(file) = self.file(backend) else { return };
        let remembered = Remembered { backend: backend.clone(), reached: reached.to_owned(), offered: offered.clone() };
        let Ok(text) = serde_json::to_vec(&remembered) else { return };
        if fs::read(&file).is_ok_and(|old| old == text) {
            return;
        }
        let unfinished = file.with_extension(format!("{}.tmp", std::process::id()));
        if let Err(error) = fs::write(&unfinished, text).and_then(|()| fs::rename(&unfinished, &file)) {
            warn!(%backend, file = %file.display(), %error, "could not remember what the backend offers");
        }
    }

    fn file(&self, backend: &BackendId) -> Option<PathBuf> {
        let digest = hex::encode(Sha256::digest(backend.as_str()));
        Some(self.folder.as_ref()?.join(format!("{}-{}.json", backend.slug(), &digest[..8])))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vmcp_core::{ability::CacheHint, capability::Kind, json::RawJson};

    use super::*;

    #[test]
    fn what_was_offered_is_recalled_for_the_same_server_only() {
        let folder = tempfile::tempdir().unwrap();
        let memory = LastSeen::new(Some(folder.path().join("last-seen"))).unwrap();
        let backend = BackendId::new("a b").unwrap();
        let offered = Discovered {
            instructions: Some("hello".into()),
            cache_hints: BTreeMap::from([(Kind::ResourceTemplate, CacheHint { ttl_ms: 5, is_public: true })]),
            ..Default::default()
        };
        memory.remember(&backend, "here", &offered);
        assert_eq!(memory.recall(&backend, "here"), Some(offered));
        assert_eq!(memory.recall(&backend, "there"), None);
        assert_eq!(memory.recall(&BackendId::new("a_b").unwrap(), "here"), None);
    }

    #[test]
    fn what_an_earlier_version_wrote_is_recalled_without_its_hints() {
        let folder = tempfile::tempdir().unwrap();
        let memory = LastSeen::new(Some(folder.path().to_owned())).unwrap();
        let backend = BackendId::new("a").unwrap();
        let text = r#"{"backend":"a","reached":"here","offered":{"tools":[{"name":"x"}],"prompts":[],"resources":[],
            "resourceTemplates":[],"capabilities":{},"instructions":null,"isModern":true,"cache":[["tool",300,true]]}}"#;
        fs::write(memory.file(&backend).unwrap(), text).unwrap();
        let recalled = memory.recall(&backend, "here").unwrap();
        assert_eq!(recalled.tools, [RawJson::parse(r#"{"name":"x"}"#).unwrap()]);
        assert!(recalled.cache_hints.is_empty());
    }
}
