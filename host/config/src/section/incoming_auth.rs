//! `incomingAuth`: who clients are, and what they may do.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Who clients are, and what they may do. Absent: `type: anonymous`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "IncomingAuth")]
pub struct IncomingAuthConfig {
    /// How clients prove who they are.
    #[serde(rename = "type")]
    pub kind: IncomingAuthType,
    /// For `type: oidc`.
    pub oidc: Option<OidcConfig>,
    /// What clients may do.
    pub authz: Option<AuthzConfig>,
}

impl Default for IncomingAuthConfig {
    fn default() -> Self {
        Self { kind: IncomingAuthType::Anonymous, oidc: None, authz: None }
    }
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IncomingAuthType {
    /// Tokens of an OIDC provider.
    Oidc,
    /// The operating system's user.
    Local,
    /// They do not.
    Anonymous,
}

/// The OIDC provider whose tokens the host accepts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Oidc")]
pub struct OidcConfig {
    /// Address of the provider; required for `type: oidc`.
    #[serde(default)]
    pub issuer: String,
    /// The audience that a token must name; required for `type: oidc`.
    #[serde(default)]
    pub audience: String,
    /// Client id of the host at the provider.
    pub client_id: Option<String>,
    /// Environment variable with the client secret.
    pub client_secret_env: Option<String>,
    /// Resource indicator that the host advertises. Absent: the audience.
    pub resource: Option<String>,
    /// Address of the provider's keys. Absent: discovered.
    #[schemars(extend("format" = "http-url", "x-expect" = "an address like `https://host/path`"))]
    pub jwks_url: Option<String>,
    /// Address of the provider's token introspection, for opaque tokens.
    #[schemars(extend("format" = "http-url", "x-expect" = "an address like `https://host/path`"))]
    pub introspection_url: Option<String>,
    /// Scopes that a token must have.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Lets the provider have a private address.
    #[serde(default)]
    pub protected_resource_allow_private_ip: bool,
    /// Lets the provider's keys have a private address.
    #[serde(default)]
    pub jwks_allow_private_ip: bool,
    /// Lets the provider be without TLS: for tests only.
    #[serde(default)]
    pub insecure_allow_http: bool,
    /// PEM file of certificates to trust at the provider; absolute, without `..`.
    pub ca_bundle_path: Option<PathBuf>,
}

/// What clients may do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Authz")]
pub struct AuthzConfig {
    /// Which kind of policies.
    #[serde(rename = "type")]
    pub kind: AuthzType,
    /// Policies in the Cedar language; `type: cedar` needs one.
    #[serde(default)]
    pub policies: Vec<String>,
    /// Cedar entities as JSON text.
    #[serde(default = "no_entities")]
    pub entities_json: String,
    /// Upstream provider whose claims count.
    pub primary_upstream_provider: Option<String>,
    /// Claim with the groups. Absent: `groups`, `roles`, then `cognito:groups`.
    pub group_claim_name: Option<String>,
    /// Claim with the roles.
    pub role_claim_name: Option<String>,
    /// Cedar entity type of a group.
    #[serde(default = "group_entity_type")]
    pub group_entity_type: String,
}

fn no_entities() -> String {
    "[]".into()
}

fn group_entity_type() -> String {
    "THVGroup".into()
}

/// Which kind of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthzType {
    Cedar,
    None,
}
