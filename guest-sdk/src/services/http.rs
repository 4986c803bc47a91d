//! HTTP requests to destinations that the plugin was granted.

use std::fmt;

use super::backend;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Header fields in the order they came; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header field called `name`, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// This host offers no HTTP client.
    NotAvailable,
    /// The plugin was not granted this destination; the payload names the deciding rule.
    Denied(String),
    /// Only absolute `http` and `https` URLs are taken.
    InvalidUrl(String),
    /// A header field is not well-formed or not the plugin's to set.
    InvalidHeader(String),
    /// Request or answer is larger than this many bytes.
    TooLarge(u64),
    /// No answer within this many milliseconds.
    Timeout(u64),
    /// The destination could not be reached, or broke off.
    Failed(String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAvailable => f.write_str("this host offers no HTTP client"),
            Self::Denied(rule) => write!(f, "the destination was not granted: {rule}"),
            Self::InvalidUrl(why) => write!(f, "not an absolute http or https URL: {why}"),
            Self::InvalidHeader(why) => write!(f, "header field refused: {why}"),
            Self::TooLarge(max) => write!(f, "request or answer is larger than {max} bytes"),
            Self::Timeout(ms) => write!(f, "no answer within {ms} ms"),
            Self::Failed(why) => write!(f, "the request failed: {why}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// Fetches `url`. Redirects are followed only to destinations that were granted too.
///
/// # Errors
/// [`HttpError`]; an answer with an error status is an `Ok`.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
    backend::http_get(url, headers)
}

/// Posts `body` to `url`. Redirects are not followed.
///
/// # Errors
/// [`HttpError`]; an answer with an error status is an `Ok`.
pub fn post(url: &str, body: &[u8], headers: &[(&str, &str)]) -> Result<Response, HttpError> {
    backend::http_post(url, body, headers)
}
