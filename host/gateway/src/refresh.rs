//! Keeps the catalog true in the background: reads a backend's lists when it comes up or says that they changed, and builds a
//! new catalog when that made a difference.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{
        broadcast::{
            Receiver,
            error::{RecvError, TryRecvError},
        },
        mpsc::UnboundedReceiver,
    },
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use vmcp_backend::{Backend, BackendChange, BackendInfo, BackendState};
use vmcp_core::{extension::ResolveError, json::RawJson};
use vmcp_mcp::{era::Era, object::Object};

use crate::{
    aggregator::{AggregateError, aggregate},
    composite,
    discovery::{Extras, ask, discover},
    gateway::{Gateway, GatewayEvent, Slot, reached},
    session::LogLevel,
};

/// Changes that follow each other within this time make one new catalog, or one reading of a backend's lists.
const SETTLE: Duration = Duration::from_millis(50);
/// How long after lists could not be read, or a component did not answer, it is tried again.
const RETRY: Duration = Duration::from_secs(10);
const SWEEP_PERIOD: Duration = Duration::from_mins(1);

/// Follows one backend for ever.
pub(crate) async fn keep_discovered(gateway: Arc<Gateway>, backend: Arc<Backend>) {
    let mut state = backend.state();
    let mut changes = backend.changes();
    let mut log_level = gateway.log_level.subscribe();
    // What the present connection offers to able clients only.
    let mut extras = None;
    // Whether the present connection knows what clients want of it: log messages, and changes of resources.
    let mut is_told = false;
    loop {
        let now = state.borrow_and_update().clone();
        let mut retry = false;
        match now {
            BackendState::Ready(info) => {
                retry = !read_lists(&gateway, &backend, &mut extras).await;
                if !is_told {
                    let level = *log_level.borrow_and_update();
                    let took_level = apply_log_level(&backend, &info, level).await;
                    is_told = gateway.subscriptions.renew(&backend, &info).await && took_level;
                }
            }
            BackendState::Idle => retry = !settle_idle(&gateway, &backend, &mut extras).await,
            BackendState::Failed { error, .. } => gateway.update_slot(backend.id(), |slot| lose(slot, error)),
            BackendState::Stopped => gateway.update_slot(backend.id(), |slot| lose(slot, "stopped".into())),
            BackendState::Starting => {}
        }
        let mut retry_after = pin!(sleep(RETRY));
        loop {
            tokio::select! {
                biased;
                changed = state.changed() => match changed {
                    Ok(()) => {
                        (extras, is_told) = (None, false);
                        break;
                    }
                    Err(_) => return,
                },
                change = changes.recv() => match change {
                    Ok(BackendChange::ListChanged(_)) => {
                        is_told &= !wait_for_a_pause(&gateway, &backend, &mut changes).await;
                        break;
                    }
                    Ok(BackendChange::Reconnected) | Err(RecvError::Lagged(_)) => {
                        wait_for_a_pause(&gateway, &backend, &mut changes).await;
                        is_told = false;
                        break;
                    }
                    Ok(BackendChange::ResourceUpdated { uri }) => announce_update(&gateway, &backend, &uri),
                    Ok(BackendChange::Lost) => {}
                    Err(RecvError::Closed) => return,
                },
                _ = log_level.changed() => {
                    let level = *log_level.borrow_and_update();
                    let BackendState::Ready(info) = state.borrow().clone() else { continue };
                    is_told &= apply_log_level(&backend, &info, level).await;
                }
                () = &mut retry_after, if retry => break,
            }
        }
    }
}

/// A storm of notices is one change: waits a little, and hands on what else came meanwhile. Whether the backend may have been
/// connected anew in that time.
async fn wait_for_a_pause(gateway: &Gateway, backend: &Backend, changes: &mut Receiver<BackendChange>) -> bool {
    sleep(SETTLE).await;
    let mut is_anew = false;
    loop {
        match changes.try_recv() {
            Ok(BackendChange::ResourceUpdated { uri }) => announce_update(gateway, backend, &uri),
            Ok(BackendChange::Reconnected) | Err(TryRecvError::Lagged(_)) => is_anew = true,
            Ok(BackendChange::ListChanged(_) | BackendChange::Lost) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => return is_anew,
        }
    }
}

/// Reads the backend's lists and notes them. `false` when that failed and should be tried again.
async fn read_lists(gateway: &Arc<Gateway>, backend: &Backend, extras: &mut Option<Extras>) -> bool {
    match discover(backend, &gateway.discoveries, extras).await {
        Ok(found) => {
            debug!(backend = %backend.id(), tools = found.tools.len(), "discovered");
            let found = Arc::new(found);
            let (remembering, id, way, offered) =
                (gateway.clone(), backend.id().clone(), reached(backend), found.clone());
            // Nobody waits for the disk.
            drop(tokio::task::spawn_blocking(move || remembering.last_seen.remember(&id, &way, &offered)));
            gateway.update_slot(backend.id(), |slot| {
                let same = slot.settled && slot.available && slot.discovered.as_deref() == Some(&*found);
                *slot = Slot { discovered: Some(found), available: true, settled: true, error: None };
                !same
            });
            true
        }
        Err(error) => {
            let is_up = matches!(*backend.state().borrow(), BackendState::Ready(_));
            if is_up {
                warn!(backend = %backend.id(), %error, "its lists cannot be read");
            }
            gateway.update_slot(backend.id(), |slot| {
                // One that is up but busy keeps what it offered; one that is down keeps only the names.
                if is_up && slot.available {
                    slot.error = Some(error.to_string());
                    return false;
                }
                lose(slot, error.to_string())
            });
            false
        }
    }
}

