//! Tells the client how far a run is.

/// `done` of `total`, in any unit, with a few words. A client that does not ask for progress gets none.
pub fn report(done: f64, total: Option<f64>, message: impl AsRef<str>) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::workflow::vmcp::workflow::progress::report(done, total, message.as_ref());
    #[cfg(not(target_arch = "wasm32"))]
    let _ = (done, total, message.as_ref());
}
