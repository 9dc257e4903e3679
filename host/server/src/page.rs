//! The pages beside the endpoint: is it alive, is it ready, how are the backends, and what is this.

use axum::{body::Body, response::Response};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::json;
use vmcp_gateway::{gateway::BackendStatus, tool_search::ToolSearchStatus};

use crate::{
    http::Front,
    reply::{self, refused, wrong_method},
};

pub(crate) fn health() -> Response {
    reply::json(StatusCode::OK, r#"{"status":"ok"}"#)
}

/// 503 until the first catalog stands.
pub(crate) fn ready(front: &Front) -> Response {
    let (status, body) = match front.gateway.ready() {
        Ok(()) => (StatusCode::OK, json!({ "status": "ready", "mode": "static" })),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "not_ready", "mode": "static", "reason": reason }))
        }
    };
    reply::json(status, body.to_string())
}

/// The backends and how they are.
pub(crate) fn status(front: &Front, method: &Method) -> Response {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return wrong_method("GET, HEAD", "use GET or HEAD");
    }
    let backends = front.gateway.status();
    let shown: Vec<_> = backends
        .iter()
        .map(|backend| {
            json!({
                "name": backend.report.name,
                "health": backend.health,
                "transport": backend.report.transport,
                "auth_type": backend.auth_type,
                "mcp_revision": backend.report.revision,
            })
        })
        .collect();
    let body = json!({
        "backends": shown,
        "healthy": backends.iter().any(|backend| backend.health == "healthy"),
        "version": front.gateway.host.version,
        "group_ref": front.group,
        "search": front.gateway.tool_search().map(|search| search_status(&search.status())),
    });
    let mut response = reply::json(StatusCode::OK, body.to_string());
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How tool search does, without what only the owner of the host may know.
fn search_status(status: &ToolSearchStatus) -> serde_json::Value {
    let engine = &status.optimizer;
    json!({
        "tier": status.tier,
        "ranking": engine.ranking,
        "ranking_fault": engine.ranking_fault,
        "provider": engine.provider,
        "provider_fault": engine.provider_fault,
        "tools": engine.index.tools,
        "embedding": engine.embedding,
        "searches": engine.searches,
        "failed_searches": engine.failed_searches,
        "searches_without_vectors": engine.searches_without_vectors,
        "ranking_faults": engine.ranking_faults,
    })
}

pub(crate) fn not_found(path: &str) -> Response {
    refused(StatusCode::NOT_FOUND, format!("there is nothing at `{path}`; MCP is served at `/mcp`"))
}

/// For people who open the endpoint in a browser: what this is and how to connect.
pub(crate) fn about(front: &Front) -> Response {
    let catalog = front.gateway.current_catalog();
    let row = |backend: &BackendStatus| {
        format!(
            "<tr><td>{}</td><td class={}>{}</td><td>{}</td><td>{}</td></tr>",
            escape(backend.report.name.as_str()),
            backend.health,
            backend.health,
            escape(backend.report.revision.as_deref().unwrap_or("–")),
            backend.offers[0],
        )
    };
    let rows = front.gateway.status().iter().map(row).collect::<Vec<_>>().concat();
    let body = format!(
        include_str!("about.html"),
        title = escape(&front.gateway.host.title),
        version = escape(&front.gateway.host.version),
        tools = catalog.tools.entries().len(),
        prompts = catalog.prompts.entries().len(),
        resources = catalog.resources.entries().len(),
        rows = rows,
    );
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"),
    );
    response
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
