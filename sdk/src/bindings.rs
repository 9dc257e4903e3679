//! The WIT packages of the repository's `wit/` folder as Rust, generated. Authors never see these types: the other modules
//! turn them into plain ones.
//!
//! One world per exported interface. A component may export several of them, and each of its register macros adds only what
//! it is for.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated code"
)]

/// What every component exports and may import.
pub mod component {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package vmcp:sdk; world component { import vmcp:host/log@0.1.0; export vmcp:types/component@0.1.0; }",
        pub_export_macro: true,
        default_bindings_module: "vmcp_sdk::bindings::component",
        generate_all,
    });
}

pub mod conflict {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package vmcp:sdk; world conflict { export vmcp:conflict/conflict-resolver@0.1.0; }",
        pub_export_macro: true,
        default_bindings_module: "vmcp_sdk::bindings::conflict",
        generate_all,
    });
}

pub mod ranking {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package vmcp:sdk; world ranking { export vmcp:ranking/ranking-strategy@0.1.0; }",
        pub_export_macro: true,
        default_bindings_module: "vmcp_sdk::bindings::ranking",
        generate_all,
    });
}

#[cfg(feature = "workflow")]
pub mod workflow {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package vmcp:sdk; world workflow {
            import vmcp:workflow/tools@0.1.0;
            import vmcp:workflow/interaction@0.1.0;
            import vmcp:workflow/progress@0.1.0;
            import vmcp:workflow/clock@0.1.0;
            import vmcp:workflow/random@0.1.0;
            import vmcp:workflow/document@0.1.0;
            export vmcp:workflow/workflow@0.1.0;
        }",
        pub_export_macro: true,
        default_bindings_module: "vmcp_sdk::bindings::workflow",
        generate_all,
    });
}
