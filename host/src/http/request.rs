//! What is read from a request before its body.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};
use host_deploy::verdict::Arm;
use plugin_contract::Caller;
use uuid::Uuid;

use crate::http::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const SIDE: HeaderName = HeaderName::from_static("x-plugin-side");
const TRACE: HeaderName = HeaderName::from_static("traceparent");

tokio::task_local! {
    static CURRENT: Arc<str>;
}

/// Gives each request an id, and each answer that of its request.
pub(super) async fn identify(request: Request, next: Next) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let id: Arc<str> = match given.filter(|id| is_id(id)) {
        Some(id) => id.into(),
        None => Uuid::now_v7().to_string().into(),
    };
    let mut response = CURRENT.scope(id.clone(), next.run(request)).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The id of the request that is being answered.
pub(super) fn current_id() -> Option<Arc<str>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// On whose behalf a request is made.
pub(super) fn caller(headers: &HeaderMap) -> Caller {
    let mut caller = current_id().map(Caller::new).unwrap_or_default();
    caller.user_id = user_id(headers);
    caller.trace = trace(headers);
    caller
}

/// Which side of a canary is to answer, for those who test it. Anything else means neither.
pub(super) fn side(headers: &HeaderMap) -> Option<Arm> {
    match headers.get(SIDE)?.as_bytes() {
        b"canary" => Some(Arm::Canary),
        b"stable" => Some(Arm::Stable),
        _ => None,
    }
}

/// The trace that a request belongs to: `00-`, 32 and 16 hexadecimal digits, and flags.
fn trace(headers: &HeaderMap) -> Option<Arc<str>> {
    let given = headers.get(TRACE)?.to_str().ok()?;
    let hex =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    let parts: Vec<&str> = given.split('-').collect();
    let [version, trace, parent, flags] = parts.as_slice() else { return None };
    let lengths = [version, trace, parent, flags].map(|part| part.len());
    (lengths == [2, 32, 16, 2] && parts.iter().all(|part| hex(part))).then(|| given.into())
}

fn is_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// On whose behalf, where the caller says so in a form that may be shown.
fn user_id(headers: &HeaderMap) -> Option<Arc<str>> {
    let id = headers.get(USER_ID)?.to_str().ok()?;
    (1..=256).contains(&id.len()).then(|| id.into())
}

/// The media type of the body, in lower case and without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).map(str::trim);
    match essence.filter(|essence| !essence.is_empty()) {
        Some(essence) => essence.to_ascii_lowercase(),
        None => "application/octet-stream".to_owned(),
    }
}

/// The options in the query, in their order.
pub(super) fn options(uri: &Uri) -> Result<Vec<(String, String)>, Problem> {
    let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query");
    Ok(query.map_err(|error| invalid().detailed(&error))?.0)
}

/// Now, in milliseconds since 1970-01-01 UTC.
pub(super) fn now_ms() -> u64 {
    // Before 1970 there is no number for it; nothing is decided by it.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::{content_type, is_id};
    use axum::http::{HeaderMap, HeaderValue, header};

    #[test]
    fn ids_of_callers_are_kept_if_they_are_harmless() {
        assert!(is_id("Req-1_a.b"));
        for bad in ["", "a b", "a\n", "a/b", "\u{e9}", &"x".repeat(129)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn media_types_are_compared_without_case_and_parameters() {
        let of = |value: &str| {
            content_type(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_str(value).unwrap(),
            )]))
        };
        assert_eq!(of("Text/Plain; charset=utf-8"), "text/plain");
        assert_eq!(of(""), "application/octet-stream");
        assert_eq!(content_type(&HeaderMap::new()), "application/octet-stream");
    }
}
