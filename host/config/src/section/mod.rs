//! The sections of the file, one module each, and [`Config`], which holds them all.

pub(crate) mod admin;
pub(crate) mod aggregation;
pub(crate) mod backend;
pub(crate) mod composite;
pub(crate) mod incoming_auth;
pub(crate) mod operational;
pub(crate) mod optimizer;
pub(crate) mod outgoing_auth;
pub(crate) mod plugin;
pub(crate) mod runs;
pub(crate) mod server;
pub(crate) mod telemetry;

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    time::Duration,
};

use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value;
use vmcp_core::id::BackendId;

use crate::{
    CompositeFile,
    value::{
        duration::GoDuration,
        secret::{Secret, SecretError},
    },
};
use {
    admin::{AdminConfig, SealingConfig},
    aggregation::AggregationConfig,
    backend::{BackendConfig, BackendEntry, is_owned_by_the_transport},
    composite::{CompositeToolConfig, CompositeToolRef},
    incoming_auth::IncomingAuthConfig,
    operational::{CodeModeConfig, OperationalConfig, RateLimitingConfig, SessionStorageConfig},
    optimizer::OptimizerConfig,
    outgoing_auth::{HeaderInjectionConfig, OutgoingAuthConfig, StrategyType},
    plugin::PluginConfig,
    runs::RunsConfig,
    server::ServerConfig,
    telemetry::{AuditConfig, TelemetryConfig},
};

/// Longest wait for one reply where nothing in the file says otherwise.
pub const DEFAULT_REQUEST_TIMEOUT: GoDuration = GoDuration::from_secs(30);

/// A loaded configuration. Everything in it is valid, and every path in it is usable from anywhere.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this virtual server; the file's stem where the file has none.
    pub name: String,
    /// The group of workloads in the reference system.
    pub group_ref: Option<String>,
    /// The MCP servers behind the host, those of `backendsFrom` last.
    pub backends: Vec<BackendConfig>,
    pub incoming_auth: IncomingAuthConfig,
    pub outgoing_auth: OutgoingAuthConfig,
    pub aggregation: AggregationConfig,
    pub composite_tools: Vec<CompositeToolConfig>,
    /// Those of `compositeToolsFrom`, by file name.
    pub composite_files: Vec<CompositeFile>,
    pub composite_tool_refs: Vec<CompositeToolRef>,
    pub operational: OperationalConfig,
    pub metadata: IndexMap<String, String>,
    pub telemetry: Option<TelemetryConfig>,
    pub audit: Option<AuditConfig>,
    pub optimizer: Option<OptimizerConfig>,
    pub code_mode: Option<CodeModeConfig>,
    pub session_storage: SessionStorageConfig,
    pub rate_limiting: Option<RateLimitingConfig>,
    pub passthrough_headers: Vec<String>,
    pub plugins: Vec<PluginConfig>,
    pub runs: RunsConfig,
    pub server: ServerConfig,
    /// Absent: the user's state folder of the platform, per `name`.
    pub state_dir: Option<PathBuf>,
    /// Absent: the user's cache folder of the platform.
    pub cache_dir: Option<PathBuf>,
    pub admin: Option<AdminConfig>,
    pub sealing: SealingConfig,
}

/// Why a backend's headers cannot be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// The value of the header could not be found.
    #[error("header `{header}` of backend `{backend}` has no value")]
    Unresolved { backend: BackendId, header: String, source: SecretError },
    /// The value, which is not shown, holds a line break or another character that a header cannot carry.
    #[error("the value of header `{header}` of backend `{backend}` cannot be sent")]
    BadValue { backend: BackendId, header: String },
}

impl Config {
    /// The backend of that name.
    pub fn backend(&self, name: &BackendId) -> Option<&BackendConfig> {
        self.backends.iter().find(|backend| backend.name == *name)
    }

    /// Longest wait for one reply of `backend`: what `operational.timeouts.perWorkload` says, else the backend's
    /// `requestTimeout`, else `operational.timeouts.default`.
    pub fn request_timeout(&self, backend: &BackendId) -> Duration {
        let timeouts = &self.operational.timeouts;
        let per_workload = timeouts.per_workload.get(backend.as_str()).copied();
        let own = || self.backend(backend)?.request_timeout;
        per_workload.or_else(own).unwrap_or(timeouts.default).as_duration()
    }

