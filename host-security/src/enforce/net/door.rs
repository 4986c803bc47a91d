//! HTTP requests of guests: decided, dialled where they were decided for, and bounded.

use std::{error::Error, net::SocketAddr, time::Duration};

use http::{HeaderMap, Method, StatusCode, header};
use plugin_contract::{Explain, NetAccess};
use reqwest::{Body, Response};

use super::{
    PluginNet,
    client::CONNECT_MAX,
    names::Host,
    resolve::Unresolved,
    target::{self, FIELDS_BYTES_MAX, Target},
};
use crate::Denial;

/// Redirects that are followed for one request.
const REDIRECTS_MAX: usize = 5;
/// Longest text about what a connection met with, in bytes.
const FAILURE_BYTES_MAX: usize = 300;

/// One request, whole.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Redirects are followed for `GET` alone.
    pub method: Method,
    /// Absolute, `http` or `https`, at most 8,192 bytes.
    pub url: String,
    /// At most 128, and 64 KiB; not those that are about the connection.
    pub headers: Vec<(String, String)>,
    /// At most `limits.http_bytes`.
    pub body: Vec<u8>,
}

impl HttpRequest {
    /// Fetches `url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self { method: Method::GET, url: url.into(), headers: Vec::new(), body: Vec::new() }
    }

    /// Posts `body` to `url`.
    pub fn post(url: impl Into<String>, body: Vec<u8>) -> Self {
        Self { method: Method::POST, url: url.into(), headers: Vec::new(), body }
    }

    /// With these header fields.
    #[must_use]
    pub fn with_headers(mut self, headers: Vec<(String, String)>) -> Self {
        self.headers = headers;
        self
    }
}

/// The answer to a request, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status.
    pub status: u16,
    /// In the order they came; names in lower case, values as far as they are text.
    pub headers: Vec<(String, String)>,
    /// At most `limits.http_bytes`.
    pub body: Vec<u8>,
}

/// How far a request came that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its host has no address.
    Resolve,
    /// No connection came about.
    Connect,
    /// There was one.
    Exchange,
}

/// Why there is no answer. One case for each of `http-error` in `toolsku:host-api`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpRefused {
    /// The destination was not granted. Nothing was sent to it.
    #[error("{rule}")]
    Denied {
        /// The rule that decided.
        rule: String,
    },
    /// Not an absolute `http` or `https` URL that can be used.
    #[error("the URL is refused: {why}")]
    InvalidUrl {
        /// What is wrong with it.
        why: String,
    },
    /// A header field is not well-formed or not the guest's to set.
    #[error("the header is refused: {why}")]
    InvalidHeader {
        /// What is wrong with it.
        why: String,
    },
    /// The body of the request or of the answer is too large.
    #[error("request or answer is larger than {bytes_max} bytes")]
    TooLarge {
        /// `limits.http_bytes`.
        bytes_max: u64,
    },
    /// There was no answer in time.
    #[error("no answer within {} ms", max.as_millis())]
    Timeout {
        /// The time there was.
        max: Duration,
    },
    /// The destination could not be reached, or broke off.
    #[error("{why}")]
    Failed {
        /// How far it came.
        stage: Stage,
        /// What happened, in at most 300 bytes.
        why: String,
    },
}

impl Explain for HttpRefused {
    fn code(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "security/http-denied",
            Self::InvalidUrl { .. } => "security/http-invalid-url",
            Self::InvalidHeader { .. } => "security/http-invalid-header",
            Self::TooLarge { .. } => "security/http-too-large",
            Self::Timeout { .. } => "security/http-timeout",
            Self::Failed { .. } => "security/http-failed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Denied { .. } => "grant the destination, as the audit log says",
            Self::InvalidUrl { .. } => {
                "give an absolute http or https URL without user and password"
            }
            Self::InvalidHeader { .. } => "leave fields about the connection to the host",
            Self::TooLarge { .. } => "raise `limits.http-size`, or ask for less",
            Self::Timeout { .. } => "raise `timeout`, or find out why the destination is slow",
            Self::Failed { .. } => "see whether the destination can be reached from the host",
        }
    }
}

impl PluginNet {
    /// Sends one request and reads the whole answer, within 30 s and the plugin's `timeout`.
    ///
    /// Each destination is decided on by the addresses it has, redirects included: at most 5 are
    /// followed, for `GET` alone, never from `https` to `http`. `authorization` and `cookie` stay with
    /// the origin they were meant for. What is refused is told to the auditor.
    ///
    /// # Errors
    /// [`HttpRefused`]; an answer with an error status is an `Ok`.
    pub async fn fetch(&self, request: HttpRequest) -> Result<HttpResponse, HttpRefused> {
        let max = self.fetch_max();
        let done = tokio::time::timeout(max, self.follow(request)).await;
        done.unwrap_or(Err(HttpRefused::Timeout { max }))
    }

