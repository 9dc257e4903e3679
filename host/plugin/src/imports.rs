//! What a component may call in the host: one thin adapter per import.

pub(crate) mod log;
pub(crate) mod wasi;
pub(crate) mod workflow;

use wasmtime::component::{HasSelf, Linker};

use crate::{bindings, call::CallState};

/// The import that needs no grant.
pub(crate) const LOG: &str = "vmcp:host/log@0.1.0";
/// The packages of WASI that a grant can open. No HTTP: a component has no business on the network.
pub(crate) const WASI: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];
pub(crate) const WASI_VERSION: &str = "0.2.0";

/// The package that only workflows import.
pub(crate) const WORKFLOW_PACKAGE: &str = "vmcp:workflow";
/// What a workflow imports that tells how far it is.
pub(crate) const PROGRESS: &str = "vmcp:workflow/progress@";
pub(crate) const WORKFLOW_VERSION: &str = "0.1.0";

/// All that a component may import, with WASI if it was granted any, and what workflows alone import if it is one.
pub(crate) fn linker(
    engine: &wasmtime::Engine,
    with_wasi: bool,
    is_workflow: bool,
) -> wasmtime::Result<Linker<CallState>> {
    fn state(state: &mut CallState) -> &mut CallState {
        state
    }

    let mut linker = Linker::new(engine);
    bindings::log::vmcp::host::log::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
    if is_workflow {
        use bindings::workflow::vmcp::workflow::{clock, document, interaction, progress, random, tools};
        tools::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
        interaction::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
        progress::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
        clock::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
        random::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
        document::add_to_linker::<_, HasSelf<_>>(&mut linker, state)?;
    }
    if with_wasi {
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    }
    Ok(linker)
}
