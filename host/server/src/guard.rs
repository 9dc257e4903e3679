//! Refuses requests that a web page could make a browser send: the `Host` must be ours, and an `Origin`, if there is one, too.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, Uri, header};

/// Which hosts and origins are ours.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Host names, without port; loopback names are always among them.
    allowed_hosts: Vec<String>,
    /// Whole origins, e.g. `https://inspector.example`.
    allowed_origins: Vec<String>,
    /// The host is bound to all addresses, so its names are not known.
    any_host: bool,
}

impl Guard {
    /// - `bound`: the address that the server listens on
    /// - `hosts`, `origins`: what the configuration allows beside it
    pub fn new(bound: IpAddr, hosts: &[String], origins: &[String]) -> Self {
        let mut allowed_hosts: Vec<_> = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        if !bound.is_unspecified() {
            allowed_hosts.push(bound.to_string());
        }
        let any_host = bound.is_unspecified() && hosts.is_empty();
        Self { allowed_hosts, allowed_origins: origins.to_vec(), any_host }
    }

    /// Why a request with these headers is refused, if so.
    pub(crate) fn objection(&self, headers: &HeaderMap, uri: &Uri) -> Option<String> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| text(header::HOST)).unwrap_or_default();
        if !self.any_host && !self.is_ours(host) {
            return Some(format!("the host `{host}` is not served here; `server.allowedHosts` can allow it"));
        }
        let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or("?");
        (!self.is_allowed(origin))
            .then(|| format!("the origin `{origin}` may not call this host; `server.allowedOrigins` can allow it"))
    }

    /// Whether pages of `origin` may call us.
    pub(crate) fn allows_origin(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.is_allowed(origin))
    }

    fn is_allowed(&self, origin: &str) -> bool {
        self.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || origin.split_once("://").is_some_and(|(_, authority)| self.is_ours(authority))
    }

    fn is_ours(&self, authority: &str) -> bool {
        let name = without_port(authority).to_ascii_lowercase();
        name == "localhost"
            || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            || self.allowed_hosts.iter().any(|allowed| *allowed == name || *allowed == name.trim_matches(['[', ']']))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_hosts_and_origins_pass() {
        let check = |bound: &str, host: &'static str, origin: Option<&'static str>, passes: bool| {
            let guard = Guard::new(bound.parse().unwrap(), &["mcp.example".into()], &["https://tool.example".into()]);
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            let objection = guard.objection(&headers, &Uri::from_static("/mcp"));
            assert_eq!(objection.is_none(), passes, "{bound} {host} {origin:?}: {objection:?}");
        };
        check("127.0.0.1", "127.0.0.1:4483", None, true);
        check("127.0.0.1", "localhost:4483", Some("http://localhost:6274"), true);
        check("127.0.0.1", "[::1]:4483", Some("http://[::1]"), true);
        check("127.0.0.1", "evil.example", None, false);
        check("127.0.0.1", "evil.example:4483", None, false);
        check("127.0.0.1", "localhost", Some("https://evil.example"), false);
        check("127.0.0.1", "localhost", Some("null"), false);
        check("127.0.0.1", "localhost", Some("https://tool.example"), true);
        check("127.0.0.1", "MCP.example", None, true);
        check("10.0.0.7", "10.0.0.7:4483", None, true);
        check("127.0.0.1", "127.0.0.1.evil.example", None, false);
    }
}