    async fn follow(&self, request: HttpRequest) -> Result<HttpResponse, HttpRefused> {
        let mut target = Target::parse(&request.url)?;
        let mut headers = target::headers(&request.headers)?;
        self.fits(&target, request.body.len() as u64)?;
        let body = bytes::Bytes::from(request.body);
        let _turn = self.requests.acquire().await;
        for _ in 0..=REDIRECTS_MAX {
            let (method, fields) = (request.method.clone(), headers.clone());
            let reply = self.send(&target, method, fields, body.clone().into()).await?;
            let location = match is_redirect(reply.status()) && request.method == Method::GET {
                true => reply.headers().get(header::LOCATION),
                false => None,
            };
            let Some(location) = location else { return self.read(&target, reply).await };
            let next = target.join(location)?;
            if target.is_https() && !next.is_https() {
                let rule = "a redirect from https to http is not followed".to_owned();
                let denial = Denial { rule, allow: None };
                self.refused_request(&next, &denial);
                return Err(HttpRefused::Denied { rule: denial.rule });
            }
            if !target.is_same_origin(&next) {
                headers.remove(header::AUTHORIZATION);
                headers.remove(header::COOKIE);
            }
            target = next;
        }
        Err(failed(Stage::Exchange, format!("more than {REDIRECTS_MAX} redirects")))
    }

    /// Sends one request to one destination, if it was granted, and reads the head of the answer.
    pub(super) async fn send(
        &self,
        target: &Target,
        method: Method,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, HttpRefused> {
        let addresses = self.reach(target).await?;
        let client = self.shared.client(addresses).map_err(|error| broken(&error))?;
        let mut request = reqwest::Request::new(method, target.url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body);
        let reply = client.execute(request).await.map_err(|error| broken(&error))?;
        let fields = reply.headers().iter();
        let bytes: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        if bytes > FIELDS_BYTES_MAX {
            let why = format!("header fields of more than {FIELDS_BYTES_MAX} bytes");
            return Err(failed(Stage::Exchange, why));
        }
        Ok(reply)
    }

    /// The addresses of a destination that may be connected to, at least one. The first that may not is told.
    async fn reach(&self, target: &Target) -> Result<Vec<SocketAddr>, HttpRefused> {
        let (names, found) = match &target.host {
            Host::Address(address) => (Vec::new(), vec![*address]),
            Host::Name(name) => {
                // Asking for a name says something to whoever answers for it.
                if let Err(denial) = self.rules.check_name(name) {
                    let denial = on_port(denial, name, target.port);
                    self.refused_request(target, &denial);
                    return Err(HttpRefused::Denied { rule: denial.rule });
                }
                let found = self.resolve(name).await.map_err(|error| match error {
                    Unresolved::Timeout => {
                        failed(Stage::Resolve, "no answer for the name".to_owned())
                    }
                    Unresolved::NotFound => {
                        failed(Stage::Resolve, "the name has no address".to_owned())
                    }
                })?;
                (vec![name.clone()], found)
            }
        };
        let mut first = None;
        let mut granted = Vec::new();
        for address in found {
            let to = SocketAddr::new(address, target.port);
            match self.decide(NetAccess::Connect, &names, to) {
                Ok(()) => {
                    self.used(NetAccess::Connect, &names, to);
                    granted.push(to);
                }
                Err(denial) => _ = first.get_or_insert((to, denial)),
            }
        }
        let Some((to, denial)) = first else { return Ok(granted) };
        // Also where others may be connected to: a name that leads to the outside and to the inside at once is
        // how rebinding begins.
        self.refused("http", &names, to, &denial);
        match granted.is_empty() {
            true => Err(HttpRefused::Denied { rule: denial.rule }),
            false => Ok(granted),
        }
    }

    async fn read(
        &self,
        target: &Target,
        mut reply: Response,
    ) -> Result<HttpResponse, HttpRefused> {
        self.fits(target, reply.content_length().unwrap_or(0))?;
        let status = reply.status().as_u16();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = reply.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
            .collect();
        let mut body = Vec::new();
        while let Some(chunk) = reply.chunk().await.map_err(|error| broken(&error))? {
            self.fits(target, body.len() as u64 + chunk.len() as u64)?;
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse { status, headers, body })
    }

    /// Whether a body of so many bytes may be.
    pub(super) fn fits(&self, target: &Target, bytes: u64) -> Result<(), HttpRefused> {
        if bytes <= self.limits.http_bytes { Ok(()) } else { Err(self.too_large(target)) }
    }

    /// Tells that a body was too large.
    pub(super) fn too_large(&self, target: &Target) -> HttpRefused {
        let bytes_max = self.limits.http_bytes;
        self.exceeded("http", &target.authority(), &format!("limits.http-size = {bytes_max}"));
        HttpRefused::TooLarge { bytes_max }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// The line that would allow a name, with the port that was asked for in the place of every port.
fn on_port(denial: Denial, name: &str, port: u16) -> Denial {
    let every = format!("connect:{name}:*");
    let allow = denial.allow.map(|line| line.replace(&every, &format!("connect:{name}:{port}")));
    Denial { allow, ..denial }
}

fn failed(stage: Stage, why: String) -> HttpRefused {
    HttpRefused::Failed { stage, why }
}

/// What a connection met with. Without the URL, which the guest knows and logs should not.
pub(super) fn broken(error: &reqwest::Error) -> HttpRefused {
    if error.is_timeout() {
        return HttpRefused::Timeout { max: CONNECT_MAX };
    }
    let stage = if error.is_connect() { Stage::Connect } else { Stage::Exchange };
    let mut why = String::new();
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        // Some errors repeat what caused them.
        if !why.contains(&text) {
            if !why.is_empty() {
                why.push_str(": ");
            }
            why.push_str(&text);
        }
        next = error.source();
    }
    if why.is_empty() {
        why.push_str("the connection failed");
    }
    let mut end = why.len().min(FAILURE_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why.truncate(end);
    failed(stage, why)
}
