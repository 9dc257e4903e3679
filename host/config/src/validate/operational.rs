//! Rules of the sections about running: `operational`, `sessionStorage`, `rateLimiting`, `telemetry`, `optimizer`,
//! `passthroughHeaders`.

use super::positive;
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::{
        Document,
        operational::{FailureHandlingConfig, RateLimitBucket, RateLimitingConfig, SessionStorageProvider},
        optimizer::{EmbeddingProvider, OptimizerConfig},
    },
    value::{duration::GoDuration, ratio::Ratio, secret::Secret},
};

pub(super) fn check(document: &Document, report: &mut Report<'_>) {
    let root = KeyPath::root();
    let path = root.key("operational");
    let timeouts = &document.operational.timeouts;
    positive(Some(timeouts.default), false, &path.key("timeouts").key("default"), report);
    for (name, timeout) in &timeouts.per_workload {
        positive(Some(*timeout), false, &path.key("timeouts").key("perWorkload").key(name), report);
    }
    failure_handling(&document.operational.failure_handling, &path.key("failureHandling"), report);

    let storage = &document.session_storage;
    let shared = storage.provider == SessionStorageProvider::Redis;
    if shared && storage.address.is_none() {
        let path = root.key("sessionStorage").key("address");
        report.error(Rule::IncompleteSessionStorage, &path, "`provider: redis` needs an `address`");
    }
    if let Some(limits) = &document.rate_limiting {
        rate_limiting(limits, shared, &root.key("rateLimiting"), report);
    }
    if let Some(telemetry) = &document.telemetry {
        let path = root.key("telemetry").key("samplingRate");
        between(telemetry.sampling_rate, 1.0, &path, report);
    }
    if let Some(config) = &document.optimizer {
        optimizer(config, &root.key("optimizer"), report);
    }
    passthrough_headers(&document.passthrough_headers, &root.key("passthroughHeaders"), report);
}

fn failure_handling(handling: &FailureHandlingConfig, path: &KeyPath, report: &mut Report<'_>) {
    let (interval, timeout) = (handling.health_check_interval, handling.health_check_timeout);
    positive(Some(interval), false, &path.key("healthCheckInterval"), report);
    positive(Some(timeout), true, &path.key("healthCheckTimeout"), report);
    positive(Some(handling.status_reporting_interval), false, &path.key("statusReportingInterval"), report);
    if timeout.is_positive() && interval.is_positive() && timeout >= interval {
        let message = format!("must be shorter than `healthCheckInterval` ({interval}), is {timeout}");
        report.error(Rule::ProbeTooLong, &path.key("healthCheckTimeout"), message);
    }
    let breaker = &handling.circuit_breaker;
    let path = path.key("circuitBreaker");
    if breaker.enabled && breaker.failure_threshold < 1 {
        let message = format!("must be at least 1, is {}", breaker.failure_threshold);
        report.error(Rule::BadCircuitBreaker, &path.key("failureThreshold"), message);
    }
    if breaker.enabled && breaker.timeout < GoDuration::from_secs(1) {
        let message = format!("must be at least 1s, is {}", breaker.timeout);
        report.error(Rule::BadCircuitBreaker, &path.key("timeout"), message);
    }
}

fn rate_limiting(limits: &RateLimitingConfig, shared_store: bool, path: &KeyPath, report: &mut Report<'_>) {
    if !shared_store {
        let message = "rate limits need `sessionStorage.provider: redis`";
        report.error_at_key(Rule::RateLimitWithoutRedis, path, message, None);
    }
    buckets(limits.shared.as_ref(), limits.per_user.as_ref(), path, report);
    for (index, tool) in limits.tools.iter().enumerate() {
        let path = path.key("tools").index(index);
        if tool.shared.is_none() && tool.per_user.is_none() {
            report.error(Rule::EmptyRateLimit, &path, "one of `shared` and `perUser` is needed");
        }
        buckets(tool.shared.as_ref(), tool.per_user.as_ref(), &path, report);
    }
}

fn buckets(
    shared: Option<&RateLimitBucket>,
    per_user: Option<&RateLimitBucket>,
    path: &KeyPath,
    report: &mut Report<'_>,
) {
    for (key, bucket) in [("shared", shared), ("perUser", per_user)] {
        positive(bucket.map(|bucket| bucket.refill_period), false, &path.key(key).key("refillPeriod"), report);
    }
}

fn optimizer(optimizer: &OptimizerConfig, path: &KeyPath, report: &mut Report<'_>) {
    positive(Some(optimizer.embedding_service_timeout), false, &path.key("embeddingServiceTimeout"), report);
    between(optimizer.hybrid_search_semantic_ratio, 1.0, &path.key("hybridSearchSemanticRatio"), report);
    between(optimizer.semantic_distance_threshold, 2.0, &path.key("semanticDistanceThreshold"), report);
    let provider = optimizer.provider();
    let name = provider.name();
    let is_service = matches!(provider, EmbeddingProvider::Tei | EmbeddingProvider::Openai | EmbeddingProvider::Ollama);
    let service = path.key("embeddingService");
    match &optimizer.embedding_service {
        None if is_service => {
            let message = format!("`embeddingProvider: {name}` needs an `embeddingService`");
            report.error(Rule::MissingService, &service, message);
        }
        Some(_) if !is_service => {
            let message = format!("`embeddingProvider: {name}` asks no service");
            report.error_at_key(Rule::UnusedService, &service, message, None);
        }
        _ => {}
    }
    let needs_model =
        matches!(provider, EmbeddingProvider::Openai | EmbeddingProvider::Ollama | EmbeddingProvider::Local);
    if needs_model && optimizer.embedding_model.is_none() {
        let message = format!("`embeddingProvider: {name}` needs an `embeddingModel`");
        report.error(Rule::MissingModel, &path.key("embeddingModel"), message);
    }
    let headers = path.key("embeddingHeaders");
    if provider != EmbeddingProvider::Openai && !optimizer.embedding_headers.is_empty() {
        report.error_at_key(Rule::UnusedHeaders, &headers, "only `embeddingProvider: openai` takes headers", None);
    }
    for (name, value) in &optimizer.embedding_headers {
        let path = headers.key(name);
        let sendable = match value {
            Secret::Literal(value) => http::HeaderValue::from_str(value).is_ok(),
            Secret::FromEnv(_) | Secret::FromFile(_) => true,
        };
        if http::HeaderName::try_from(name.as_str()).is_err() || !sendable {
            report.error_at_key(Rule::BadHeader, &path, format!("`{name}` cannot be sent as a header"), None);
        } else if ["authorization", "content-type"].contains(&name.to_lowercase().as_str()) {
            report.error_at_key(Rule::ReservedHeader, &path, format!("the host sets `{name}` itself"), None);
        }
    }
}

fn between(ratio: Ratio, most: f64, path: &KeyPath, report: &mut Report<'_>) {
    if !(0.0..=most).contains(&ratio.value()) {
        report.error(Rule::OutOfRange, path, format!("must be between 0 and {most}, is {}", ratio.value()));
    }
}

/// Headers that carry a client's credentials or that each connection sets for itself.
const NEVER_PASSED: [&str; 16] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "forwarded",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "http2-settings",
];

fn passthrough_headers(names: &[String], path: &KeyPath, report: &mut Report<'_>) {
    for (index, name) in names.iter().enumerate() {
        let lower = name.to_lowercase();
        if NEVER_PASSED.contains(&lower.as_str()) || lower.starts_with("proxy-") {
            let message = format!("`{name}` is never passed on");
            report.error(Rule::ReservedHeader, &path.index(index), message);
        }
    }
}
