//! Which resources which clients watch: legacy clients by their sessions, modern clients by the streams they listen on. The host
//! watches each resource once for all of them, in the way of the backend's era, and stops with the last.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use tokio::sync::OwnedMutexGuard;
use tracing::debug;
use vmcp_backend::{Backend, BackendInfo, BackendState, ClientProfile};
use vmcp_core::{
    call::{CallError, Reply},
    capability::Kind,
    id::BackendId,
    json::RawJson,
};
use vmcp_mcp::{era::Era, error::RpcError, object::Object};

use crate::{
    discovery::ask_as,
    forward::{era_of, no_reply},
    gateway::Gateway,
    router::{Caller, Target},
};

/// Resources that one client may watch.
pub(crate) const MAX_PER_WATCHER: usize = 1000;

/// A resource at its backend, by the backend's own URI.
type Watched = (BackendId, String);

/// Who watches each resource.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_resource: Mutex<BTreeMap<Watched, HashSet<Arc<str>>>>,
    /// What a backend is told comes in the order in which it was decided.
    turns: Mutex<HashMap<BackendId, Arc<tokio::sync::Mutex<()>>>>,
}

impl Subscriptions {
    /// Notes that `watcher` watches the resource.
    pub(crate) fn add(&self, watcher: &Arc<str>, backend: &BackendId, uri: &str) {
        let mut by_resource = self.lock();
        by_resource.entry((backend.clone(), uri.to_owned())).or_default().insert(watcher.clone());
    }

    /// Notes that `watcher` does not watch the resource any more. Whether nobody does now.
    pub(crate) fn remove(&self, watcher: &str, backend: &BackendId, uri: &str) -> bool {
        let mut by_resource = self.lock();
        let watched = (backend.clone(), uri.to_owned());
        let Some(watchers) = by_resource.get_mut(&watched) else { return true };
        watchers.remove(watcher);
        let is_last = watchers.is_empty();
        if is_last {
            by_resource.remove(&watched);
        }
        is_last
    }

    /// Forgets a watcher that is gone. What nobody watches any more.
    pub(crate) fn forget(&self, watcher: &str) -> Vec<Watched> {
        let mut given_up = Vec::new();
        self.lock().retain(|watched, watchers| {
            // What others watch is not looked at again.
            let is_given_up = watchers.remove(watcher) && watchers.is_empty();
            if is_given_up {
                given_up.push(watched.clone());
            }
            !is_given_up
        });
        given_up
    }

    async fn turn(&self, backend: &BackendId) -> OwnedMutexGuard<()> {
        let turn = self.turns.lock().expect("no panic while locked").entry(backend.clone()).or_default().clone();
        turn.lock_owned().await
    }

    fn is_watched(&self, backend: &BackendId, uri: &str) -> bool {
        self.lock().contains_key(&(backend.clone(), uri.to_owned()))
    }

    /// The resources of `backend` that anybody watches, by the backend's own URIs.
    pub(crate) fn watched_at(&self, backend: &BackendId) -> Vec<String> {
        self.lock().keys().filter(|(id, _)| id == backend).map(|(_, uri)| uri.clone()).collect()
    }

    /// Subscribes anew at a backend that was connected anew. `false` when it did not take all.
    pub(crate) async fn renew(&self, backend: &Backend, info: &BackendInfo) -> bool {
        let watched = self.watched_at(backend.id());
        if info.era == Era::Modern {
            backend.watch(watched);
            return true;
        }
        let mut took_all = true;
        for uri in watched {
            let outcome = tell(backend, &ClientProfile::default(), "resources/subscribe", &uri).await;
            // It may not have the resource yet.
            took_all &= matches!(outcome, Ok(Reply::Result(_)));
        }
        took_all
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Watched, HashSet<Arc<str>>>> {
        self.by_resource.lock().expect("no panic while locked")
    }
}

impl Gateway {
    /// Has `watcher` hear of changes of the resource. A reply is a refusal of the backend.
    ///
    /// - `client`: who watches; a legacy server that tells each session of its own doings is asked in the client's session too
    pub(crate) async fn begin_watching(
        &self,
        watcher: &Arc<str>,
        backend: &Backend,
        client: &ClientProfile,
        uri: &str,
    ) -> Result<Option<Reply>, RpcError> {
        let era = era_of(backend).await?;
        let _one_at_a_time = self.subscriptions.turn(backend.id()).await;
        // First, so that an update right after the subscription finds its way.
        self.subscriptions.add(watcher, backend.id(), uri);
        let outcome = match era {
            Era::Modern => {
                backend.watch(self.subscriptions.watched_at(backend.id()));
                return Ok(None);
            }
            Era::Legacy => {
                if !client.is_mute() {
                    drop(tell(backend, client, "resources/subscribe", uri).await);
                }
                tell(backend, &ClientProfile::default(), "resources/subscribe", uri).await
            }
        };
        if !matches!(outcome, Ok(Reply::Result(_))) {
            self.subscriptions.remove(watcher, backend.id(), uri);
        }
        match outcome.map_err(|error| no_reply(&error))? {
            Reply::Result(_) => Ok(None),
            refusal @ Reply::Error(_) => Ok(Some(refusal)),
        }
    }

