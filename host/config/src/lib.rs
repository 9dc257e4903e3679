//! Unstable. The configuration file: from YAML text to a typed [`Config`], or to every problem of the file at once.
//!
//! [`load`] goes through these steps, one module each: `tree` reads YAML into nodes that know their line and column;
//! `scalar` decides what an untyped scalar means (as Go's yaml.v3 does); `shape` turns the tree into JSON, guided by
//! the schema; `check` compares it with that schema; serde types it into the structs of `section`; `validate` applies
//! the rules a schema cannot say; `fate` tells which keys this build honours. [`check_calls`] comes after, where somebody knows
//! which tools there are.
//!
//! Building what the file describes is not done here, and nothing here is checked again later.

mod calls;
mod check;
mod client_file;
mod composite_file;
mod fate;
mod key_path;
mod load;
mod problem;
mod reference;
mod repair;
mod scalar;
mod schema;
mod section;
mod shape;
mod tree;
mod validate;
mod value;

pub use calls::{CallReport, Called, Callee, Takes, check_calls};
pub use composite_file::CompositeFile;
pub use fate::{Fate, KeyFate};
pub use key_path::{KeyPath, Step};
pub use load::{ConfigError, Loaded, load, load_str};
pub use problem::{Location, Problem, Rule};
pub use reference::{REFERENCE_PATH, reference_markdown};
pub use schema::{SCHEMA_PATH, schema, schema_text};
pub use section::{
    Config, DEFAULT_REQUEST_TIMEOUT, HeaderError,
    admin::{AdminConfig, SealingConfig},
    aggregation::{
        AggregationConfig, AnnotationOverride, DEFAULT_RESOLVER, ParameterOverride, PromptOverride, PromptRule,
        ResourceOverride, ResourceRule, ToolConfigRef, ToolOverride, ToolRule, Visibility,
    },
    backend::{BackendConfig, ResourceNaming, SessionSharing, TransportConfig},
    composite::{
        CompositeToolConfig, CompositeToolRef, ElicitationAction, ElicitationResponse, ErrorAction, ErrorHandling,
        OutputConfig, OutputProperty, StepConfig, StepType, SwitchCase, UndoConfig,
    },
    incoming_auth::{AuthzConfig, AuthzType, IncomingAuthConfig, IncomingAuthType, OidcConfig},
    operational::{
        CircuitBreakerConfig, CodeModeConfig, FailureHandlingConfig, LogLevel, OperationalConfig, PartialFailureMode,
        RateLimitBucket, RateLimitingConfig, SessionStorageConfig, SessionStorageProvider, TimeoutConfig,
        ToolRateLimit,
    },
    optimizer::{DEFAULT_RANKING, EmbeddingProvider, OptimizerConfig},
    outgoing_auth::{
        AuthSource, AwsStsConfig, HeaderInjectionConfig, OboConfig, OutgoingAuthConfig, RoleMapping, Strategy,
        StrategyType, TokenExchangeConfig, UpstreamInjectConfig, XaaConfig,
    },
    plugin::{GrantsConfig, LimitsConfig, PluginConfig},
    runs::RunsConfig,
    server::ServerConfig,
    telemetry::{AuditConfig, TelemetryConfig},
};
pub use validate::aggregation::BUILTIN_RESOLVERS;
pub use value::{
    NameRule,
    duration::GoDuration,
    ratio::Ratio,
    secret::{Secret, SecretError},
    size::ByteSize,
};
