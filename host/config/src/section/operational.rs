//! `operational`, and the small sections about running: `codeMode`, `sessionStorage`, `rateLimiting`.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::duration::GoDuration;

/// Timeouts, failures and logging.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Operational")]
pub struct OperationalConfig {
    /// Absent: `info`.
    pub log_level: Option<LogLevel>,
    /// How long calls may take.
    pub timeouts: TimeoutConfig,
    /// What to do about backends that fail.
    pub failure_handling: FailureHandlingConfig,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything short of single messages.
    Debug,
}

/// How long calls may take.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Timeouts")]
pub struct TimeoutConfig {
    /// Longest wait for one reply of a backend that says nothing else.
    pub default: GoDuration,
    /// Longest wait for one reply, by the backend's name.
    pub per_workload: IndexMap<String, GoDuration>,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self { default: GoDuration::from_secs(30), per_workload: IndexMap::new() }
    }
}

/// What to do about backends that fail.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "FailureHandling")]
pub struct FailureHandlingConfig {
    /// Time between two probes of a backend.
    pub health_check_interval: GoDuration,
    /// Probes that must fail in a row before a backend counts as unhealthy.
    #[schemars(range(min = 1))]
    pub unhealthy_threshold: u32,
    /// Longest wait for one probe, shorter than the interval; 0 means 10 s.
    pub health_check_timeout: GoDuration,
    /// Time between two reports of the status.
    pub status_reporting_interval: GoDuration,
    /// Whether the host serves while a backend is down. Absent: `best_effort`, as the reference system behaves whatever
    /// the key says.
    pub partial_failure_mode: Option<PartialFailureMode>,
    /// Stops calls to a backend that keeps failing.
    pub circuit_breaker: CircuitBreakerConfig,
}

impl Default for FailureHandlingConfig {
    fn default() -> Self {
        Self {
            health_check_interval: GoDuration::from_secs(30),
            unhealthy_threshold: 3,
            health_check_timeout: GoDuration::ZERO,
            status_reporting_interval: GoDuration::from_secs(30),
            partial_failure_mode: None,
            circuit_breaker: CircuitBreakerConfig::default(),
        }
    }
}

/// Whether the host serves while a backend is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartialFailureMode {
    /// Requests that concern the whole catalog fail, and the host is not ready, while any backend is down.
    Fail,
    /// The others serve on, and the names of the one that is down stay reserved.
    BestEffort,
}

/// Stops calls to a backend that keeps failing.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "CircuitBreaker")]
pub struct CircuitBreakerConfig {
    /// Whether there is one.
    pub enabled: bool,
    /// Failures in a row that open it.
    pub failure_threshold: i64,
    /// Time until it lets one call try; at least 1 s.
    pub timeout: GoDuration,
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self { enabled: false, failure_threshold: 5, timeout: GoDuration::from_secs(60) }
    }
}

/// One tool that runs scripts over all others. A value that is not positive means the default.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "CodeMode")]
pub struct CodeModeConfig {
    /// Whether the tool is advertised.
    pub enabled: bool,
    /// Steps a script may take.
    pub step_limit: i64,
    /// Calls a script may have under way at a time.
    pub parallel_max_concurrency: i64,
    /// Longest wait for one call of a script.
    pub tool_call_timeout: GoDuration,
}

impl Default for CodeModeConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            step_limit: 100_000,
            parallel_max_concurrency: 10,
            tool_call_timeout: GoDuration::from_secs(30),
        }
    }
}

/// Where sessions are kept.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "SessionStorage")]
pub struct SessionStorageConfig {
    /// What keeps them.
    pub provider: SessionStorageProvider,
    /// Address of the Redis server.
    pub address: Option<String>,
    /// Number of the Redis database.
    #[schemars(range(min = 0))]
    pub db: u32,
    /// Prefix of every key in Redis.
    pub key_prefix: String,
}

impl Default for SessionStorageConfig {
    fn default() -> Self {
        Self { provider: SessionStorageProvider::Memory, address: None, db: 0, key_prefix: "thv:vmcp:session:".into() }
    }
}

/// What keeps sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SessionStorageProvider {
    /// The process.
    Memory,
    /// A Redis server, shared by several hosts. Its password comes from `THV_SESSION_REDIS_PASSWORD`.
    Redis,
}

/// How many calls clients may make. Needs a Redis session store.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "RateLimiting")]
#[derive(Default)]
pub struct RateLimitingConfig {
    /// For all clients together.
    pub shared: Option<RateLimitBucket>,
    /// For each client.
    pub per_user: Option<RateLimitBucket>,
    /// For single tools, on top.
    pub tools: Vec<ToolRateLimit>,
}

/// Calls that may be made: a bucket of tokens that refills.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RateLimitBucket {
    /// Calls in a full bucket.
    #[schemars(range(min = 1, max = 2_147_483_647))]
    pub max_tokens: u32,
    /// Time in which an empty bucket fills: `1m`, or `{ duration: 1m0s }` as Kubernetes writes it.
    #[serde(deserialize_with = "refill_period")]
    #[schemars(with = "RefillPeriod")]
    pub refill_period: GoDuration,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(extend("x-expect" = "a duration like `1m`"))]
enum RefillPeriod {
    Text(GoDuration),
    Nested(NestedDuration),
}

/// A duration as Kubernetes types are written field by field.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NestedDuration {
    /// The duration.
    duration: GoDuration,
}

fn refill_period<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<GoDuration, D::Error> {
    Ok(match RefillPeriod::deserialize(deserializer)? {
        RefillPeriod::Text(duration) | RefillPeriod::Nested(NestedDuration { duration }) => duration,
    })
}

/// How often one tool may be called. At least one of `shared` and `perUser`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRateLimit {
    /// Advertised name of the tool.
    #[schemars(length(min = 1))]
    pub name: String,
    /// For all clients together.
    pub shared: Option<RateLimitBucket>,
    /// For each client.
    pub per_user: Option<RateLimitBucket>,
}
