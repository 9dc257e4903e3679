//! `telemetry` and `audit`: what is told about what happens.

use std::path::PathBuf;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::value::{ratio::Ratio, secret::Secret};

/// Traces and metrics.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Telemetry")]
#[expect(clippy::struct_excessive_bools, reason = "the reference format has that many switches")]
pub struct TelemetryConfig {
    /// Address of the OTLP collector.
    pub endpoint: Option<String>,
    /// Name of this service. Absent: the file's `name`.
    pub service_name: Option<String>,
    /// Version of this service. Absent: the host's.
    pub service_version: Option<String>,
    /// Whether traces are sent.
    pub tracing_enabled: bool,
    /// Whether metrics are sent.
    pub metrics_enabled: bool,
    /// Share of requests that are traced, 0 to 1.
    pub sampling_rate: Ratio,
    /// Headers for the collector.
    pub headers: IndexMap<String, Secret>,
    /// Speaks to the collector without TLS.
    pub insecure: bool,
    /// Offers metrics at `/metrics`.
    pub enable_prometheus_metrics_path: bool,
    /// Port of its own for `/metrics`; the reference system does not read it.
    #[schemars(range(min = 0, max = 65_535))]
    pub prometheus_port: Option<u16>,
    /// Offers metrics on the transport's port; the reference system does not read it.
    pub metrics_on_transport_port: bool,
    /// Environment variables that become attributes of traces.
    pub environment_variables: Vec<String>,
    /// Attributes of every trace and metric.
    pub custom_attributes: IndexMap<String, String>,
    /// Keeps attribute names of older releases.
    pub use_legacy_attributes: bool,
    /// PEM file of certificates to trust at the collector.
    pub ca_cert_path: Option<PathBuf>,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            service_name: None,
            service_version: None,
            tracing_enabled: false,
            metrics_enabled: false,
            sampling_rate: Ratio::new(0.05),
            headers: IndexMap::new(),
            insecure: false,
            enable_prometheus_metrics_path: false,
            prometheus_port: None,
            metrics_on_transport_port: false,
            environment_variables: Vec::new(),
            custom_attributes: IndexMap::new(),
            use_legacy_attributes: false,
            ca_cert_path: None,
        }
    }
}

/// A record of who did what.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schemars(rename = "Audit")]
pub struct AuditConfig {
    /// Whether there is one. The reference system takes the section alone for a yes.
    pub enabled: Option<bool>,
    /// Name of this component in the record.
    pub component: Option<String>,
    /// Kinds of events to record. Empty: all.
    pub event_types: Vec<String>,
    /// Kinds of events to leave out; beats `eventTypes`.
    pub exclude_event_types: Vec<String>,
    /// Records what clients send.
    pub include_request_data: bool,
    /// Records what they get.
    pub include_response_data: bool,
    /// Looks into results for errors.
    pub detect_application_errors: bool,
    /// Bytes recorded of each request or result.
    #[schemars(range(min = 0))]
    pub max_data_size: u64,
    /// Links of a chain of delegation that are recorded.
    #[schemars(range(min = 1))]
    pub max_delegation_depth: u32,
    /// File to append to. Absent: standard output.
    pub log_file: Option<PathBuf>,
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self {
            enabled: None,
            component: None,
            event_types: Vec::new(),
            exclude_event_types: Vec::new(),
            include_request_data: false,
            include_response_data: false,
            detect_application_errors: true,
            max_data_size: 1024,
            max_delegation_depth: 10,
            log_file: None,
        }
    }
}
