//! The HTTP client of the providers outside of the host: one request with its time limit, its retries and its largest answer.
//!
//! What it says about a server names the server's URL, never a header: those may hold keys.

use std::{
    error::Error as StdError,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use reqwest::redirect;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;
use url::{Host, Url};

use super::EmbedError;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Below the five seconds after which common servers close an idle connection, or a request could meet the closing.
const IDLE_CONNECTION: Duration = Duration::from_secs(4);
/// Tries after the first, within the time limit.
const RETRIES: usize = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Bytes of an error page that are read.
const ERROR_BODY: usize = 64 * 1024;
/// Characters of an error page that are quoted.
const QUOTED: usize = 300;

/// One server's client.
pub struct HttpClient {
    client: reqwest::Client,
    base: Url,
    headers: HeaderMap,
    /// The provider with its URL, as errors name it.
    label: String,
    timeout: Duration,
    /// Whether a try failed since somebody last asked.
    disturbed: AtomicBool,
}

/// Why one try failed.
struct Failure {
    error: EmbedError,
    /// Whether another try may succeed.
    passing: bool,
    /// What the server asks to wait.
    wait: Option<Duration>,
}

impl HttpClient {
    /// - `provider`: its kind, for the label
    /// - `base`: what the paths of requests are appended to
    /// - `timeout`: for one request with all its tries
    pub(super) fn new(provider: &str, base: Url, headers: HeaderMap, timeout: Duration) -> Result<Self, EmbedError> {
        let label = format!("{provider} {}", without_secrets(&base));
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(EmbedError::Unusable { provider: label, reason: "its URL has to be http or https".into() });
        }
        // Fails when a provider is installed already, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT.min(timeout))
            .pool_idle_timeout(IDLE_CONNECTION)
            .tcp_nodelay(true)
            // Headers are for this server alone.
            .redirect(redirect::Policy::none());
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if base.scheme() == "http" {
            // Reading the system's authorities takes milliseconds.
            builder = builder.tls_certs_only([]);
        }
        let client = builder
            .build()
            .map_err(|error| EmbedError::Unusable { provider: label.clone(), reason: root_cause(&error) })?;
        Ok(Self { client, base, headers, label, timeout, disturbed: AtomicBool::new(false) })
    }

    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Whether a try failed since the last call: the server may have been started anew.
    pub(super) fn was_disturbed(&self) -> bool {
        self.disturbed.swap(false, Ordering::Relaxed)
    }

    /// - `longest`: largest answer, in bytes
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, longest: usize) -> Result<T, EmbedError> {
        self.exchange(Method::GET, path, None, longest).await
    }

    /// - `longest`: largest answer, in bytes
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &(impl Serialize + Sync),
        longest: usize,
    ) -> Result<T, EmbedError> {
        let body = serde_json::to_vec(question).map_err(|error| self.bad_reply(error.to_string()))?;
        self.exchange(Method::POST, path, Some(body), longest).await
    }

    pub(super) fn bad_reply(&self, message: impl Into<String>) -> EmbedError {
        EmbedError::BadReply { provider: self.label.clone(), message: message.into() }
    }

    async fn exchange<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        longest: usize,
    ) -> Result<T, EmbedError> {
        let answer = self.with_retries(&method, &self.address(path), body.as_deref(), longest).await?;
        serde_json::from_slice(&answer).map_err(|error| self.bad_reply(unreadable(&answer, &error)))
    }

    async fn with_retries(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&[u8]>,
        longest: usize,
    ) -> Result<Vec<u8>, EmbedError> {
        let deadline = Instant::now() + self.timeout;
        let mut waits = ExponentialBuilder::new()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .with_max_times(RETRIES)
            .with_jitter()
            .build();
        let mut earlier = None;
        loop {
            let tried = timeout_at(deadline, self.attempt(method, url, body, longest)).await;
            let failure = match tried {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    self.disturbed.store(true, Ordering::Relaxed);
                    // What went wrong before says more than that the time is over.
                    let timeout = || EmbedError::Timeout { provider: self.label.clone(), timeout: self.timeout };
                    return Err(earlier.unwrap_or_else(timeout));
                }
            };
            self.disturbed.fetch_or(failure.passing, Ordering::Relaxed);
            let wait = if failure.passing { waits.next() } else { None };
            let wait = wait.map(|wait| failure.wait.unwrap_or(wait));
            match wait {
                Some(wait) if Instant::now() + wait < deadline => {
                    debug!(error = %failure.error, ?wait, "an embedding server is asked again");
                    sleep(wait).await;
                    earlier = Some(failure.error);
                }
                _ => return Err(failure.error),
            }
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        url: &Url,
        body: Option<&[u8]>,
        longest: usize,
    ) -> Result<Vec<u8>, Failure> {
        let mut request = self.client.request(method.clone(), url.clone()).headers(self.headers.clone());
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(body.to_vec());
        }
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        match response.status() {
            status if status.is_success() => self.read(response, longest).await,
            status => Err(self.refusal(status, response).await),
        }
    }

    async fn read(&self, mut response: reqwest::Response, longest: usize) -> Result<Vec<u8>, Failure> {
        let too_long =
            || Failure { error: self.bad_reply(format!("more than {longest} bytes")), passing: false, wait: None };
        if response.content_length().is_some_and(|length| length > longest as u64) {
            return Err(too_long());
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if answer.len() + chunk.len() > longest {
                return Err(too_long());
            }
            answer.extend_from_slice(&chunk);
        }
        Ok(answer)
    }

    async fn refusal(&self, status: StatusCode, response: reqwest::Response) -> Failure {
        let wait = response.headers().get(RETRY_AFTER).and_then(seconds);
        let page = self.read(response, ERROR_BODY).await.unwrap_or_default();
        let message = self.without_keys(told_by(&page).unwrap_or_else(|| "without a word".into()));
        Failure {
            error: EmbedError::Refused { provider: self.label.clone(), status: status.as_u16(), message },
            passing: matches!(status.as_u16(), 429 | 502 | 503 | 504),
            wait,
        }
    }

    fn lost(&self, error: &reqwest::Error) -> Failure {
        let error = EmbedError::Unreachable { provider: self.label.clone(), reason: root_cause(error) };
        Failure { error, passing: true, wait: None }
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}/{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }

    /// Some servers quote a wrong key.
    fn without_keys(&self, message: String) -> String {
        let values = self.headers.values().filter_map(|value| value.to_str().ok());
        let keys = values.flat_map(str::split_whitespace).filter(|word| word.len() > 6);
        keys.fold(message, |message, key| message.replace(key, "…"))
    }
}

