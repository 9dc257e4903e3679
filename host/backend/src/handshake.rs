//! The first words with a backend: which era it speaks, and what it says of itself.

use std::time::Duration;

use serde::Deserialize;
use vmcp_core::{call::Reply, json::RawJson};
use vmcp_mcp::{
    era::{Era, Revision},
    error::{HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION},
    meta::SERVER_INFO,
    object::Object,
};

/// How long a backend may be silent about the probe before it is taken for one that does not know it. Long enough for a
/// process that is slow to start: a modern one that answers later refuses the `initialize` that came meanwhile.
pub(crate) const PROBE_PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const DISCOVER: &str = "server/discover";
pub(crate) const INITIALIZE: &str = "initialize";
pub(crate) const INITIALIZED: &str = "notifications/initialized";

/// What a backend said of itself when it was connected.
#[derive(Clone, Debug)]
pub struct BackendInfo {
    pub era: Era,
    /// The protocol revision agreed on.
    pub revision: String,
    /// `serverInfo`; `null` when it gave none.
    pub server_info: RawJson,
    /// What it offers: `tools`, `resources` and so on.
    pub capabilities: Object,
    pub instructions: Option<String>,
}

impl BackendInfo {
    /// Whether the backend tells when its list of `tools`, `prompts` or `resources` changes.
    pub(crate) fn tells_changes_of(&self, what: &str) -> bool {
        self.says(what, "listChanged")
    }

    /// Whether the backend tells when a resource changes that it was asked to watch.
    pub(crate) fn tells_of_resources(&self) -> bool {
        self.says("resources", "subscribe")
    }

    fn says(&self, capability: &str, part: &str) -> bool {
        self.capabilities.get_object(capability).get(part).is_some_and(|value| value.as_str() == "true")
    }
}

