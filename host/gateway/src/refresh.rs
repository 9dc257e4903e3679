//! Keeps the catalog true in the background: reads a backend's lists when it comes up or says that they changed, and builds a
//! new catalog when that made a difference.

use std::{sync::Arc, time::Duration};

use tokio::{sync::broadcast::error::RecvError, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use vmcp_backend::{Backend, BackendChange, BackendInfo, BackendState};
use vmcp_core::json::RawJson;
use vmcp_mcp::{era::Era, object::Object};

use crate::{
    aggregator::aggregate,
    discovery::{DiscoverError, ask, discover},
    gateway::{Gateway, GatewayEvent, Slot, reached},
    session::LogLevel,
};

/// Changes that follow each other within this time make one new catalog, or one reading of a backend's lists.
const SETTLE: Duration = Duration::from_millis(50);
/// How long after lists could not be read they are tried again.
const RETRY: Duration = Duration::from_secs(10);
const SWEEP_PERIOD: Duration = Duration::from_mins(1);

/// Follows one backend until `shutdown`.
pub(crate) async fn keep_discovered(gateway: Arc<Gateway>, backend: Arc<Backend>, shutdown: CancellationToken) {
    let mut state = backend.state();
    let mut changes = backend.changes();
    let mut log_level = gateway.log_level.subscribe();
    loop {
        let now = state.borrow_and_update().clone();
        let mut retry = false;
        match now {
            BackendState::Ready(info) => {
                retry = !read_lists(&gateway, &backend).await;
                let level = *log_level.borrow_and_update();
                apply_log_level(&backend, &info, level).await;
            }
            BackendState::Idle => retry = !settle_idle(&gateway, &backend).await,
            BackendState::Failed { error, .. } => gateway.update_slot(backend.id(), |slot| lose(slot, error)),
            BackendState::Stopped => gateway.update_slot(backend.id(), |slot| lose(slot, "stopped".into())),
            BackendState::Starting => {}
        }
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    break;
                }
                change = changes.recv() => match change {
                    Ok(BackendChange::ListChanged(_) | BackendChange::Reconnected) | Err(RecvError::Lagged(_)) => {
                        // A storm of notices is one change: wait for a pause, then read once.
                        sleep(SETTLE).await;
                        while changes.try_recv().is_ok() {}
                        break;
                    }
                    Ok(BackendChange::ResourceUpdated { uri }) => announce_update(&gateway, &backend, &uri),
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = log_level.changed() => {
                    let level = *log_level.borrow_and_update();
                    let BackendState::Ready(info) = state.borrow().clone() else { continue };
                    apply_log_level(&backend, &info, level).await;
                }
                () = sleep(RETRY), if retry => break,
            }
        }
    }
}

/// Reads the backend's lists and notes them. `false` when that failed and should be tried again.
async fn read_lists(gateway: &Gateway, backend: &Backend) -> bool {
    let found = {
        let _permit = gateway.discoveries.acquire().await.expect("the semaphore is never closed");
        discover(backend).await
    };
    match found {
        Ok(found) => {
            gateway.last_seen.remember(backend.id(), &reached(backend), &found);
            debug!(backend = %backend.id(), tools = found.tools.len(), "discovered");
            gateway.update_slot(backend.id(), |slot| {
                let same = slot.settled && slot.available && slot.discovered.as_deref() == Some(&found);
                *slot = Slot { discovered: Some(Arc::new(found)), available: true, settled: true, error: None };
                !same
            });
            true
        }
        Err(DiscoverError::Call(error)) => {
            // The connection's own state tells the rest; what the backend offered before stays reserved.
            gateway.update_slot(backend.id(), |slot| lose(slot, error.to_string()));
            false
        }
        Err(error) => {
            warn!(backend = %backend.id(), %error, "its lists cannot be read");
            gateway.update_slot(backend.id(), |slot| lose(slot, error.to_string()));
            false
        }
    }
}

/// A backend that is not started until it is called: what it offered before is good enough. If that is not known, it is
/// started once to ask.
async fn settle_idle(gateway: &Gateway, backend: &Backend) -> bool {
    let mut is_known = false;
    gateway.update_slot(backend.id(), |slot| {
        is_known = slot.discovered.is_some();
        let news = is_known && !(slot.available && slot.settled);
        slot.available |= is_known;
        slot.settled |= is_known;
        news
    });
    is_known || read_lists(gateway, backend).await
}

/// Tells a legacy backend which log messages to send. Modern ones learn it from each request.
async fn apply_log_level(backend: &Backend, info: &BackendInfo, level: Option<LogLevel>) {
    let Some(level) = level.filter(|_| info.era == Era::Legacy && info.capabilities.get("logging").is_some()) else {
        return;
    };
    let params = Object::from([("level", RawJson::of(&level.as_str()))]);
    if let Err(error) = ask(backend, "logging/setLevel", params).await {
        debug!(backend = %backend.id(), %error, "could not set the log level");
    }
}

fn lose(slot: &mut Slot, error: String) -> bool {
    let news = slot.available || !slot.settled;
    slot.available = false;
    slot.settled = true;
    slot.error = Some(error);
    news
}

fn announce_update(gateway: &Gateway, backend: &Backend, uri: &str) {
    let prefix =
        gateway.rules.backends.get(backend.id()).and_then(|rules| rules.uri_prefix.as_deref()).unwrap_or_default();
    gateway.emit(GatewayEvent::ResourceUpdated { uri: format!("{prefix}{uri}").into() });
}

/// Builds a new catalog whenever something changed, until `shutdown`.
pub(crate) async fn keep_aggregated(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut generation = 0;
    // The first catalog does not wait for ever; this also builds it where there is no backend at all.
    let patience = if gateway.backends.is_empty() { Duration::ZERO } else { gateway.patience };
    let mut patience = Some(Box::pin(sleep(patience)));
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = gateway.nudge.notified() => {}
            () = async { patience.as_mut().expect("guarded").await }, if patience.is_some() => patience = None,
        }
        if generation > 0 {
            sleep(SETTLE).await;
        }
        let Some(offers) = gateway.offers() else { continue };
        let building = gateway.clone();
        let next = generation + 1;
        let built =
            tokio::task::spawn_blocking(move || aggregate(next, &offers, &building.rules, building.resolver.as_ref()));
        match built.await.expect("aggregation does not panic") {
            Ok(catalog) => {
                info!(tools = catalog.tools.entries().len(), names = %catalog.naming.resolver, "catalog {next} stands");
                generation = next;
                gateway.publish(catalog);
            }
            Err(error) => {
                let error = Arc::new(error);
                let first = gateway.refuse(error.clone());
                let cause = std::error::Error::source(&*error).map(ToString::to_string).unwrap_or_default();
                error!(%error, cause, "no new catalog{}", if first { "" } else { ", the last good one stays" });
            }
        }
    }
}

/// Ends idle sessions until `shutdown`.
pub(crate) async fn sweep_sessions(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = sleep(SWEEP_PERIOD) => gateway.sessions.sweep(),
        }
    }
}
