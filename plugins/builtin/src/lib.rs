//! The components that the host carries inside its binary, as built from `plugins/` by `cargo xtask plugins`.
//!
//! STABILITY: internal. Nothing but bytes: the host loads them by the path that a user's file takes. They are committed so that
//! neither `cargo install` nor `cargo test` needs a compiler for WebAssembly; `components.lock` ties them to their sources.

/// One component of the host's own.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// By which the configuration knows it.
    pub name: &'static str,
    /// The component's bytes.
    pub wasm: &'static [u8],
}

/// All of them, by name.
pub fn all() -> &'static [Builtin] {
    const ALL: &[Builtin] = &[
        Builtin { name: "clause-blend", wasm: include_bytes!("../clause-blend.wasm") },
        Builtin { name: "linear", wasm: include_bytes!("../linear.wasm") },
        Builtin { name: "manual", wasm: include_bytes!("../manual.wasm") },
        Builtin { name: "prefix", wasm: include_bytes!("../prefix.wasm") },
        Builtin { name: "priority", wasm: include_bytes!("../priority.wasm") },
        Builtin { name: "rrf", wasm: include_bytes!("../rrf.wasm") },
        Builtin { name: "smart", wasm: include_bytes!("../smart.wasm") },
        Builtin { name: "toolhive", wasm: include_bytes!("../toolhive.wasm") },
        Builtin { name: "workflow-yaml", wasm: include_bytes!("../workflow-yaml.wasm") },
    ];
    ALL
}

#[cfg(test)]
mod tests;
