//! Which resources which legacy clients watch. Several clients share a backend's session, so the host subscribes once for all
//! and unsubscribes with the last.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex},
};

use tracing::debug;
use vmcp_backend::{Backend, BackendInfo};
use vmcp_core::{id::BackendId, json::RawJson};
use vmcp_mcp::{era::Era, object::Object};

use crate::discovery::ask;

/// Resources that one client may watch.
pub(crate) const MAX_PER_SESSION: usize = 1000;

/// A resource at its backend, by the backend's own URI.
type Watched = (BackendId, String);

/// The sessions that watch each resource.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_resource: Mutex<BTreeMap<Watched, HashSet<Arc<str>>>>,
}

impl Subscriptions {
    /// Notes that `session` watches the resource.
    pub(crate) fn add(&self, session: &Arc<str>, backend: &BackendId, uri: &str) {
        let mut by_resource = self.lock();
        by_resource.entry((backend.clone(), uri.to_owned())).or_default().insert(session.clone());
    }

    /// Notes that `session` does not watch the resource any more. Whether nobody does now.
    pub(crate) fn remove(&self, session: &str, backend: &BackendId, uri: &str) -> bool {
        let mut by_resource = self.lock();
        let watched = (backend.clone(), uri.to_owned());
        let Some(sessions) = by_resource.get_mut(&watched) else { return true };
        sessions.remove(session);
        let is_last = sessions.is_empty();
        if is_last {
            by_resource.remove(&watched);
        }
        is_last
    }

    /// Forgets a session that ended. What nobody watches any more.
    pub(crate) fn forget(&self, session: &str) -> Vec<Watched> {
        let mut given_up = Vec::new();
        self.lock().retain(|watched, sessions| {
            sessions.remove(session);
            if sessions.is_empty() {
                given_up.push(watched.clone());
            }
            !sessions.is_empty()
        });
        given_up
    }

    /// Subscribes anew at a backend that was connected anew.
    pub(crate) async fn renew(&self, backend: &Backend, info: &BackendInfo) {
        if info.era != Era::Legacy {
            return;
        }
        let watched: Vec<_> =
            self.lock().keys().filter(|(id, _)| id == backend.id()).map(|(_, uri)| uri.clone()).collect();
        for uri in watched {
            tell(backend, "resources/subscribe", &uri).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Watched, HashSet<Arc<str>>>> {
        self.by_resource.lock().expect("no panic while locked")
    }
}

/// Subscribes or unsubscribes in the host's own name.
pub(crate) async fn tell(backend: &Backend, method: &'static str, uri: &str) {
    if let Err(error) = ask(backend, method, Object::from([("uri", RawJson::of(&uri))])).await {
        debug!(backend = %backend.id(), uri, %error, "`{method}` failed");
    }
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
