//! The WIT packages of the repository's `wit/` folder as Rust, generated. Authors never see these types: the other modules
//! turn them into plain ones.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated code"
)]

wit_bindgen::generate!({
    path: "../wit",
    world: "vmcp:conflict/resolver@0.1.0",
    pub_export_macro: true,
    default_bindings_module: "vmcp_sdk::bindings",
    generate_all,
});
