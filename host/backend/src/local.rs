//! HTTP/1.1 to a server on this very machine, without what a URL in general needs: names, proxies, TLS, redirects. Most HTTP
//! backends run beside the host, and there the library's general path costs as much as the server's own work.
//!
//! Connections are kept and reused, the latest first; one that the server closed meanwhile is replaced unnoticed.

use std::{net::SocketAddr, sync::Mutex, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header::HOST};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tracing::debug;
use url::{Host, Url};
use vmcp_core::BoxError;

use crate::http::{CONNECT_TIMEOUT, IDLE_CONNECTION, PostError};

/// Idle connections that are kept.
const MAX_IDLE: usize = 64;

type Sender = SendRequest<Full<Bytes>>;

/// A server at an address of this machine.
pub(crate) struct LocalClient {
    address: SocketAddr,
    host: HeaderValue,
    path: Uri,
    /// Used longest ago first.
    idle: Mutex<Vec<(Sender, Instant)>>,
}

impl LocalClient {
    /// A client for `url`, if it is plain HTTP to a loopback address written as such.
    pub(crate) fn new(url: &Url) -> Option<Self> {
        if url.scheme() != "http" || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let ip = match url.host()? {
            Host::Ipv4(ip) => ip.into(),
            Host::Ipv6(ip) => std::net::IpAddr::from(ip),
            Host::Domain(_) => return None,
        };
        let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
        ip.is_loopback().then_some(())?;
        Some(Self {
            address: SocketAddr::new(ip, url.port_or_known_default()?),
            host: HeaderValue::from_str(authority).ok()?,
            path: url[url::Position::BeforePath..url::Position::AfterQuery].parse().ok()?,
            idle: Mutex::default(),
        })
    }

    /// Whether requests for `url` go here.
    pub(crate) fn serves(&self, url: &Url) -> bool {
        url[url::Position::BeforePath..url::Position::AfterQuery] == *self.path.to_string()
            && self.host == url[url::Position::BeforeHost..url::Position::AfterPort]
            && url.scheme() == "http"
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &self,
        method: Method,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, PostError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(HOST, self.host.clone());
        loop {
            let (mut sender, is_new) = match self.checkout() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            match sender.try_send_request(request).await {
                Ok(response) => {
                    // It is taken again once this answer has been read, which `is_ready` tells.
                    self.put_back(sender);
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    Some(_) => return Err(PostError::NotSent(error.error().to_string())),
                    None => return Err(PostError::Lost(BoxError::from(error.into_error()))),
                },
            }
        }
    }

    /// The connection used last of those that can be used.
    fn checkout(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().expect("no panic while held");
        idle.retain(|(sender, since)| !sender.is_closed() && (since.elapsed() < IDLE_CONNECTION || !sender.is_ready()));
        let at = idle.iter().rposition(|(sender, _)| sender.is_ready())?;
        Some(idle.remove(at).0)
    }

    fn put_back(&self, sender: Sender) {
        let mut idle = self.idle.lock().expect("no panic while held");
        if idle.len() < MAX_IDLE {
            idle.push((sender, Instant::now()));
        }
    }

    async fn connect(&self) -> Result<Sender, PostError> {
        let stream = match timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(PostError::NotSent(error.to_string())),
            Err(_) => return Err(PostError::NotSent(format!("no connection within {CONNECT_TIMEOUT:?}"))),
        };
        // A message is written whole; waiting for more would only add latency.
        let _ = stream.set_nodelay(true);
        let (sender, connection) =
            handshake(TokioIo::new(stream)).await.map_err(|error| PostError::NotSent(error.to_string()))?;
        #[expect(
            clippy::disallowed_methods,
            reason = "it ends with its sender, which the pool drops; nobody waits for it"
        )]
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection to a local backend broke");
            }
        });
        Ok(sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_loopback_addresses_take_the_short_way() {
        let check = |url: &str, expected: bool| {
            assert_eq!(LocalClient::new(&url.parse().unwrap()).is_some(), expected, "{url}");
        };
        check("http://127.0.0.1:9001/mcp", true);
        check("http://[::1]/mcp?x=1", true);
        check("https://127.0.0.1/mcp", false);
        check("http://localhost/mcp", false);
        check("http://10.0.0.1/mcp", false);
        check("http://user@127.0.0.1/mcp", false);
    }

    #[test]
    fn another_path_of_the_server_is_another_address() {
        let client = LocalClient::new(&"http://127.0.0.1:9001/mcp?x=1".parse().unwrap()).unwrap();
        let check = |url: &str, expected: bool| assert_eq!(client.serves(&url.parse().unwrap()), expected, "{url}");
        check("http://127.0.0.1:9001/mcp?x=1", true);
        check("http://127.0.0.1:9001/mcp", false);
        check("http://127.0.0.1:9002/mcp?x=1", false);
    }
}
