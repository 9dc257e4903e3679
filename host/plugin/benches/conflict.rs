//! Conflict resolution of whole catalogs: 50 backends, three tools in ten share their name with another backend's.
//!
//! Every call is what the aggregator does: contenders converted, a fresh instance, the answer read. The goal is 10,000
//! tools below 100 ms.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]

#[path = "../tests/components/guest.rs"]
mod guest;

use std::sync::Arc;

use divan::{Bencher, black_box, counter::ItemsCount};
use vmcp_core::{
    capability::{Capability, Kind, NameRule},
    extension::{ConflictResolver, Contender, ResolveRequest},
    id::BackendId,
    json::RawJson,
};
use vmcp_plugin::{ComponentSource, EngineOptions, Grants, Limits, PluginEngine};

const BACKENDS: usize = 50;
const COUNTS: [usize; 2] = [1_000, 10_000];

fn main() {
    divan::main();
}

/// A component that exposes every tool under its own name: what the host alone costs.
#[divan::bench(args = COUNTS)]
fn expose_all(bencher: Bencher, count: usize) {
    measure(bencher, count, guest::Guest::default().build());
}

/// The resolver that is the default.
#[divan::bench(args = COUNTS)]
fn smart(bencher: Bencher, count: usize) {
    let smart = vmcp_builtin::all().iter().find(|policy| policy.name == "smart").unwrap();
    measure(bencher, count, smart.wasm.to_vec());
}

fn measure(bencher: Bencher, count: usize, bytes: Vec<u8>) {
    let source = ComponentSource {
        name: "measured".into(),
        bytes: bytes.into(),
        origin: "bench".into(),
        sha256: None,
        grants: Grants::default(),
        limits: Limits::default(),
    };
    let engine = PluginEngine::new(EngineOptions::default()).unwrap();
    let resolver: Arc<dyn ConflictResolver> =
        engine.load(source).unwrap().conflict_resolver(&serde_json::json!({})).unwrap();
    let contenders = contenders(count);
    let request = ResolveRequest { kind: Kind::Tool, names: NameRule::Strict, contenders: &contenders };
    bencher.counter(ItemsCount::new(count)).bench(|| resolver.resolve(black_box(&request)).unwrap());
}

/// Sorted by backend and name, with descriptions as long as real ones.
fn contenders(count: usize) -> Vec<Contender> {
    let metadata: Arc<str> = r#"{"team": "platform"}"#.into();
    let mut contenders: Vec<_> = (0..count)
        .map(|number| {
            let (backend, place) = (number % BACKENDS, number / BACKENDS);
            // Five backends share each name that clashes.
            let name: Arc<str> = match place % 10 {
                0..3 => format!("search_{place:03}_{}", backend / 5),
                _ => format!("tool_{number:05}"),
            }
            .into();
            let backend = format!("backend-{backend:02}");
            let slug: Arc<str> = backend.as_str().into();
            let capability = Capability {
                kind: Kind::Tool,
                backend: BackendId::new(&backend).unwrap(),
                original_name: Arc::clone(&name),
                name,
                title: Some(format!("Tool number {number}")),
                description: Some("Searches the index and returns the matching entries. ".repeat(4)),
                annotations: Some(RawJson::parse(r#"{"readOnlyHint":true,"openWorldHint":false}"#).unwrap()),
                schema_digest: format!("{number:064x}").into(),
                definition: RawJson::parse("{}").unwrap(),
            };
            Contender { capability: Arc::new(capability), slug, backend_metadata: Arc::clone(&metadata) }
        })
        .collect();
    contenders.sort_by(|a, b| (a.backend(), &a.capability.name).cmp(&(b.backend(), &b.capability.name)));
    contenders
}
