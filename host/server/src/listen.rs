//! What a client wants to hear of outside its requests: the GET stream of a legacy session, `subscriptions/listen` of a
//! modern client. Both carry the gateway's events, each in its own form.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::{self, error::RecvError};
use vmcp_core::{capability::Kind, json::RawJson};
use vmcp_gateway::{Gateway, GatewayEvent, Watch, router::Caller, session::Session};
use vmcp_mcp::{envelope::write_notification, error::RpcError, meta::SUBSCRIPTION_ID, object::Object};

/// Turns events into messages for one client.
pub(crate) struct Listener {
    events: broadcast::Receiver<GatewayEvent>,
    audience: Audience,
}

enum Audience {
    Session(Arc<Session>),
    Subscription { id: RawJson, lists: HashSet<&'static str>, watch: Watch },
}

/// The kinds of list changes, by the name of their list and the filter that asks for them.
const LISTS: [(&str, &str); 3] =
    [("tools", "toolsListChanged"), ("prompts", "promptsListChanged"), ("resources", "resourcesListChanged")];

/// The filter that names single resources.
const RESOURCES: &str = "resourceSubscriptions";

impl Listener {
    /// Everything that concerns a legacy session.
    pub(crate) fn of_session(gateway: &Gateway, session: Arc<Session>) -> Self {
        Self { events: gateway.events(), audience: Audience::Session(session) }
    }

    /// What a `subscriptions/listen` request `id` asks for, and the message that acknowledges it.
    pub(crate) async fn subscribe(
        gateway: &Arc<Gateway>,
        caller: &Caller,
        id: &RawJson,
        params: &Object,
    ) -> Result<(Self, Bytes), RpcError> {
        let wanted: Map<String, Value> = match params.get("notifications").map(RawJson::to_value) {
            None => return Err(RpcError::invalid_params("`notifications` is missing")),
            Some(Err(_)) => return Err(RpcError::invalid_params("`notifications` is no object")),
            Some(Ok(wanted)) => wanted,
        };
        let lists: HashSet<_> = (LISTS.iter())
            .filter(|(_, filter)| wanted.get(*filter) == Some(&Value::Bool(true)))
            .map(|(list, _)| *list)
            .collect();
        // Before anything is watched, so that no change after the acknowledgement is missed.
        let events = gateway.events();
        let uris: Vec<String> = match wanted.get(RESOURCES) {
            None => Vec::new(),
            Some(uris) => serde_json::from_value(uris.clone())
                .map_err(|_| RpcError::invalid_params(format!("`notifications.{RESOURCES}` is no list of URIs")))?,
        };
        let watch = gateway.watch(caller, uris.iter().cloned()).await?;
        // What is not honoured is not acknowledged.
        let mut honoured: Map<String, Value> = LISTS
            .iter()
            .filter(|(list, _)| lists.contains(list))
            .map(|(_, filter)| ((*filter).into(), true.into()))
            .collect();
        if !watch.uris.is_empty() {
            let watched: Vec<_> = uris.iter().filter(|uri| watch.uris.contains(*uri)).collect();
            honoured.insert(RESOURCES.to_owned(), json!(watched));
        }
        let params = with_subscription_id(json!({ "notifications": honoured }), id);
        let acknowledged = write_notification("notifications/subscriptions/acknowledged", Some(&params));
        let audience = Audience::Subscription { id: id.clone(), lists, watch };
        Ok((Self { events, audience }, acknowledged))
    }

    /// The next messages for the client; `None` when the gateway is gone.
    pub(crate) async fn next(&mut self) -> Option<Vec<Bytes>> {
        loop {
            let messages: Vec<_> = match self.events.recv().await {
                Ok(event) => self.message(&event).into_iter().collect(),
                // Something was missed: every list may have changed.
                Err(RecvError::Lagged(_)) => self.all_lists_changed(),
                Err(RecvError::Closed) => return None,
            };
            if !messages.is_empty() {
                return Some(messages);
            }
        }
    }

    /// The messages for a client that may have missed a change of any list.
    pub(crate) fn all_lists_changed(&self) -> Vec<Bytes> {
        let all = [Kind::Tool, Kind::Prompt, Kind::Resource].map(GatewayEvent::ListChanged);
        all.iter().filter_map(|event| self.message(event)).collect()
    }

    fn message(&self, event: &GatewayEvent) -> Option<Bytes> {
        let (method, params) = match event {
            GatewayEvent::ListChanged(kind) => {
                let list = match kind {
                    Kind::Tool => "tools",
                    Kind::Prompt => "prompts",
                    Kind::Resource | Kind::ResourceTemplate => "resources",
                };
                if matches!(&self.audience, Audience::Subscription { lists, .. } if !lists.contains(list)) {
                    return None;
                }
                (format!("notifications/{list}/list_changed"), None)
            }
            GatewayEvent::ResourceUpdated { uri } => {
                let is_wanted = match &self.audience {
                    Audience::Session(session) => {
                        session.subscriptions.lock().expect("no panic while locked").contains(&**uri)
                    }
                    Audience::Subscription { watch, .. } => watch.uris.contains(&**uri),
                };
                if !is_wanted {
                    return None;
                }
                ("notifications/resources/updated".to_owned(), Some(json!({ "uri": uri })))
            }
        };
        let params = match &self.audience {
            Audience::Session(_) => params.map(|params| RawJson::of(&params)),
            Audience::Subscription { id, .. } => Some(with_subscription_id(params.unwrap_or_else(|| json!({})), id)),
        };
        Some(write_notification(&method, params.as_ref()))
    }
}

fn with_subscription_id(mut params: Value, id: &RawJson) -> RawJson {
    let id: Value = id.to_value().unwrap_or_default();
    params["_meta"] = json!({ SUBSCRIPTION_ID: id });
    RawJson::of(&params)
}
