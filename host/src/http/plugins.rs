//! Calls to plugins, and what there is to call.

use axum::{
    Json,
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use host_core::{FunctionCall, Operation, ProcessCall};
use plugin_contract::escape;
use serde::Serialize;

use super::{App, Problem, body, request};
use crate::{
    Answered, HostError, PluginRef,
    documents::{Detail, ListDocument, PluginDocument},
};

pub(super) async fn list(State(app): State<App>) -> Json<ListDocument> {
    Json(ListDocument::of(&app.host, Detail::Public))
}

pub(super) async fn show(
    State(app): State<App>,
    plugin: Name,
) -> Result<Json<PluginDocument>, Problem> {
    Ok(Json(app.host.plugin(&parse(plugin)?)?.into()))
}

pub(super) async fn process(
    State(app): State<App>,
    plugin: Name,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let plugin = parse(plugin)?.on(request::side(&headers));
    let (call, _share) = call(&app, &plugin, Operation::Process, &uri, &headers, body).await?;
    let Answered { reply, version } = app.host.answer(&plugin, call).await?;

    let mut response = reply.output.into_response();
    let headers = response.headers_mut();
    if let Ok(version) = HeaderValue::from_str(&version.to_string()) {
        headers.insert(VERSION, version);
    }
    headers.insert(header::CONTENT_TYPE, media_type(&reply.content_type));
    headers.insert(ITEMS, reply.items_processed.into());
    if let Some(degraded) = reply.degraded
        && let Ok(degraded) = HeaderValue::from_str(&degraded.to_string())
    {
        headers.insert(DEGRADED, degraded);
    }
    // Fields are ASCII: anything else is spelled out.
    let ascii = |warning: String| escape(&warning, 500).escape_default().to_string();
    if let Some(warning) = reply.warning
        && let Ok(warning) = HeaderValue::from_str(&ascii(warning))
    {
        headers.insert(WARNING, warning);
    }
    Ok(response)
}

#[derive(Serialize)]
pub(super) struct ResultDocument {
    result: Option<serde_json::Value>,
}

/// Longest call by name, in bytes. As JSON values, a hundred times as much.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Calls an exported function by its name.
pub(super) async fn call_function(
    State(app): State<App>,
    plugin: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ResultDocument>, Problem> {
    let plugin = parse(plugin)?;
    if let Err(error) = app.host.check_offers(&plugin, Operation::Call) {
        body::discard(&app, body).await;
        return Err(error.into());
    }
    let (bytes, _share) = body::collect_within(&app, body, CALL_BYTES_MAX).await?;
    let call = serde_json::from_slice(&bytes).map_err(|error| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/invalid-json").detailed(&error)
    })?;
    let (caller, plugin) = (request::caller(&headers), plugin.on(request::side(&headers)));
    let reply = app.host.call(&plugin, &caller, &FunctionCall::Json(call)).await?;
    Ok(Json(ResultDocument { result: reply.into_json() }))
}

const VERSION: HeaderName = HeaderName::from_static("x-plugin-version");
const ITEMS: HeaderName = HeaderName::from_static("x-items-processed");
const DEGRADED: HeaderName = HeaderName::from_static("x-plugin-degraded");
const WARNING: HeaderName = HeaderName::from_static("x-plugin-warning");

/// The media type that a plugin gave its answer, if it is one.
pub(super) fn media_type(given: &str) -> HeaderValue {
    let well_formed = given.len() <= 200 && given.split('/').count() == 2;
    let value = HeaderValue::from_str(given).ok().filter(|_| well_formed);
    value.unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

#[derive(Serialize)]
pub(super) struct ValidDocument {
    valid: bool,
}

pub(super) async fn validate(
    State(app): State<App>,
    plugin: Name,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ValidDocument>, Problem> {
    let plugin = parse(plugin)?;
    let plugin = plugin.on(request::side(&headers));
    let (call, _share) = call(&app, &plugin, Operation::Validate, &uri, &headers, body).await?;
    Ok(Json(ValidDocument { valid: app.host.validate(&plugin, call).await? }))
}

/// Reads a call. What can be refused without its body is refused before the body is read.
async fn call(
    app: &App,
    plugin: &PluginRef,
    operation: Operation,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Result<(ProcessCall, body::Share), Problem> {
    let content_type = request::content_type(headers);
    let checked = request::options(uri).and_then(|options| {
        app.host.check(plugin, operation, &content_type)?;
        Ok(options)
    });
    let options = match checked {
        Ok(options) => options,
        Err(problem) => {
            body::discard(app, body).await;
            return Err(problem);
        }
    };
    let (input, share) = body::collect(app, body).await?;
    let call = ProcessCall {
        caller: request::caller(headers),
        options,
        ..ProcessCall::new(input, &content_type)
    };
    Ok((call, share))
}

/// The name of a plugin, as it stands in a path.
pub(super) type Name = Result<Path<String>, PathRejection>;

pub(super) fn parse(plugin: Name) -> Result<PluginRef, Problem> {
    // What cannot be decoded names nothing.
    let name = plugin.map(|Path(name)| name).unwrap_or_default();
    name.parse().map_err(|error| HostError::from(error).into())
}