/// What the answer to `server/discover` says.
#[derive(Debug)]
pub(crate) enum Probe {
    Modern(BackendInfo),
    /// It does not know the question, or offers older revisions only: `initialize` comes next.
    Legacy,
    /// It is modern, but there is no revision that both speak.
    Foreign(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discovered {
    supported_versions: Vec<String>,
}

/// Reads the answer to `server/discover`.
pub(crate) fn read_discover(reply: &Reply) -> Probe {
    match reply {
        Reply::Result(result) => match result.to_value::<Discovered>() {
            Ok(discovered) => match choose(&discovered.supported_versions) {
                Some(Era::Modern) => Probe::Modern(discovered_info(result)),
                Some(Era::Legacy) => Probe::Legacy,
                None => foreign(&discovered.supported_versions),
            },
            Err(_) => Probe::Legacy,
        },
        Reply::Error(error) => read_refusal(error),
    }
}

fn read_refusal(error: &RawJson) -> Probe {
    let error = Object::parse_lenient(Some(error));
    let code = error.get("code").and_then(|code| code.as_str().parse().ok()).unwrap_or(0_i64);
    let message = error.get_string("message").unwrap_or_default();
    match code {
        UNSUPPORTED_PROTOCOL_VERSION => {
            let supported = error.get_object("data").get("supported").and_then(|s| s.to_value::<Vec<String>>().ok());
            match supported {
                Some(versions) if choose(&versions) == Some(Era::Legacy) => Probe::Legacy,
                Some(versions) => foreign(&versions),
                None => Probe::Foreign(message),
            }
        }
        HEADER_MISMATCH | MISSING_CLIENT_CAPABILITY => {
            Probe::Foreign(format!("it refused to say what it offers: {message} ({code})"))
        }
        _ => Probe::Legacy,
    }
}

/// The era of the newest revision among `offered` that the host speaks.
fn choose(offered: &[String]) -> Option<Era> {
    offered.iter().filter_map(|version| Revision::parse(version)).max().map(Revision::era)
}

fn foreign(offered: &[String]) -> Probe {
    Probe::Foreign(format!("it speaks only protocol versions that the host does not: {}", offered.join(", ")))
}

fn discovered_info(result: &RawJson) -> BackendInfo {
    let result = Object::parse_lenient(Some(result));
    let server_info = result.get_object("_meta").get(SERVER_INFO).or_else(|| result.get("serverInfo")).cloned();
    BackendInfo {
        era: Era::Modern,
        revision: Revision::LATEST_MODERN.as_str().to_owned(),
        server_info: server_info.unwrap_or_else(|| RawJson::of(&())),
        capabilities: result.get_object("capabilities"),
        instructions: result.get_string("instructions"),
    }
}

/// The `params` of `initialize`.
pub(crate) fn initialize_params(capabilities: &RawJson, host_info: &RawJson) -> Object {
    Object::from([
        ("protocolVersion", RawJson::of(&Revision::LATEST_LEGACY.as_str())),
        ("capabilities", capabilities.clone()),
        ("clientInfo", host_info.clone()),
    ])
}

/// Reads the answer to `initialize`; why the backend cannot be used, if so.
pub(crate) fn read_initialize(reply: &Reply) -> Result<BackendInfo, String> {
    let result = match reply {
        Reply::Result(result) => Object::parse(result).map_err(|_| "its answer to `initialize` is no object")?,
        Reply::Error(error) => {
            let message = Object::parse_lenient(Some(error)).get_string("message");
            return Err(format!("it refused `initialize`: {}", message.as_deref().unwrap_or(error.as_str())));
        }
    };
    let Some(revision) = result.get_string("protocolVersion") else {
        return Err("its answer to `initialize` names no protocol version".to_owned());
    };
    if Revision::parse(&revision).is_none_or(|revision| revision.era() != Era::Legacy) {
        return Err(format!("it wants protocol version `{revision}`, which the host does not speak"));
    }
    Ok(BackendInfo {
        era: Era::Legacy,
        revision,
        server_info: result.get("serverInfo").cloned().unwrap_or_else(|| RawJson::of(&())),
        capabilities: result.get_object("capabilities"),
        instructions: result.get_string("instructions"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_era_is_told_from_the_answer_to_the_probe() {
        let check = |reply: &str, expected: &str| {
            let raw = RawJson::parse(reply.to_owned()).unwrap();
            let reply = if raw.as_str().contains("code") { Reply::Error(raw) } else { Reply::Result(raw) };
            let told = match read_discover(&reply) {
                Probe::Modern(info) => format!("modern {}", info.server_info.as_str()),
                Probe::Legacy => "legacy".to_owned(),
                Probe::Foreign(why) => why,
            };
            assert_eq!(told, expected);
        };
        check(r#"{"supportedVersions":["2026-07-28"],"capabilities":{}}"#, "modern null");
        check(
            r#"{"supportedVersions":["2025-06-18","2026-07-28"],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x"}}}"#,
            r#"modern {"name":"x"}"#,
        );
        check(r#"{"supportedVersions":["2025-06-18"]}"#, "legacy");
        check(r#"{"tools":[]}"#, "legacy");
        check(r#"{"code":-32601,"message":"no"}"#, "legacy");
        check(r#"{"code":-32602}"#, "legacy");
        check(r#"{"code":-32022,"message":"no","data":{"supported":["2025-11-25"]}}"#, "legacy");
        check(
            r#"{"supportedVersions":["2031-01-01"]}"#,
            "it speaks only protocol versions that the host does not: 2031-01-01",
        );
        check(r#"{"code":-32021,"message":"need"}"#, "it refused to say what it offers: need (-32021)");
    }

    #[test]
    fn initialize_agrees_on_a_legacy_revision_or_fails() {
        let check = |reply: &str, expected: Result<&str, &str>| {
            let raw = RawJson::parse(reply.to_owned()).unwrap();
            let reply = if raw.as_str().contains("code") { Reply::Error(raw) } else { Reply::Result(raw) };
            let told = read_initialize(&reply).map(|info| info.revision);
            assert_eq!(told.as_deref().map_err(String::as_str), expected);
        };
        check(r#"{"protocolVersion":"2024-11-05","capabilities":{}}"#, Ok("2024-11-05"));
        check(r#"{"protocolVersion":"1"}"#, Err("it wants protocol version `1`, which the host does not speak"));
        check(r"{}", Err("its answer to `initialize` names no protocol version"));
        check(r#"{"code":1,"message":"key?"}"#, Err("it refused `initialize`: key?"));
    }
}