/// A backend that is not started until it is called: what it offered before is good enough. If that is not known, it is
/// started once to ask.
async fn settle_idle(gateway: &Arc<Gateway>, backend: &Backend, extras: &mut Option<Extras>) -> bool {
    let mut is_known = false;
    gateway.update_slot(backend.id(), |slot| {
        is_known = slot.discovered.is_some();
        let news = is_known && !(slot.available && slot.settled);
        slot.available |= is_known;
        slot.settled |= is_known;
        news
    });
    is_known || read_lists(gateway, backend, extras).await
}

/// Tells a legacy backend which log messages to send. Modern ones learn it from each request. `false` when it could not be
/// told.
async fn apply_log_level(backend: &Backend, info: &BackendInfo, level: Option<LogLevel>) -> bool {
    let takes_level = info.era == Era::Legacy && info.capabilities.get("logging").is_some();
    let Some(level) = level.filter(|_| takes_level) else { return true };
    let params = Object::from([("level", RawJson::of(&level.as_str()))]);
    let outcome = ask(backend, "logging/setLevel", params).await;
    if let Err(error) = &outcome {
        debug!(backend = %backend.id(), %error, "could not set the log level");
    }
    outcome.is_ok()
}

fn lose(slot: &mut Slot, error: String) -> bool {
    let news = slot.available || !slot.settled;
    slot.available = false;
    slot.settled = true;
    slot.error = Some(error);
    news
}

fn announce_update(gateway: &Gateway, backend: &Backend, uri: &str) {
    let rules = gateway.rules.backends.get(backend.id());
    let prefix = rules.and_then(|rules| rules.uri_prefix.as_deref()).unwrap_or_default();
    gateway.emit(GatewayEvent::ResourceUpdated { uri: format!("{prefix}{uri}").into() });
}

/// Builds a new catalog whenever something changed, until `shutdown`.
pub(crate) async fn keep_aggregated(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut generation = 0;
    // The first catalog does not wait for ever; this also builds it where there is no backend at all.
    let patience = if gateway.backends.is_empty() { Duration::ZERO } else { gateway.patience };
    let mut wake = Some(Box::pin(sleep(patience)));
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = gateway.nudge.notified() => {}
            () = async { wake.as_mut().expect("guarded").await }, if wake.is_some() => wake = None,
        }
        if generation > 0 {
            sleep(SETTLE).await;
        }
        let Some(offers) = gateway.offers() else { continue };
        let is_complete = offers.len() == gateway.backends.len();
        let building = gateway.clone();
        let next = generation + 1;
        let built = tokio::task::spawn_blocking(move || {
            let catalog = aggregate(next, &offers, is_complete, &building.rules, building.resolver.as_ref())?;
            let catalog = composite::add(catalog, building.composites.values(), building.rules.names);
            Ok(match &building.tool_search {
                Some(search) => search.take(catalog),
                None => catalog,
            })
        });
        match built.await.expect("aggregation does not panic") {
            Ok(catalog) => {
                if let Some(search) = gateway.tool_search.as_ref().filter(|_| generation == 0) {
                    // The first catalog comes with its vectors; if the provider fails, it is searched by words until it does not.
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        _ = search.optimizer().fill() => {}
                    }
                }
                info!(tools = catalog.tools.entries().len(), names = %catalog.naming.resolver, "catalog {next} stands");
                generation = next;
                wake = None;
                gateway.publish(catalog);
                if let Some(search) = &gateway.tool_search {
                    search.count_tokens();
                }
            }
            Err(error) => {
                // A component that was only too slow may do better on a quieter machine.
                let may_pass = matches!(error, AggregateError::Resolve(ResolveError::Component { .. }));
                wake = (may_pass && generation > 0).then(|| Box::pin(sleep(RETRY)));
                let error = Arc::new(error);
                let first = gateway.refuse(error.clone());
                let cause = std::error::Error::source(&*error).map(ToString::to_string).unwrap_or_default();
                error!(%error, cause, "no new catalog{}", if first { "" } else { ", the last good one stays" });
            }
        }
    }
}

/// Ends idle sessions for ever.
pub(crate) async fn sweep_sessions(gateway: Arc<Gateway>) {
    loop {
        sleep(SWEEP_PERIOD).await;
        for session in gateway.sessions.sweep() {
            gateway.end_session(&session).await;
        }
    }
}

/// Gives up calls whose clients do not come back, for ever.
pub(crate) async fn sweep_parked(gateway: Arc<Gateway>) {
    loop {
        sleep(gateway.parked.sweep_period()).await;
        gateway.parked.sweep();
        gateway.waiting_tasks.sweep(gateway.input_timeout);
    }
}

/// Stops watching for those who listen no more, for ever.
pub(crate) async fn forget_departed(gateway: Arc<Gateway>, mut departures: UnboundedReceiver<Arc<str>>) {
    while let Some(watcher) = departures.recv().await {
        gateway.forget_watcher(&watcher).await;
    }
}
