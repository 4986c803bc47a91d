//! Errors as problem documents (RFC 9457).

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use host_core::CoreError;
use host_deploy::{Illegal, storage::StorageError};
use host_ipc::channel::MessageError;
use plugin_contract::Explain;
use serde::Serialize;

use crate::{HostError, http::request};

/// An error, on its way to a client.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    remedy: &'static str,
    retry_after: Option<Duration>,
    request_id: Option<Arc<str>>,
}

/// What the client reads.
#[derive(Serialize)]
struct Document<'a> {
    /// A name for the kind of problem; not meant to be fetched.
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    remedy: &'a str,
    #[serde(rename = "request-id", skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl Problem {
    /// A problem of the HTTP surface itself.
    pub(super) fn new(status: StatusCode, code: &'static str) -> Self {
        let (detail, remedy) = match code {
            "http/no-such-route" => {
                ("there is nothing under this path", "see the routes in the manual")
            }
            "http/method-not-allowed" => {
                ("this path does not take this method", "see the `allow` field of the answer")
            }
            "http/body-too-large" => {
                ("the body is larger than this host takes", "send less, or in parts")
            }
            "http/body-timeout" => {
                ("the body did not arrive in time", "send it faster, or less of it")
            }
            "http/body-broken" => ("the body broke off", "send it again"),
            "http/busy" => ("too much is being sent to this host at once", "try again later"),
            "http/invalid-query" => {
                ("the query is not made of `name=value` pairs", "encode options as in a form")
            }
            "http/invalid-json" => {
                ("the body is not what this route takes", "send JSON as in the manual")
            }
            "http/admin-disabled" => {
                ("this host takes no orders over HTTP", "start the host with `--admin-token-file`")
            }
            "http/unauthorized" => (
                "this is for operators",
                "send the operator's token as `authorization: Bearer TOKEN`",
            ),
            "http/invalid-if-match" => (
                "`if-match` holds no revision of a deployment",
                "send the number that the deployment was told with, or leave the field out",
            ),
            "http/version-missing" => {
                ("this route wants a version", "name the plugin as `NAME@VERSION`")
            }
            "http/unsupported-media-type" => {
                ("this route does not take this media type", "send `application/json`")
            }
            _ => ("the host failed", "look into the host's log, under the request id"),
        };
        Self::made(status, code, detail.to_owned(), remedy)
    }

    /// The same problem, with more to say.
    pub(super) fn detailed(mut self, detail: &dyn std::fmt::Display) -> Self {
        self.detail = format!("{}: {detail}", self.detail);
        self
    }

    fn made(status: StatusCode, code: &'static str, detail: String, remedy: &'static str) -> Self {
        Self { status, code, detail, remedy, retry_after: None, request_id: request::current_id() }
    }
}

impl From<HostError> for Problem {
    fn from(error: HostError) -> Self {
        let status = status(&error);
        if status.is_server_error() {
            // The causes may speak of the host's insides: they stay in its log.
            let causes = crate::inspect::chain(&error);
            let causes = causes.replace('\n', " ");
            match status {
                // Told to each caller of a plugin out of order: that it is was logged when it began.
                StatusCode::SERVICE_UNAVAILABLE => {
                    tracing::debug!(code = error.code(), "{causes}");
                }
                _ => tracing::warn!(code = error.code(), "{causes}"),
            }
        }
        let problem = Self::made(status, error.code(), error.public_message(), error.remedy());
        Self { retry_after: error.retry_after(), ..problem }
    }
}

/// What an error means to a client.
pub(super) fn status(error: &HostError) -> StatusCode {
    match error {
        HostError::Core(error) => core_status(error),
        HostError::Message(error) => message_status(error),
        HostError::UnknownPlugin(_) | HostError::Name(_) => StatusCode::NOT_FOUND,
        HostError::UnsupportedMediaType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        HostError::InvalidEvent(_) | HostError::InvalidUpload(_) | HostError::Contract { .. } => {
            StatusCode::UNPROCESSABLE_ENTITY
        }
        HostError::Deploy(Illegal::UnknownVersion { .. }) | HostError::NotDeployed(_) => {
            StatusCode::NOT_FOUND
        }
        HostError::Deployments(StorageError::Conflict { .. }) => StatusCode::PRECONDITION_FAILED,
        HostError::Deployments(StorageError::Full(_)) => StatusCode::INSUFFICIENT_STORAGE,
        HostError::Deploy(_)
        | HostError::Managed(_)
        | HostError::BreakingChange { .. }
        | HostError::StatefulCanary { .. }
        | HostError::LastStep { .. } => StatusCode::CONFLICT,
        HostError::NoDeployments => StatusCode::FORBIDDEN,
        HostError::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn message_status(error: &MessageError) -> StatusCode {
    match error {
        MessageError::UnknownTarget(_) => StatusCode::NOT_FOUND,
        MessageError::Denied(_) => StatusCode::FORBIDDEN,
        MessageError::QueueFull | MessageError::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
        MessageError::PayloadTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        MessageError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        MessageError::Cyclic(_) => StatusCode::CONFLICT,
        MessageError::Closed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn core_status(error: &CoreError) -> StatusCode {
    match error {
        CoreError::Shared(error) => core_status(error),
        CoreError::NotOffered { .. } | CoreError::NoSuchFunction { .. } => StatusCode::NOT_FOUND,
        CoreError::Refused { .. }
        | CoreError::InputNotText { .. }
        | CoreError::InvalidArguments { .. }
        | CoreError::NotCallable { .. }
        | CoreError::PoisonInput { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        CoreError::StillNeeded { .. }
        | CoreError::NotRelayed { .. }
        | CoreError::StateNotGiven { .. }
        | CoreError::StateTooLarge { .. }
        | CoreError::StateUnknownFormat { .. }
        | CoreError::StateRefused { .. }
        | CoreError::StateBusy { .. } => StatusCode::CONFLICT,
        CoreError::StreamBroken { .. } => StatusCode::BAD_REQUEST,
        CoreError::StreamStalled { .. } => StatusCode::REQUEST_TIMEOUT,
        CoreError::Peer { source, .. } => core_status(source),
        CoreError::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
        CoreError::HostExhausted { .. }
        | CoreError::Dependency { .. }
        | CoreError::NotLoaded { .. }
        | CoreError::Paused { .. }
        | CoreError::Recovering { .. }
        | CoreError::Quarantined { .. }
        | CoreError::CircuitOpen { .. }
        | CoreError::CompilerBusy { .. }
        | CoreError::Retired { .. } => StatusCode::SERVICE_UNAVAILABLE,
        CoreError::Deadline { .. } | CoreError::CpuTime { .. } => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, code, detail, remedy, retry_after, request_id } = self;
        let document = Document {
            r#type: format!("urn:plugin-host:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: &detail,
            code,
            remedy,
            request_id: request_id.as_deref(),
        };
        // Strings and numbers always have a JSON form.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let media_type = HeaderValue::from_static("application/problem+json");
        let mut response = (status, [(header::CONTENT_TYPE, media_type)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = retry_after.map_or(1, |after| after.as_secs_f64().ceil().max(1.0) as u64);
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