/// Whether the server has no such page, or not one of the known kind.
pub(super) fn is_absent(error: &EmbedError) -> bool {
    matches!(error, EmbedError::Refused { status: 404 | 405 | 501, .. } | EmbedError::BadReply { .. })
}

/// The URL without what may be a key: user, password, query.
fn without_secrets(url: &Url) -> String {
    let mut url = url.clone();
    // Fails where a URL cannot have them.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.as_str().trim_end_matches('/').to_owned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// `Retry-After` in seconds; its other form, a date, asks for nothing.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds: f64 = value.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// What an error page says: the known servers put it under `error`, as a text or as an object with a `message`.
fn told_by(page: &[u8]) -> Option<String> {
    let told = serde_json::from_slice::<Value>(page).ok().and_then(|page| {
        let candidates = [&page["error"]["message"], &page["error"], &page["message"], &page["detail"]];
        candidates.into_iter().find_map(Value::as_str).map(str::to_owned)
    });
    let text = told.unwrap_or_else(|| String::from_utf8_lossy(page).into_owned());
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then(|| line.chars().take(QUOTED).collect())
}

/// Numbers that do not fit are named: some servers write `NaN`, which is no JSON.
fn unreadable(answer: &[u8], error: &serde_json::Error) -> String {
    let (text, error) = (String::from_utf8_lossy(answer), error.to_string());
    match text.contains("NaN") || text.contains("Infinity") || error.starts_with("number out of range") {
        true => "a number of a vector is not finite".into(),
        false => format!("not the JSON of this kind of server: {error}"),
    }
}

/// What lies at the bottom of an error, e.g. `Connection refused (os error 111)`.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str, headers: HeaderMap) -> Result<HttpClient, EmbedError> {
        HttpClient::new("tei", url.parse().unwrap(), headers, Duration::from_secs(1))
    }

    #[test]
    fn labels_hold_no_secrets() {
        let check = |url: &str, expected: &str| {
            assert_eq!(client(url, HeaderMap::new()).unwrap().label(), expected);
        };
        check("http://127.0.0.1:8080", "tei http://127.0.0.1:8080");
        check("https://me:secret@example.com/v1/?api-key=secret#secret", "tei https://example.com/v1");
    }

    #[test]
    fn paths_are_appended_to_the_url() {
        let check = |base: &str, expected: &str| {
            assert_eq!(client(base, HeaderMap::new()).unwrap().address("embed").as_str(), expected);
        };
        check("http://localhost:1", "http://localhost:1/embed");
        check("http://localhost:1/v1", "http://localhost:1/v1/embed");
        check("http://localhost:1/v1/?api-version=2", "http://localhost:1/v1/embed?api-version=2");
    }

    #[test]
    fn other_schemes_are_refused() {
        let error = client("file:///etc/passwd", HeaderMap::new()).err().unwrap();
        assert!(error.to_string().contains("http or https"), "{error}");
    }

    #[test]
    fn error_pages_are_read() {
        let check = |page: &str, expected: Option<&str>| assert_eq!(told_by(page.as_bytes()).as_deref(), expected);
        check(r#"{"error":"batch size 9 > 8","error_type":"Validation"}"#, Some("batch size 9 > 8"));
        check(r#"{"error":{"message":"no such model","code":null}}"#, Some("no such model"));
        check(r#"{"detail":"Not Found"}"#, Some("Not Found"));
        check("<html>\n <b>no</b>", Some("<html> <b>no</b>"));
        check("", None);
    }

    #[test]
    fn numbers_that_are_none_are_told_from_other_pages() {
        let check = |answer: &str, expected: &str| {
            let error = serde_json::from_str::<Vec<f32>>(answer).unwrap_err();
            let message = unreadable(answer.as_bytes(), &error);
            assert!(message.starts_with(expected), "{answer}: {message}");
        };
        check("[0.5,NaN]", "a number of a vector is not finite");
        check("[0.5,-Infinity]", "a number of a vector is not finite");
        check("[1e999]", "a number of a vector is not finite");
        check("<html>", "not the JSON of this kind of server: ");
    }

    #[test]
    fn keys_are_not_quoted() {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("Bearer sk-1234567890"));
        let client = client("http://localhost", headers).unwrap();
        assert_eq!(client.without_keys("wrong key sk-1234567890".into()), "wrong key …");
    }

    #[test]
    fn waits_that_a_server_asks_for_are_read() {
        let check = |value: &'static str, expected: Option<u64>| {
            assert_eq!(seconds(&HeaderValue::from_static(value)), expected.map(Duration::from_millis));
        };
        check("2", Some(2000));
        check(" 0.25 ", Some(250));
        check("-1", None);
        check("Wed, 21 Oct 2015 07:28:00 GMT", None);
    }
}
