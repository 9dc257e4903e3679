//! `admin` and `sealing`: the host's own door and keys.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::secret::Secret;

/// The interface that the host's own commands speak to. Without this section it is a unix socket in `stateDir`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Admin")]
pub struct AdminConfig {
    /// Address and port to listen on as well; never without a token.
    #[schemars(length(min = 1))]
    pub listen: String,
    /// The token that callers must send.
    pub token_from: Secret,
}

/// Keys that seal session ids and the state handed to clients: whoever has them takes up what another host began, before a
/// restart or beside it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Sealing")]
pub struct SealingConfig {
    /// Newest first: the first seals, all open. A key is 32 bytes as 64 hexadecimal digits or as base64, as
    /// `openssl rand -hex 32` makes one. Absent: one key, made once and kept in `stateDir`.
    pub keys: Vec<Secret>,
}
