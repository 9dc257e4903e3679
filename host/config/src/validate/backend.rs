//! Rules of `backends`.

use indexmap::IndexMap;
use vmcp_core::id::legalised;

use super::{positive, safe_path, unique};
use crate::{
    key_path::KeyPath,
    problem::{Report, Rule},
    section::backend::{BackendEntry, TransportKind, is_owned_by_the_transport},
    value::secret::Secret,
};

pub(super) fn check(backends: &[BackendEntry], path: &KeyPath, report: &mut Report<'_>) {
    let name_path = |index: usize| path.index(index).key("name");
    let names = || backends.iter().enumerate().map(|(index, backend)| (backend.name.as_str(), name_path(index)));
    unique(names(), Rule::DuplicateBackend, "backend", report);
    let mut slugs: IndexMap<String, &str> = IndexMap::new();
    for (name, path) in names() {
        let slug = legalised(name);
        match slugs.get(&slug) {
            Some(first) if *first != name => {
                let message = format!("`{name}` and `{first}` are both `{slug}` in tool names");
                report.error(Rule::EqualSlugs, &path, message);
            }
            _ => {
                slugs.insert(slug, name);
            }
        }
    }
    for (index, backend) in backends.iter().enumerate() {
        check_one(backend, &path.index(index), report);
    }
}

/// Rules of one backend, wherever it was written.
pub(crate) fn check_one(backend: &BackendEntry, path: &KeyPath, report: &mut Report<'_>) {
    transport(backend, path, report);
    headers(&backend.headers, &path.key("headers"), report);
    if let Some(file) = &backend.ca_bundle_path {
        safe_path(file, &path.key("caBundlePath"), report);
    }
    positive(backend.request_timeout, false, &path.key("requestTimeout"), report);
    positive(Some(backend.start_timeout), false, &path.key("startTimeout"), report);
    positive(backend.idle_timeout, false, &path.key("idleTimeout"), report);
}

fn transport(backend: &BackendEntry, path: &KeyPath, report: &mut Report<'_>) {
    let Some(kind) = backend.transport_kind() else {
        match backend.url {
            Some(_) => report.error_with_hint(
                Rule::TransportMismatch,
                &path.key("url"),
                "a backend has a `command` or a `url`, not both",
                "leave out one, or say which counts with `transport`",
            ),
            None => report.error(Rule::MissingTransport, path, "a backend needs a `command` or a `url`"),
        }
        return;
    };
    let process_keys = [
        ("command", backend.command.is_some()),
        ("args", !backend.args.is_empty()),
        ("env", !backend.env.is_empty()),
        ("envFrom", !backend.env_from.is_empty()),
        ("cwd", backend.cwd.is_some()),
    ];
    let http_keys = [
        ("url", backend.url.is_some()),
        ("headers", !backend.headers.is_empty()),
        ("caBundlePath", backend.ca_bundle_path.is_some()),
    ];
    let (foreign, needed, word): (&[(&str, bool)], _, _) = match kind {
        TransportKind::Stdio => (&http_keys, ("command", backend.command.is_some()), "stdio"),
        TransportKind::StreamableHttp => (&process_keys, ("url", backend.url.is_some()), "streamable-http"),
        TransportKind::Sse => (&process_keys, ("url", backend.url.is_some()), "sse"),
    };
    for (key, _) in foreign.iter().filter(|(_, present)| *present) {
        let message = format!("`{key}` has no meaning for transport `{word}`");
        report.error_at_key(Rule::TransportMismatch, &path.key(key), message, None);
    }
    if let (key, false) = needed {
        report.error(Rule::IncompleteTransport, &path.key(key), format!("transport `{word}` needs a `{key}`"));
    }
}

fn headers(headers: &IndexMap<String, Secret>, path: &KeyPath, report: &mut Report<'_>) {
    let mut seen: IndexMap<String, &str> = IndexMap::new();
    for (name, value) in headers {
        let path = path.key(name);
        if http::HeaderName::try_from(name.as_str()).is_err() {
            let message = format!("`{name}` cannot be a header name");
            report.error_at_key(Rule::BadHeader, &path, message, None);
            continue;
        }
        if let Secret::Literal(value) = value
            && http::HeaderValue::from_str(value).is_err()
        {
            report.error(Rule::BadHeader, &path, "the value has characters that a header cannot carry");
        }
        match seen.insert(name.to_lowercase(), name) {
            Some(first) => {
                let message = format!("`{name}` and `{first}` are the same header");
                report.error_at_key(Rule::DuplicateHeader, &path, message, None);
            }
            None if is_owned_by_the_transport(name) => {
                let message = format!("the host sets `{name}` itself, so this has no effect");
                report.warning(Rule::ReservedHeader, &path, message);
            }
            None => {}
        }
    }
}
