//! The host on the network.
//!
//! | route | answers |
//! |---|---|
//! | `POST /v1/plugins/NAME/process?OPTION=VALUE` | the body, worked on by the plugin |
//! | `POST /v1/plugins/NAME/validate` | whether the plugin would take the body |
//! | `POST /v1/plugins/NAME/batch` | many inputs, answered line by line |
//! | `POST /v1/plugins/NAME/call` | an exported function, called by its name |
//! | `POST /v1/plugins/NAME/stream?OPTION=VALUE` | the body, of any length, piped through the plugin |
//! | `POST /v1/plugins/NAME/message?type=TYPE` | the body as a message, and the plugin's answer |
//! | `POST /v1/plugins/NAME/start`, `/unload`, `/reload` | for the operator, with a token |
//! | `GET /v1/plugins`, `GET /v1/plugins/NAME` | what serves, and what does not |
//! | `POST /v1/plugins?then=stage&why=TEXT` | a version, to be deployed: `application/wasm` or `application/x-tar` |
//! | `POST /v1/plugins/NAME@VERSION/approve`, `/activate`, `/canary`, `/shadow` | what becomes of it |
//! | `POST /v1/plugins/NAME/promote`, `/rollback`, `/hold`, `/resume`, `/advance` | what becomes of a canary |
//! | `GET /v1/deployments`, `GET /v1/plugins/NAME/deployment`, `/history` | where versions stand, and how they came there |
//! | `POST /v1/events` | an event, handed to the plugins that want it |
//! | `GET /v1/events?after=N&limit=N` | the events that plugins emitted |
//! | `GET /v1/events/stream?after=N&type=PATTERN` | the same as they happen: server-sent events |
//! | `GET /v1/events/dead`, `POST /v1/events/dead/replay` | what was not handled, for the operator |
//! | `GET /metrics` | figures for Prometheus |
//! | `GET /healthz`, `GET /readyz` | whether the process lives, whether it takes calls |
//!
//! `NAME` may be `NAME@VERSION`. Where there is a canary, `x-plugin-side: canary` or `stable` chooses who answers
//! a call, and `x-plugin-version` tells who did. Errors are problem
//! documents (RFC 9457) with the members `code` and `remedy`. Each answer carries `x-request-id`: the
//! caller's, if it is 1 to 128 letters, digits, `.`, `_` and `-`, or one made here.

mod admin;
mod batch;
mod body;
mod dead;
mod deploy;
mod events;
mod messages;
mod metrics;
mod plugins;
mod problem;
mod request;
mod server;
mod streams;
mod upload;
mod watch;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    http::{HeaderValue, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::PluginHost;
use admin::Action;
use problem::Problem;

pub use server::{ServeError, Server};

/// What the HTTP surface takes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Bytes of one request body. Default 32 MiB.
    pub body_bytes_max: usize,
    /// Bytes of all request bodies held at one time; never less than one body. Default 512 MiB.
    pub bodies_bytes_max: usize,
    /// Time for a request body to arrive. Default 30 s.
    pub body_timeout: Duration,
    /// Time for the head of a request to arrive, and for an idle connection to send one. Default 10 s.
    pub header_timeout: Duration,
    /// Time for a client to take some of an answer, before it is given up. Default 30 s.
    pub write_timeout: Duration,
    /// Connections at one time; more wait to be accepted. Default 1,024.
    pub connections_max: usize,
    /// Time for calls under way to end when the server stops, or a plugin is unloaded. Default 30 s.
    pub drain_timeout: Duration,
    /// What operators show to change which plugins serve. Default: nobody can, over HTTP.
    pub admin_token: Option<String>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            bodies_bytes_max: 512 << 20,
            body_timeout: Duration::from_secs(30),
            header_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            connections_max: 1_024,
            drain_timeout: Duration::from_secs(30),
            admin_token: None,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    host: PluginHost,
    settings: Arc<HttpSettings>,
    bodies: body::BodyBudget,
    /// Places for those who watch events: they stay, and others want to be heard, too.
    watchers: Arc<Semaphore>,
}

/// The routes, for embedding them in a server of your own.
pub fn router(host: PluginHost, settings: HttpSettings) -> Router {
    let bodies = settings.bodies_bytes_max.max(settings.body_bytes_max);
    let bodies = body::BodyBudget::new(bodies);
    let watchers = settings.connections_max.min(Semaphore::MAX_PERMITS).div_ceil(4);
    let watchers = Arc::new(Semaphore::new(watchers));
    let app = App { host, settings: Arc::new(settings), bodies, watchers };
    Router::new()
        .route("/v1/plugins", get(plugins::list).post(deploy::deploy))
        .route("/v1/plugins/{plugin}", get(plugins::show))
        .route("/v1/plugins/{plugin}/process", post(plugins::process))
        .route("/v1/plugins/{plugin}/validate", post(plugins::validate))
        .route("/v1/plugins/{plugin}/batch", post(batch::batch))
        .route("/v1/plugins/{plugin}/call", post(plugins::call_function))
        .route("/v1/plugins/{plugin}/stream", post(streams::stream))
        .route("/v1/plugins/{plugin}/message", post(messages::send))
        .route(
            "/v1/plugins/{plugin}/start",
            post(|app, plugin, headers| admin::change(app, plugin, Action::Start, headers)),
        )
        .route(
            "/v1/plugins/{plugin}/unload",
            post(|app, plugin, headers| admin::change(app, plugin, Action::Unload, headers)),
        )
        .route(
            "/v1/plugins/{plugin}/reload",
            post(|app, plugin, headers| admin::change(app, plugin, Action::Reload, headers)),
        )
        .route("/v1/plugins/{plugin}/deployment", get(deploy::show))
        .route("/v1/plugins/{plugin}/history", get(deploy::history))
        .route("/v1/deployments", get(deploy::list))
        .merge(steps())
        .route("/v1/events", get(events::read).post(events::publish))
        .route("/v1/events/stream", get(watch::watch))
        .route("/v1/events/dead", get(dead::list))
        .route("/v1/events/dead/replay", post(dead::replay))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "http/no-such-route") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "http/method-not-allowed")
        })
        .layer(CatchPanicLayer::custom(|_| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "http/internal").into_response()
        }))
        .layer(middleware::map_response(harden))
        .layer(middleware::from_fn(request::identify))
        .with_state(app)
}

/// What an operator does to a deployment: `POST /v1/plugins/NAME/STEP`.
fn steps() -> Router<App> {
    use deploy::Step;
    let steps = [
        ("approve", Step::Approve),
        ("activate", Step::Activate),
        ("canary", Step::Canary),
        ("promote", Step::Promote),
        ("rollback", Step::RollBack),
        ("hold", Step::Hold),
        ("resume", Step::Resume),
        ("advance", Step::Advance),
        ("shadow", Step::Shadow),
    ];
    steps.into_iter().fold(Router::new(), |router, (name, step)| {
        let take = move |app, plugin, why, headers, body| {
            deploy::take(app, plugin, why, headers, body, step)
        };
        router.route(&format!("/v1/plugins/{{plugin}}/{name}"), post(take))
    })
}

async fn metrics(app: axum::extract::State<App>) -> Response {
    match metrics::render(metrics::Figures::of(&app.host)) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "http/internal").into_response(),
    }
}

async fn ready(app: axum::extract::State<App>) -> Response {
    if app.host.is_ready() {
        return "ready\n".into_response();
    }
    Problem::from(crate::HostError::ShuttingDown).into_response()
}

/// Plugins choose bytes and media type of what they answer: a browser must neither guess nor run it.
async fn harden(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    response
}
