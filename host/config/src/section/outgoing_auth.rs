//! `outgoingAuth`: how the host proves to backends who it or its client is.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vmcp_core::id::BackendId;

/// How the host proves to backends who it or its client is. Absent: not at all.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "OutgoingAuth")]
pub struct OutgoingAuthConfig {
    /// Where strategies come from.
    pub source: AuthSource,
    /// For every backend without an entry in `backends`.
    pub default: Option<Strategy>,
    /// By the backend's name.
    #[serde(default)]
    pub backends: IndexMap<String, Strategy>,
}

impl OutgoingAuthConfig {
    /// The strategy for `backend`: its own, else the default one.
    pub fn strategy(&self, backend: &BackendId) -> Option<&Strategy> {
        self.backends.get(backend.as_str()).or(self.default.as_ref())
    }
}

/// Where strategies come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AuthSource {
    /// This file.
    #[default]
    Inline,
    /// Kubernetes.
    Discovered,
}

/// How the host authenticates to a backend: a type, and the section of that name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Strategy {
    /// Which of the sections counts.
    #[serde(rename = "type")]
    pub kind: StrategyType,
    /// For `header_injection`.
    pub header_injection: Option<HeaderInjectionConfig>,
    /// For `token_exchange`.
    pub token_exchange: Option<TokenExchangeConfig>,
    /// For `upstream_inject`.
    pub upstream_inject: Option<UpstreamInjectConfig>,
    /// For `aws_sts`.
    pub aws_sts: Option<AwsStsConfig>,
    /// For `obo`.
    pub obo: Option<OboConfig>,
    /// For `xaa`.
    pub xaa: Option<XaaConfig>,
}

/// How the host authenticates to a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrategyType {
    /// Not at all.
    Unauthenticated,
    /// A fixed header.
    HeaderInjection,
    /// OAuth 2.0 token exchange.
    TokenExchange,
    /// The token of an upstream identity provider.
    UpstreamInject,
    /// Requests signed with temporary AWS credentials.
    AwsSts,
    /// On behalf of the user, in Entra.
    Obo,
    /// Cross-application access.
    Xaa,
}

/// A fixed header. Exactly one of `headerValue` and `headerValueEnv`.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "HeaderInjection")]
pub struct HeaderInjectionConfig {
    /// Name of the header.
    #[schemars(extend("format" = "header-name", "x-expect" = "a header name like `Authorization`"))]
    pub header_name: String,
    /// Its value.
    #[schemars(extend("format" = "header-value", "x-expect" = "a header value"))]
    pub header_value: Option<String>,
    /// Environment variable with its value; must be set when the file is loaded.
    #[schemars(length(min = 1))]
    pub header_value_env: Option<String>,
}

impl std::fmt::Debug for HeaderInjectionConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeaderInjectionConfig")
            .field("header_name", &self.header_name)
            .field("header_value_env", &self.header_value_env)
            .finish_non_exhaustive()
    }
}

/// OAuth 2.0 token exchange (RFC 8693).
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "TokenExchange")]
pub struct TokenExchangeConfig {
    /// Token endpoint.
    #[schemars(length(min = 1))]
    pub token_url: String,
    /// Client id at the endpoint.
    pub client_id: Option<String>,
    /// Client secret at the endpoint; needs `clientId`.
    pub client_secret: Option<String>,
    /// Environment variable with the client secret; needs `clientId`.
    pub client_secret_env: Option<String>,
    /// Audience to ask for.
    pub audience: Option<String>,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Type of the token to exchange: `access_token`, `id_token`, `jwt` or a URN of RFC 8693.
    pub subject_token_type: Option<String>,
    /// Upstream provider whose token is exchanged. Absent: the client's own token.
    pub subject_provider_name: Option<String>,
}

/// The token of an upstream identity provider.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "UpstreamInject")]
pub struct UpstreamInjectConfig {
    /// Name of the provider.
    #[serde(default)]
    pub provider_name: String,
}

/// Requests signed with temporary AWS credentials.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AwsSts")]
pub struct AwsStsConfig {
    /// Region of the token service and of the service called.
    #[schemars(length(min = 1))]
    pub region: String,
    /// Name of the service called, for signing.
    pub service: Option<String>,
    /// Role where no mapping fits.
    pub fallback_role_arn: Option<String>,
    /// Roles by claims.
    #[serde(default)]
    pub role_mappings: Vec<RoleMapping>,
    /// Claim that mappings compare.
    pub role_claim: Option<String>,
    /// Seconds that credentials last.
    pub session_duration: Option<i32>,
    /// Claim that names the session.
    #[serde(default = "subject_claim")]
    pub session_name_claim: String,
    /// Upstream provider whose token is used. Absent: the client's own token.
    pub subject_provider_name: Option<String>,
}

fn subject_claim() -> String {
    "sub".into()
}

/// A role for clients with a claim.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleMapping {
    /// Value of the role claim.
    pub claim: Option<String>,
    /// Expression over the claims, in CEL.
    pub matcher: Option<String>,
    /// The role.
    #[schemars(length(min = 1))]
    pub role_arn: String,
    /// Lower comes first. Absent: last.
    pub priority: Option<i64>,
}

/// On behalf of the user, in Entra.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Obo")]
pub struct OboConfig {
    /// Token endpoint.
    #[schemars(length(min = 1))]
    pub token_url: String,
    /// Client id at the endpoint.
    pub client_id: Option<String>,
    /// Client secret at the endpoint; needs `clientId`.
    pub client_secret: Option<String>,
    /// Environment variable with the client secret; needs `clientId`.
    pub client_secret_env: Option<String>,
    /// Audience to ask for.
    pub audience: Option<String>,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Upstream provider whose token is used. Absent: the client's own token.
    pub subject_token_provider_name: Option<String>,
    /// Seconds before its expiry at which a token is renewed.
    #[serde(default)]
    pub cache_skew_seconds: i32,
}

/// Cross-application access: an identity assertion from the identity provider, granted at the target.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Xaa")]
pub struct XaaConfig {
    /// Token endpoint of the identity provider.
    #[schemars(length(min = 1))]
    pub idp_token_url: String,
    /// Client id there; needs a secret.
    pub idp_client_id: Option<String>,
    /// Client secret there.
    pub idp_client_secret: Option<String>,
    /// Environment variable with the client secret there.
    pub idp_client_secret_env: Option<String>,
    /// Token endpoint of the target.
    #[schemars(length(min = 1))]
    pub target_token_url: String,
    /// Lets the target be without TLS.
    #[serde(default)]
    pub insecure_target_token_url: bool,
    /// Client id at the target; needs a secret.
    pub target_client_id: Option<String>,
    /// Client secret at the target.
    pub target_client_secret: Option<String>,
    /// Environment variable with the client secret at the target.
    pub target_client_secret_env: Option<String>,
    /// Audience of the assertion.
    #[schemars(length(min = 1))]
    pub target_audience: String,
    /// Resource indicator of the target.
    pub target_resource: Option<String>,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Upstream provider whose token is used.
    pub subject_provider_name: Option<String>,
    /// Only `urn:ietf:params:oauth:token-type:id_token`, or `id_token` for short.
    pub subject_token_type: Option<String>,
}

/// `Debug` of a section that may hold a secret shows its endpoint and nothing else.
macro_rules! redacted_debug {
    ($($section:ident . $shown:ident),+) => {
        $(impl std::fmt::Debug for $section {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($section)).field(stringify!($shown), &self.$shown).finish_non_exhaustive()
            }
        })+
    };
}

redacted_debug!(TokenExchangeConfig.token_url, OboConfig.token_url, XaaConfig.target_token_url);
