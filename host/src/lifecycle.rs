//! The reasons to stop: signals, and the host's own.

use tokio_util::sync::CancellationToken;

/// Waits for Ctrl-C or SIGTERM, or until `shutdown` fires for another reason.
pub(crate) async fn until_stopped(shutdown: &CancellationToken) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let Ok(mut terminate) = signal(SignalKind::terminate()) else { return shutdown.cancelled().await };
        tokio::select! {
            _ = tokio::signal::ctrl_c() => tracing::info!("interrupted, stopping"),
            _ = terminate.recv() => tracing::info!("asked to stop"),
            () = shutdown.cancelled() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::select! {
        _ = tokio::signal::ctrl_c() => tracing::info!("interrupted, stopping"),
        () = shutdown.cancelled() => {}
    }
}
