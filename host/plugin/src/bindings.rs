//! What wasmtime generates from `wit/`: one module per interface, since a component may export any of them.
//!
//! Exports are called through the asynchronous API, so that a component which waits through WASI can be stopped. Parameters
//! borrow: thousands of contenders are handed over without copying their texts on the host's side.

#![allow(clippy::pedantic, missing_docs, reason = "generated code; documented where it comes from, in wit/")]

/// `vmcp:host/log`, an import.
pub(crate) mod log {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package vmcp:adapters; world log-import { import vmcp:host/log@0.1.0; }",
    });
}

/// `vmcp:types/component`, an export.
pub(crate) mod component {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package vmcp:adapters; world component-export { export vmcp:types/component@0.1.0; }",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// `vmcp:conflict/conflict-resolver`, an export.
pub(crate) mod conflict {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package vmcp:adapters; world conflict-export { export vmcp:conflict/conflict-resolver@0.1.0; }",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// `vmcp:ranking/ranking-strategy`, an export.
pub(crate) mod ranking {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package vmcp:adapters; world ranking-export { export vmcp:ranking/ranking-strategy@0.1.0; }",
        exports: { default: async },
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// `vmcp:workflow/workflow`, an export, and what it may import.
pub(crate) mod workflow {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "package vmcp:adapters; world workflow-export {
            import vmcp:workflow/tools@0.1.0;
            import vmcp:workflow/interaction@0.1.0;
            import vmcp:workflow/progress@0.1.0;
            import vmcp:workflow/clock@0.1.0;
            import vmcp:workflow/random@0.1.0;
            import vmcp:workflow/document@0.1.0;
            export vmcp:workflow/workflow@0.1.0;
        }",
        exports: { default: async },
    });
}
