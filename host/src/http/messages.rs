//! Messages from outside to plugins.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use host_core::{CoreError, Operation};
use host_ipc::channel::Message;
use plugin_contract::{Address, escape};
use serde::Deserialize;

use super::{
    App, Problem, body,
    plugins::{Name, parse},
    request,
};
use crate::HostError;

/// What the message is about, and whether its sender waits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct About {
    r#type: String,
    #[serde(default = "waits")]
    wait: bool,
    /// How long, in milliseconds.
    timeout_ms: Option<u64>,
}

fn waits() -> bool {
    true
}

/// Longest time that anyone may wait here.
const TIMEOUT_MAX: Duration = Duration::from_secs(300);

const REQUEST: HeaderName = HeaderName::from_static("x-message-request");

/// Hands the body to a plugin as a message, and answers with its answer.
pub(super) async fn send(
    State(app): State<App>,
    plugin: Name,
    about: Result<Query<About>, QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query");
    let checked = (|| {
        let plugin = parse(plugin)?;
        app.host.check_offers(&plugin, Operation::OnMessage)?;
        if plugin.version.is_some() {
            return Err(invalid().detailed(&"messages go to a plugin, and not to a version of it"));
        }
        let Query(about) = about.map_err(|error| invalid().detailed(&error))?;
        Ok((plugin, about))
    })();
    let (plugin, about) = match checked {
        Ok(checked) => checked,
        Err(problem) => {
            body::discard(&app, body).await;
            return Err(problem);
        }
    };
    let bytes_max = app.host.channel().settings().payload_bytes_max;
    let (payload, _share) = body::collect_within(&app, body, bytes_max).await?;
    // No plugin can be called that.
    let http: Address = "@http".parse().map_err(|problem| invalid().detailed(&problem))?;
    let sender = app.host.channel().sender(http);
    let message = Message::new(plugin.name.clone().into(), &about.r#type, payload);
    let caller = request::caller(&headers);
    if !about.wait {
        sender.send(&caller, message).await.map_err(HostError::from)?;
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let timeout = about.timeout_ms.map(Duration::from_millis).map(|it| it.min(TIMEOUT_MAX));
    let answer = sender.request(&caller, message, timeout).await.map_err(HostError::from)?;
    if !answer.success {
        let message = escape(&String::from_utf8_lossy(&answer.payload), 4 << 10);
        let plugin = plugin.name;
        return Err(HostError::from(CoreError::Refused { plugin, message }).into());
    }
    let id = HeaderValue::from_str(&answer.request_id).unwrap_or(HeaderValue::from_static("-"));
    let media_type = HeaderValue::from_static("application/octet-stream");
    Ok(([(header::CONTENT_TYPE, media_type), (REQUEST, id)], answer.payload).into_response())
}
