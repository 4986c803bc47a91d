//! Events in, events out.

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, Uri},
};
use host_core::{Caller, EventCall};
use host_ipc::Event;
use plugin_contract::Explain;
use plugin_contract::is_event_type;
use serde::{Deserialize, Serialize};

use super::{App, Problem, body, request};
use crate::Delivery;

/// Which events to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// The last one seen.
    #[serde(default)]
    after: u64,
    /// How many at most.
    #[serde(default = "limit")]
    limit: usize,
}

/// Most events in one answer, and how many there are unless the caller says otherwise.
const LIMIT_MAX: usize = 1_000;

fn limit() -> usize {
    100
}

#[derive(Serialize)]
pub(super) struct PageDocument {
    events: Vec<EventDocument>,
    /// What to give as `after` next.
    next: u64,
    /// Events that were crowded out before they could be read.
    missed: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct EventDocument {
    sequence: u64,
    event_type: String,
    payload: String,
    timestamp: u64,
    source: String,
}

impl From<Event> for EventDocument {
    fn from(event: Event) -> Self {
        Self {
            sequence: event.sequence,
            event_type: event.event_type,
            payload: event.payload,
            timestamp: event.timestamp_ms,
            source: event.source.to_string(),
        }
    }
}

pub(super) async fn read(
    State(app): State<App>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<PageDocument>, Problem> {
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query");
    let Query(range) = range.map_err(|error| invalid().detailed(&error))?;
    let page = app.host.events().read(range.after, range.limit.min(LIMIT_MAX));
    let events = page.events.into_iter().map(EventDocument::from).collect();
    Ok(Json(PageDocument { events, next: page.next, missed: page.missed }))
}

/// An event from outside: as JSON, or with its type in the query and its payload as the body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Incoming {
    event_type: String,
    payload: String,
    #[serde(default)]
    timestamp: Option<u64>,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Serialize)]
pub(super) struct PublishedDocument {
    deliveries: Vec<DeliveryDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct DeliveryDocument {
    plugin: String,
    handled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<Delivery> for DeliveryDocument {
    fn from(delivery: Delivery) -> Self {
        let error = delivery.outcome.err();
        Self {
            plugin: delivery.plugin.to_string(),
            handled: error.is_none(),
            code: error.as_ref().map(Explain::code),
            message: error.map(|error| error.public_message()),
        }
    }
}

pub(super) async fn publish(
    State(app): State<App>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PublishedDocument>, Problem> {
    if !app.host.is_ready() {
        return Err(crate::HostError::ShuttingDown.into());
    }
    let content_type = request::content_type(&headers);
    let options = request::options(&uri)?;
    let (bytes, _share) = body::collect(&app, body).await?;
    let invalid = |problem: &dyn std::fmt::Display| {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "http/invalid-json").detailed(problem)
    };
    let incoming = match (content_type.as_str(), options.as_slice()) {
        ("application/json", []) => {
            serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?
        }
        ("text/plain", [(name, event_type)]) if name == "type" => Incoming {
            event_type: event_type.clone(),
            payload: String::from_utf8(bytes).map_err(|error| invalid(&error))?,
            timestamp: None,
            source: None,
        },
        _ => {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            let problem = Problem::new(status, "http/unsupported-media-type");
            return Err(problem.detailed(&"or `text/plain` with the query `type=EVENT-TYPE`"));
        }
    };
    if !is_event_type(&incoming.event_type) {
        return Err(invalid(
            &"`event-type` is 1 to 128 lower-case letters, digits, `.`, `-` and `_`",
        ));
    }
    let source = incoming.source.unwrap_or_else(|| "http".to_owned());
    if source.len() > 128 || app.host.serves(&source) {
        return Err(invalid(&"`source` is at most 128 bytes, and not the name of a plugin"));
    }
    let event = EventCall {
        event_type: incoming.event_type,
        payload: incoming.payload,
        timestamp_ms: incoming.timestamp.unwrap_or_else(request::now_ms),
        source,
    };
    let caller = Caller { request_id: request::current(), user_id: request::user_id(&headers) };
    let deliveries = app.host.publish(&caller, &event).await;
    Ok(Json(PublishedDocument { deliveries: deliveries.into_iter().map(Into::into).collect() }))
}
