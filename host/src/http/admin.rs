//! What changes which plugins serve. Whoever asks for it shows the operator's token.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use plugin_contract::Digest;

use super::{
    App, Problem,
    plugins::{Name, parse},
};
use crate::{PluginHost, PluginRef};

/// What can be done to a plugin.
#[derive(Clone, Copy)]
pub(super) enum Action {
    Start,
    Unload,
    Reload,
}

pub(super) async fn change(
    State(app): State<App>,
    plugin: Name,
    action: Action,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    authorize(&app, &headers)?;
    let plugin = parse(plugin)?;
    // A client that goes away does not leave the work half done.
    let (host, drain) = (app.host.clone(), app.settings.drain_timeout);
    let work = tokio::spawn(async move { act(&host, &plugin, action, drain).await });
    match work.await {
        Ok(result) => result.map(|()| StatusCode::NO_CONTENT).map_err(Problem::from),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "http/internal")),
    }
}

async fn act(
    host: &PluginHost,
    plugin: &PluginRef,
    action: Action,
    drain: std::time::Duration,
) -> Result<(), crate::HostError> {
    match action {
        Action::Start => host.start(plugin).await,
        Action::Unload => host.unload(plugin, drain).await,
        Action::Reload => host.reload(plugin, drain).await,
    }
}

/// Whether the request bears the operator's token.
pub(super) fn authorize(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(token) = &app.settings.admin_token else {
        return Err(Problem::new(StatusCode::FORBIDDEN, "http/admin-disabled"));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer "));
    // Of digests, it tells nothing how many bytes agree.
    match given {
        Some(given) if Digest::of(given.as_bytes()) == Digest::of(token.as_bytes()) => Ok(()),
        _ => Err(Problem::new(StatusCode::UNAUTHORIZED, "http/unauthorized")),
    }
}
