//! One conflict resolver per feature, each wrong in its own way. What is not wrong is `prefix` with its defaults.

#[cfg(all(target_arch = "wasm32", any(feature = "unknown-import", feature = "wasi-clock")))]
mod imports;

use schemars::JsonSchema;
use serde::Deserialize;
use vmcp_sdk::conflict::{ConflictResolver, PrefixFormat, Request, Resolution, ResolveError, Tie};

/// Takes any config, so that a test can put it in the place of any other resolver.
#[derive(Debug, Deserialize, JsonSchema)]
struct Resolver {}

impl ConflictResolver for Resolver {
    fn resolve(&self, request: &Request) -> Result<Vec<Resolution>, ResolveError> {
        let mut resolutions = honest(request);
        if cfg!(feature = "loops") {
            loop {
                std::hint::black_box(());
            }
        }
        if cfg!(feature = "allocates") {
            let mut held = Vec::new();
            loop {
                held.push(vec![1_u8; 1 << 20]);
                std::hint::black_box(&held);
            }
        }
        if cfg!(feature = "panics") {
            panic!("this resolver always panics");
        }
        if cfg!(feature = "too-few") {
            resolutions.pop();
        }
        if cfg!(feature = "repeated-names") {
            resolutions.fill(Resolution::expose("same", "all are equal"));
        }
        if cfg!(feature = "illegal-names")
            && let Some(first) = resolutions.first_mut()
        {
            *first = Resolution::expose("has a space", "no rule allows it");
        }
        #[cfg(all(target_arch = "wasm32", any(feature = "unknown-import", feature = "wasi-clock")))]
        imports::call();
        Ok(resolutions)
    }
}

vmcp_sdk::register_conflict_resolver!(Resolver);

fn honest(request: &Request) -> Vec<Resolution> {
    if request.kind.keeps_names() {
        return request.keep_names();
    }
    let mark = if cfg!(feature = "marked-prefix") { "MARK_" } else { "" };
    let prefixed = request.contenders.iter().map(|contender| {
        let name = PrefixFormat::default().apply(contender, request.names);
        Resolution::expose(format!("{mark}{name}"), "every name is prefixed")
    });
    request.settle(prefixed.collect(), Tie::FirstKeeps)
}