    /// The headers to send to `backend` with every request: its own, and the one of `header_injection`, which wins.
    pub fn headers_for(&self, backend: &BackendId) -> Result<Vec<(HeaderName, HeaderValue)>, HeaderError> {
        let own = self.backend(backend).map(|config| &config.headers);
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        for (name, secret) in own.into_iter().flatten().filter(|(name, _)| !is_owned_by_the_transport(name)) {
            headers.push(header(backend, name, secret)?);
        }
        let strategy = self.outgoing_auth.strategy(backend).filter(|s| s.kind == StrategyType::HeaderInjection);
        if let Some(injection) = strategy.and_then(|strategy| strategy.header_injection.as_ref()) {
            let injected = header(backend, &injection.header_name, &injection.secret())?;
            headers.retain(|(name, _)| *name != injected.0);
            headers.push(injected);
        }
        Ok(headers)
    }
}

fn header(backend: &BackendId, name: &str, secret: &Secret) -> Result<(HeaderName, HeaderValue), HeaderError> {
    let unresolved = |source| HeaderError::Unresolved { backend: backend.clone(), header: name.to_owned(), source };
    let bad = || HeaderError::BadValue { backend: backend.clone(), header: name.to_owned() };
    let value = secret.resolve().map_err(unresolved)?;
    let mut value = HeaderValue::from_str(&value).map_err(|_| bad())?;
    value.set_sensitive(true);
    Ok((name.parse().map_err(|_| bad())?, value))
}

impl HeaderInjectionConfig {
    /// The header's value, or where to find it.
    pub fn secret(&self) -> Secret {
        match (&self.header_value, &self.header_value_env) {
            (Some(value), _) => Secret::Literal(value.clone()),
            (None, variable) => Secret::FromEnv(variable.clone().unwrap_or_default()),
        }
    }
}

/// The configuration file of vmcp-host: many MCP servers behind one endpoint.
///
/// A file of the reference system (ToolHive Virtual MCP Server) loads unchanged. Durations are Go's (`30s`, `1m30s`);
/// paths are relative to the file; a key with the value null counts as absent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "vmcp-host configuration")]
pub(crate) struct Document {
    /// Name of this virtual server. Absent: the file's name without extension.
    #[schemars(length(min = 1))]
    pub(crate) name: Option<String>,
    /// The group of workloads in the reference system; kept, and shown in the status.
    #[schemars(length(min = 1))]
    pub(crate) group_ref: Option<String>,
    /// The MCP servers behind the host.
    #[serde(default)]
    pub(crate) backends: Vec<BackendEntry>,
    /// A file as desktop clients keep them (`mcpServers`, or `servers`), whose servers are added to `backends`. Only in
    /// that file `${VAR}` and `${VAR:-default}` are replaced.
    #[schemars(length(min = 1))]
    pub(crate) backends_from: Option<PathBuf>,
    /// Who clients are, and what they may do. Absent: `type: anonymous`.
    #[serde(default)]
    #[schemars(extend("default" = {"type": "anonymous"}))]
    pub(crate) incoming_auth: IncomingAuthConfig,
    /// How the host proves to backends who it or its client is. Absent: not at all.
    #[serde(default)]
    pub(crate) outgoing_auth: OutgoingAuthConfig,
    /// What of the backends is shown, and under which names.
    #[serde(default)]
    pub(crate) aggregation: AggregationConfig,
    /// Tools made of steps, or run by a component.
    #[serde(default)]
    pub(crate) composite_tools: Vec<CompositeToolConfig>,
    /// A folder of composite tools: each `.yaml`, `.yml` and `.json` file in it is one entry more of `compositeTools`.
    #[schemars(length(min = 1))]
    pub(crate) composite_tools_from: Option<PathBuf>,
    /// Composite tools kept in Kubernetes; without an operator they have no effect.
    #[serde(default)]
    pub(crate) composite_tool_refs: Vec<CompositeToolRef>,
    /// Timeouts, failures and logging.
    #[serde(default)]
    pub(crate) operational: OperationalConfig,
    /// Anything to keep with the configuration.
    #[serde(default)]
    pub(crate) metadata: IndexMap<String, String>,
    /// Traces and metrics. Absent: none.
    pub(crate) telemetry: Option<TelemetryConfig>,
    /// A record of who did what. Absent: none.
    pub(crate) audit: Option<AuditConfig>,
    /// Shows `find_tool` and `call_tool` in place of the whole catalog. Absent: off.
    pub(crate) optimizer: Option<OptimizerConfig>,
    /// One tool that runs scripts over all others. Absent: off.
    pub(crate) code_mode: Option<CodeModeConfig>,
    /// Where sessions are kept.
    #[serde(default)]
    pub(crate) session_storage: SessionStorageConfig,
    /// How many calls clients may make. Absent: any number.
    pub(crate) rate_limiting: Option<RateLimitingConfig>,
    /// Headers of clients that are passed on to backends.
    #[serde(default)]
    #[schemars(with = "Vec<HeaderNameText>")]
    pub(crate) passthrough_headers: Vec<String>,
    /// Components besides those that come with the host.
    #[serde(default)]
    pub(crate) plugins: Vec<PluginConfig>,
    /// Where the runs of composite tools are kept, and for how long.
    #[serde(default)]
    pub(crate) runs: RunsConfig,
    /// Limits and checks of the side that clients see.
    #[serde(default)]
    pub(crate) server: ServerConfig,
    /// Folder for what must last: last seen tools, keys, journals. Absent: the platform's state folder, per `name`.
    #[schemars(length(min = 1))]
    pub(crate) state_dir: Option<PathBuf>,
    /// Folder for what can be made again: compiled components. Absent: the platform's cache folder.
    #[schemars(length(min = 1))]
    pub(crate) cache_dir: Option<PathBuf>,
    /// The interface that the host's own commands speak to.
    pub(crate) admin: Option<AdminConfig>,
    /// Keys that seal session ids and state handed to clients.
    #[serde(default)]
    pub(crate) sealing: SealingConfig,
}

