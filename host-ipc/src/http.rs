//! The port to whatever sends HTTP requests for guests.
//!
//! Not here: who may send what where, and how much of it. Whoever implements [`HttpFetch`] decides and
//! bounds; an [`IpcCtx`](crate::IpcCtx) without one answers guests with `not-available`.

use async_trait::async_trait;
use plugin_contract::Explain;

/// Sends requests for one plugin.
#[async_trait]
pub trait HttpFetch: Send + Sync + 'static {
    /// Sends one request and reads the whole answer. Ends within the deadline of the call, and is
    /// dropped with it.
    ///
    /// # Errors
    /// [`HttpFailure`]; an answer with an error status is an `Ok`.
    async fn fetch(&self, request: HttpRequest) -> Result<HttpReply, HttpFailure>;
}

/// What a guest can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// Redirects may be followed, to destinations that were granted too.
    Get,
    /// Redirects are not followed.
    Post,
}

/// A request as a guest made it: nothing of it has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Which one.
    pub method: HttpMethod,
    /// Whatever the guest called a URL.
    pub url: String,
    /// Names and values, in the guest's order.
    pub headers: Vec<(String, String)>,
    /// Empty for [`HttpMethod::Get`].
    pub body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpReply {
    /// The HTTP status.
    pub status: u16,
    /// Header fields in the order they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there is no answer. One case for each of `http-error` in `toolsku:host-api`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpFailure {
    /// The plugin was not granted this destination; the payload names the deciding rule.
    #[error("not granted: {0}")]
    Denied(String),
    /// Not an absolute `http` or `https` URL.
    #[error("the URL is refused: {0}")]
    InvalidUrl(String),
    /// A header field is not well-formed, or not the guest's to set.
    #[error("a header field is refused: {0}")]
    InvalidHeader(String),
    /// Request or answer is larger than this many bytes.
    #[error("request or answer is larger than {0} bytes")]
    TooLarge(u64),
    /// No answer within this many milliseconds.
    #[error("no answer within {0} ms")]
    Timeout(u64),
    /// The destination could not be reached, or broke off.
    #[error("the request failed: {0}")]
    Failed(String),
}

impl Explain for HttpFailure {
    fn code(&self) -> &'static str {
        match self {
            Self::Denied(_) => "ipc/http-denied",
            Self::InvalidUrl(_) => "ipc/http-invalid-url",
            Self::InvalidHeader(_) => "ipc/http-invalid-header",
            Self::TooLarge(_) => "ipc/http-too-large",
            Self::Timeout(_) => "ipc/http-timeout",
            Self::Failed(_) => "ipc/http-failed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Denied(_) => "grant the destination, as the audit log says",
            Self::InvalidUrl(_) => "give an absolute http or https URL",
            Self::InvalidHeader(_) => "leave fields about the connection to the host",
            Self::TooLarge(_) => "ask for less, or raise the plugin's limit",
            Self::Timeout(_) => "find out why the destination is slow",
            Self::Failed(_) => "see whether the destination can be reached from the host",
        }
    }
}
