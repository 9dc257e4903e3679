//! `_meta` of requests and results: which keys belong to one hop, and what a modern request must carry.

use vmcp_core::json::RawJson;

use crate::{era::Revision, object::Object};

const RESERVED: &str = "io.modelcontextprotocol/";
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// The name of the extension by which calls become tasks.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// Names the task that a message belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
pub const PROGRESS_TOKEN: &str = "progressToken";

/// Reserved keys that speak about the message itself and therefore cross the host.
const END_TO_END: [&str; 2] = [RELATED_TASK, "io.modelcontextprotocol/model-immediate-response"];

/// The `_meta` of a client's request, taken apart.
#[derive(Clone, Debug, Default)]
pub struct RequestMeta {
    /// What goes on to the backend: everything but the keys of the hop and the progress token.
    pub forwarded: Object,
    pub progress_token: Option<RawJson>,
    pub protocol_version: Option<String>,
    pub client_capabilities: Option<RawJson>,
    pub client_info: Option<RawJson>,
    pub log_level: Option<RawJson>,
}

impl RequestMeta {
    /// Takes `_meta` out of `params`.
    pub fn take_from(params: &mut Object) -> Self {
        let Some(meta) = params.remove("_meta") else { return Self::default() };
        let mut meta = Object::parse_lenient(Some(&meta));
        let taken = Self {
            progress_token: meta.remove(PROGRESS_TOKEN),
            protocol_version: meta
                .remove(PROTOCOL_VERSION)
                .map(|v| v.as_string().unwrap_or_else(|| v.as_str().to_owned())),
            client_capabilities: meta.remove(CLIENT_CAPABILITIES),
            client_info: meta.remove(CLIENT_INFO),
            log_level: meta.remove(LOG_LEVEL),
            forwarded: Object::default(),
        };
        meta.retain(|key| !key.starts_with(RESERVED) || END_TO_END.contains(&key));
        Self { forwarded: meta, ..taken }
    }

    /// Puts `_meta` for a legacy backend into `params`; nothing when there is nothing to say.
    pub fn put_legacy(&self, params: &mut Object, progress_token: Option<RawJson>) {
        let mut meta = self.forwarded.clone();
        if let Some(token) = progress_token {
            meta.set(PROGRESS_TOKEN, token);
        }
        if !meta.is_empty() {
            params.set("_meta", meta.to_json());
        }
    }

    /// Puts `_meta` for a modern backend into `params`.
    ///
    /// - `capabilities`: what the backend may ask of the client behind this call
    /// - `client_info`: the host, since the host is the client of this hop
    pub fn put_modern(
        &self,
        params: &mut Object,
        revision: Revision,
        capabilities: &RawJson,
        client_info: &RawJson,
        progress_token: Option<RawJson>,
    ) {
        let mut meta = self.forwarded.clone();
        if let Some(token) = progress_token {
            meta.set(PROGRESS_TOKEN, token);
        }
        meta.set(PROTOCOL_VERSION, RawJson::of(&revision.as_str()));
        meta.set(CLIENT_CAPABILITIES, capabilities.clone());
        meta.set(CLIENT_INFO, client_info.clone());
        if let Some(level) = &self.log_level {
            meta.set(LOG_LEVEL, level.clone());
        }
        params.set("_meta", meta.to_json());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_the_hop_stay_behind_and_the_rest_goes_on() {
        let text = r#"{"name":"x","_meta":{"progressToken":7,"traceparent":"00-1","io.modelcontextprotocol/clientInfo":{},
            "io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/related-task":{"taskId":"t"},
            "io.modelcontextprotocol/unheardOf":1,"com.example/kept":[1, 2]}}"#;
        let mut params = Object::parse(&RawJson::parse(text).unwrap()).unwrap();
        let meta = RequestMeta::take_from(&mut params);
        assert_eq!(meta.protocol_version.as_deref(), Some("2026-07-28"));
        meta.put_legacy(&mut params, Some(RawJson::of(&1)));
        assert_eq!(
            params.to_json().as_str(),
            r#"{"name":"x","_meta":{"traceparent":"00-1","io.modelcontextprotocol/related-task":{"taskId":"t"},"com.example/kept":[1, 2],"progressToken":1}}"#
        );
    }

    #[test]
    fn a_request_without_meta_gets_none_for_a_legacy_backend() {
        let mut params = Object::from([("name", RawJson::of(&"x"))]);
        let meta = RequestMeta::take_from(&mut params);
        meta.put_legacy(&mut params, None);
        assert_eq!(params.to_json().as_str(), r#"{"name":"x"}"#);
    }
}