/// How the schema describes a header name.
struct HeaderNameText;

impl JsonSchema for HeaderNameText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "HeaderName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "header-name", "x-expect": "a header name like `X-Tenant`" })
    }
}

impl Document {
    /// Gives each composite tool its entry as written.
    ///
    /// - `instance`: what the document was read from
    pub(crate) fn keep_composites(&mut self, mut instance: Value) {
        let Some(Value::Array(entries)) = instance.get_mut("compositeTools").map(Value::take) else { return };
        for (tool, entry) in self.composite_tools.iter_mut().zip(entries) {
            if let Value::Object(entry) = entry {
                tool.document = entry;
            }
        }
    }

    /// The typed configuration of a valid file, paths relative to `base`.
    pub(crate) fn into_config(
        self,
        default_name: &str,
        backends: Vec<BackendConfig>,
        composite_files: Vec<CompositeFile>,
        base: &Path,
    ) -> Config {
        let rebased = |path: Option<PathBuf>| path.map(|path| base.join(path));
        let mut config = Config {
            name: self.name.unwrap_or_else(|| default_name.to_owned()),
            group_ref: self.group_ref,
            backends,
            incoming_auth: self.incoming_auth,
            outgoing_auth: self.outgoing_auth,
            aggregation: self.aggregation,
            composite_tools: self.composite_tools,
            composite_files,
            composite_tool_refs: self.composite_tool_refs,
            operational: self.operational,
            metadata: self.metadata,
            telemetry: self.telemetry,
            audit: self.audit,
            optimizer: self.optimizer,
            code_mode: self.code_mode,
            session_storage: self.session_storage,
            rate_limiting: self.rate_limiting,
            passthrough_headers: self.passthrough_headers,
            plugins: self.plugins,
            runs: self.runs,
            server: self.server,
            state_dir: rebased(self.state_dir),
            cache_dir: rebased(self.cache_dir),
            admin: self.admin,
            sealing: self.sealing,
        };
        config.runs.rebase(base);
        config.plugins.iter_mut().for_each(|plugin| plugin.rebase(base));
        config.composite_tools.iter_mut().for_each(|tool| tool.rebase(base));
        config.sealing.keys.iter_mut().for_each(|key| key.rebase(base));
        if let Some(admin) = &mut config.admin {
            admin.token_from.rebase(base);
        }
        if let Some(audit) = &mut config.audit {
            audit.log_file = rebased(audit.log_file.take());
        }
        if let Some(optimizer) = &mut config.optimizer {
            optimizer.rebase(base);
        }
        if let Some(telemetry) = &mut config.telemetry {
            telemetry.headers.values_mut().for_each(|value| value.rebase(base));
            telemetry.ca_cert_path = rebased(telemetry.ca_cert_path.take());
        }
        config
    }
}
