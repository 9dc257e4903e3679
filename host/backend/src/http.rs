//! One backend's HTTP client: where to, with which headers, trusting whom. Only this module and `local` know which library
//! it is.

use std::{
    error::Error as StdError,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use reqwest::redirect;
use url::Url;
use vmcp_core::{BoxError, id::BackendId};

use crate::{budget::Held, connect::ConnectError, event_stream::EventStream, local::LocalClient};

pub(crate) const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
const JSON_OR_EVENTS: &str = "application/json, text/event-stream";

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the five seconds after which common servers close an idle connection, or a request could meet the closing.
pub(crate) const IDLE_CONNECTION: Duration = Duration::from_secs(4);
const REDIRECTS: usize = 5;
/// Bytes of an error page that are read.
const ERROR_BODY: usize = 64 * 1024;
const QUOTED: usize = 200;

pub(crate) struct HttpClient {
    client: reqwest::Client,
    /// Takes the requests for `url` where that is on this machine.
    local: Option<LocalClient>,
    url: Url,
    headers: HeaderMap,
    backend: BackendId,
    body_limit: usize,
}

/// Why there is no HTTP answer.
#[derive(Debug)]
pub(crate) enum PostError {
    /// No connection; the request was not made.
    NotSent(String),
    /// The request may have arrived.
    Lost(BoxError),
    /// An answer, but not of success.
    Status(StatusCode),
}

impl PostError {
    pub(crate) fn into_source(self) -> BoxError {
        match self {
            Self::NotSent(why) => why.into(),
            Self::Lost(source) => source,
            Self::Status(status) => format!("the message was answered with HTTP {status}").into(),
        }
    }
}

impl HttpClient {
    /// - `headers`: the configured ones, sent with every request
    /// - `body_limit`: longest answer, or event of an answer, in bytes
    pub(crate) fn new(
        backend: BackendId,
        url: Url,
        headers: HeaderMap,
        ca_bundle: Option<&Path>,
        body_limit: usize,
    ) -> Result<Self, ConnectError> {
        // Fails when a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true)
            .redirect(redirect::Policy::custom(within_origin));
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        if let Some(path) = ca_bundle {
            builder = builder.tls_certs_merge(read_authorities(path)?);
        } else if url.scheme() == "http" {
            // Reading the system's authorities takes milliseconds, and redirects do not leave the origin.
            builder = builder.tls_certs_only([]);
        }
        let client =
            builder.build().map_err(|error| ConnectError::new(format!("no HTTP client: {}", root_cause(&error))))?;
        Ok(Self { client, local: LocalClient::new(&url), url, headers, backend, body_limit })
    }

    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn backend(&self) -> &BackendId {
        &self.backend
    }

    pub(crate) fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// The headers of a JSON-RPC message.
    pub(crate) fn message_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        headers.insert(ACCEPT, HeaderValue::from_static(JSON_OR_EVENTS));
        headers
    }

    /// The headers of a request for a stream of events.
    pub(crate) fn stream_headers(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        headers
    }

    pub(crate) async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, PostError> {
        self.send(Method::POST, self.url.clone(), headers, Some(body)).await
    }

    pub(crate) async fn get(&self, headers: HeaderMap) -> Result<Answer, PostError> {
        self.send(Method::GET, self.url.clone(), headers, None).await
    }

    pub(crate) async fn delete(&self, headers: HeaderMap) -> Result<Answer, PostError> {
        self.send(Method::DELETE, self.url.clone(), headers, None).await
    }

    /// Posts a message that has no answer of its own.
    pub(crate) async fn post_message(&self, url: &Url, message: Bytes) -> Result<(), PostError> {
        let answer = self.send(Method::POST, url.clone(), self.message_headers(), Some(message)).await?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            status => Err(PostError::Status(status)),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Answer, PostError> {
        if let Some(local) = self.local.as_ref().filter(|local| local.serves(&url)) {
            let response = local.send(method.clone(), headers.clone(), body.clone().unwrap_or_default()).await?;
            // Where a redirect may lead is for the general client to know.
            if !response.status().is_redirection() {
                return Ok(Answer { response: response.map(AnswerBody::Local), limit: self.body_limit });
            }
        }
        let mut request = reqwest::Request::new(method, url);
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        match self.client.execute(request).await {
            Ok(response) => {
                let response = http::Response::from(response).map(AnswerBody::General);
                Ok(Answer { response, limit: self.body_limit })
            }
            Err(error) if error.is_connect() => Err(PostError::NotSent(root_cause(&error))),
            Err(error) => Err(PostError::Lost(error.without_url().into())),
        }
    }
}

/// The head of an HTTP answer, its body still to be read.
pub(crate) struct Answer {
    response: http::Response<AnswerBody>,
    limit: usize,
}

/// A body, whichever client reads it.
pub(crate) enum AnswerBody {
    Local(hyper::body::Incoming),
    General(reqwest::Body),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Local(body) => Pin::new(body).poll_frame(context).map_err(BoxError::from),
            Self::General(body) => {
                Pin::new(body).poll_frame(context).map_err(|error: reqwest::Error| error.without_url().into())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Local(body) => body.size_hint(),
            Self::General(body) => body.size_hint(),
        }
    }
}

