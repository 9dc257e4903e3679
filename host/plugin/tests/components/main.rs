//! Components against the host's rules: what may be loaded, what is stopped, and what the error says.

#![expect(clippy::unwrap_used, reason = "what the tests share is test code, too")]

mod cache;
mod guest;
mod limits;
mod load;
mod ranking;
mod resolve;
mod shipped;
mod workflow;

use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
    time::Duration,
};

use vmcp_core::{
    capability::{Capability, Kind, NameRule},
    extension::{ConflictResolver, Contender, Resolution, ResolveError, ResolveRequest},
    id::BackendId,
    json::RawJson,
};
use vmcp_plugin::{Component, ComponentSource, EngineOptions, Grants, Limits, PluginEngine, PluginError};

use guest::Guest;

/// Running time that no component needs which ends by itself, however slow the machine is.
const LONG: Duration = Duration::from_mins(1);
/// Running time of those that end only by it; what they do before is done in a fraction, on a machine that stalls, too.
const SHORT: Duration = Duration::from_secs(3);

/// One engine for all tests; what it compiles is kept between runs.
fn engine() -> Arc<PluginEngine> {
    static ENGINE: LazyLock<Arc<PluginEngine>> = LazyLock::new(|| {
        let cache_dir = Some(env!("CARGO_TARGET_TMPDIR").into());
        PluginEngine::new(EngineOptions { cache_dir, ..EngineOptions::default() }).unwrap()
    });
    Arc::clone(&ENGINE)
}

fn source(bytes: Vec<u8>) -> ComponentSource {
    ComponentSource {
        name: "mine".into(),
        bytes: Cow::Owned(bytes),
        origin: "mine.wasm".into(),
        sha256: None,
        grants: Grants::default(),
        limits: Limits { running_time: Some(LONG), ..Limits::default() },
    }
}

fn with_running_time(running_time: Duration, bytes: Vec<u8>) -> ComponentSource {
    let mut source = source(bytes);
    source.limits.running_time = Some(running_time);
    source
}

fn load(guest: &Guest) -> Result<Component, PluginError> {
    engine().load(source(guest.build()))
}

fn resolver(guest: &Guest) -> Arc<dyn ConflictResolver> {
    load(guest).unwrap().conflict_resolver(&serde_json::json!({})).unwrap()
}

/// Tools `tool-0`, `tool-1` and so on of the backend `files`.
fn contenders(count: usize) -> Vec<Contender> {
    contenders_of("files", count)
}

fn contenders_of(backend: &str, count: usize) -> Vec<Contender> {
    (0..count)
        .map(|number| Contender {
            capability: Arc::new(Capability {
                kind: Kind::Tool,
                backend: BackendId::new(backend).unwrap(),
                original_name: format!("tool-{number}").into(),
                name: format!("tool-{number}").into(),
                title: None,
                description: Some("Does something".into()),
                annotations: None,
                schema_digest: "00".into(),
                definition: RawJson::parse("{}").unwrap(),
            }),
            slug: backend.into(),
            backend_metadata: "{}".into(),
        })
        .collect()
}

fn resolve(resolver: &dyn ConflictResolver, count: usize) -> Result<Vec<Resolution>, ResolveError> {
    resolver.resolve(&ResolveRequest { kind: Kind::Tool, names: NameRule::Strict, contenders: &contenders(count) })
}

/// The plugin's error in a resolver's.
fn plugin_error(error: &ResolveError) -> &PluginError {
    let ResolveError::Component { source, .. } = error else { panic!("another error: {error}") };
    source.downcast_ref().unwrap()
}
