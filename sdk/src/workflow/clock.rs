//! The time as the host tells it. A replay is told the same.

use std::time::Duration;

/// Milliseconds since the Unix epoch.
pub fn now() -> u64 {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::workflow::vmcp::workflow::clock::now();
    #[cfg(not(target_arch = "wasm32"))]
    return 0;
}

/// Waits. A run that waits long may be laid aside meanwhile.
pub async fn sleep(time: Duration) {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    #[cfg(target_arch = "wasm32")]
    crate::bindings::workflow::vmcp::workflow::clock::sleep(milliseconds).await;
    #[cfg(not(target_arch = "wasm32"))]
    let _ = milliseconds;
}