    /// The opposite of [`begin_watching`](Self::begin_watching).
    pub(crate) async fn end_watching(&self, watcher: &str, backend: &Backend, client: &ClientProfile, uri: &str) {
        let _one_at_a_time = self.subscriptions.turn(backend.id()).await;
        let is_last = self.subscriptions.remove(watcher, backend.id(), uri);
        // A session that serves others may be theirs to be told in.
        if !client.is_mute() && is_legacy(backend) && (is_last || client.scope.is_some()) {
            drop(tell(backend, client, "resources/unsubscribe", uri).await);
        }
        if is_last {
            self.give_up(backend, uri).await;
        }
    }

    /// Forgets all that `watcher` watched.
    pub(crate) async fn forget_watcher(&self, watcher: &str) {
        for (backend, uri) in self.subscriptions.forget(watcher) {
            if let Some(backend) = self.backends.get(&backend) {
                let _one_at_a_time = self.subscriptions.turn(backend.id()).await;
                if self.subscriptions.is_watched(backend.id(), &uri) {
                    continue;
                }
                self.give_up(backend, &uri).await;
            }
        }
    }

    async fn give_up(&self, backend: &Backend, uri: &str) {
        match is_legacy(backend) {
            true => drop(tell(backend, &ClientProfile::default(), "resources/unsubscribe", uri).await),
            // A backend that is down is asked for nothing when it comes back.
            false => backend.watch(self.subscriptions.watched_at(backend.id())),
        }
    }

    /// Begins to watch resources for a modern client that listens on a stream; those that can be watched are told.
    pub async fn watch(
        self: &Arc<Self>,
        caller: &Caller,
        uris: impl IntoIterator<Item = String>,
    ) -> Result<Watch, RpcError> {
        let watcher: Arc<str> = uuid::Uuid::new_v4().to_string().into();
        let mut watch = Watch { gateway: self.clone(), watcher: watcher.clone(), uris: HashSet::new() };
        let catalog = self.catalog_for_request().await?;
        for uri in uris.into_iter().take(MAX_PER_WATCHER) {
            let Ok(Target { backend, original_name, .. }) = self.target(&catalog, Era::Modern, Kind::Resource, &uri)
            else {
                continue;
            };
            let client = caller.profile(Era::Legacy);
            if let Ok(None) = self.begin_watching(&watcher, backend, &client, &original_name).await {
                watch.uris.insert(uri);
            }
        }
        Ok(watch)
    }
}

/// Resources that a modern client watches, until this is dropped.
pub struct Watch {
    gateway: Arc<Gateway>,
    watcher: Arc<str>,
    /// As they are advertised.
    pub uris: HashSet<String>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Whatever has begun. The receiver ends with the gateway, and then nothing is watched any more.
        let _ = self.gateway.departed.send(self.watcher.clone());
    }
}

/// Whether `backend` is connected, and legacy.
fn is_legacy(backend: &Backend) -> bool {
    matches!(&*backend.state().borrow(), BackendState::Ready(info) if info.era == Era::Legacy)
}

/// Subscribes or unsubscribes in a session of `client`.
async fn tell(backend: &Backend, client: &ClientProfile, method: &'static str, uri: &str) -> Result<Reply, CallError> {
    let params = Object::from([("uri", RawJson::of(&uri))]);
    let outcome = ask_as(client.clone(), backend, method, params).await;
    if let Err(error) = &outcome {
        debug!(backend = %backend.id(), uri, %error, "`{method}` failed");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_client_to_leave_ends_a_subscription() {
        let subscriptions = Subscriptions::default();
        let backend = BackendId::new("b").unwrap();
        let (one, two): (Arc<str>, Arc<str>) = ("1".into(), "2".into());
        subscriptions.add(&one, &backend, "x");
        subscriptions.add(&two, &backend, "x");
        subscriptions.add(&two, &backend, "y");
        assert!(!subscriptions.remove(&one, &backend, "x"));
        assert_eq!(subscriptions.forget(&two), [(backend.clone(), "x".to_owned()), (backend.clone(), "y".to_owned())]);
        assert!(subscriptions.remove(&one, &backend, "x"), "nobody watches it");
    }
}