/// Why there is no body.
#[derive(Debug)]
pub(crate) enum BodyError {
    TooLong,
    /// The process holds too many bytes.
    NoRoom,
    Lost(BoxError),
}

impl Answer {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&HeaderValue> {
        self.response.headers().get(name)
    }

    pub(crate) fn is_event_stream(&self) -> bool {
        let content_type = self.response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        content_type.is_some_and(|value| {
            value.get(..EVENT_STREAM.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
        })
    }

    pub(crate) async fn body(mut self) -> Result<Bytes, BodyError> {
        let announced = self.response.body().size_hint().exact();
        if announced.is_some_and(|length| length > self.limit as u64) {
            return Err(BodyError::TooLong);
        }
        let Some(first) = self.chunk().await? else { return Ok(Bytes::new()) };
        // Short answers are one chunk, which is then the body without a copy.
        if announced == Some(first.len() as u64) {
            return Ok(first);
        }
        let mut held = Held::default();
        let mut body = first.to_vec();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > self.limit {
                return Err(BodyError::TooLong);
            }
            if !held.cover(body.len() + chunk.len()) {
                return Err(BodyError::NoRoom);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(held.attach_to(body.into()))
    }

    /// The next bytes of the body.
    async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(frame) = self.response.body_mut().frame().await {
            // What is no data is a trailer, which nobody asked for.
            if let Ok(data) = frame.map_err(BodyError::Lost)?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }

    /// What an error page says, as far as it could be read.
    pub(crate) async fn error_body(mut self) -> Bytes {
        self.limit = ERROR_BODY;
        self.body().await.unwrap_or_default()
    }

    pub(crate) fn events(self) -> EventStream {
        EventStream::new(self.response.into_body().into_data_stream(), self.limit)
    }
}

/// The beginning of `body` on one line, for an error text.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(QUOTED * 4)]);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(QUOTED).collect()
}

/// What lies at the bottom of an error, e.g. `Connection refused (os error 111)`.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Follows redirects only where the configured headers may go.
fn within_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin = attempt.previous().first().map(Url::origin);
    let stays = origin.as_ref() == Some(&attempt.url().origin());
    if stays && attempt.previous().len() <= REDIRECTS { attempt.follow() } else { attempt.stop() }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn read_authorities(path: &Path) -> Result<Vec<reqwest::Certificate>, ConnectError> {
    let bytes = std::fs::read(path)
        .map_err(|error| ConnectError::new(format!("cannot read the CA bundle `{}`: {error}", path.display())))?;
    let authorities = reqwest::Certificate::from_pem_bundle(&bytes).map_err(|error| {
        ConnectError::new(format!("the CA bundle `{}` is not PEM: {}", path.display(), root_cause(&error)))
    })?;
    if authorities.is_empty() {
        return Err(ConnectError::new(format!("the CA bundle `{}` holds no certificate", path.display())));
    }
    Ok(authorities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_from_elsewhere() {
        let check = |url: &str, expected: bool| assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        check("http://localhost:1/mcp", true);
        check("http://127.3.2.1/", true);
        check("http://[::1]:80/", true);
        check("http://localhost.example.com/", false);
        check("https://10.0.0.1/", false);
    }

    #[test]
    fn an_unusable_ca_bundle_is_named() {
        let check = |url: &str, bundle: Option<&Path>, expected: Option<&str>| {
            let id = BackendId::new("x").unwrap();
            let made = HttpClient::new(id, url.parse().unwrap(), HeaderMap::new(), bundle, 1);
            let error = made.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), expected.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check("https://localhost/mcp", None, None);
        check("http://localhost/mcp", None, None);
        check(
            "https://localhost/mcp",
            Some(Path::new("/not/there.pem")),
            Some("cannot read the CA bundle `/not/there.pem`"),
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        check("https://localhost/mcp", Some(file.path()), Some("holds no certificate"));
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt(b"<html>\n  <b>no</b>\n"), "<html> <b>no</b>");
        assert_eq!(excerpt("é".repeat(1000).as_bytes()).chars().count(), QUOTED);
    }
}
