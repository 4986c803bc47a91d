//! Events in, events out.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, Uri},
};
use host_core::EventCall;
use host_ipc::{Event, Settled};
use serde::{Deserialize, Serialize};

use super::{App, Problem, body, request};
use crate::Delivery;

/// Which events to read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Range {
    /// The last one seen.
    #[serde(default)]
    pub(super) after: u64,
    /// How many at most.
    #[serde(default = "limit")]
    limit: usize,
}

impl Range {
    pub(super) fn of(range: Result<Query<Self>, QueryRejection>) -> Result<Self, Problem> {
        let invalid = || Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query");
        range.map(|Query(range)| range).map_err(|error| invalid().detailed(&error))
    }

    pub(super) fn limit(&self) -> usize {
        self.limit.min(LIMIT_MAX)
    }
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
pub(super) struct EventDocument {
    sequence: u64,
    event_type: String,
    payload: String,
    timestamp: u64,
    source: String,
}

impl From<&Event> for EventDocument {
    fn from(event: &Event) -> Self {
        Self {
            sequence: event.sequence,
            event_type: event.event_type.clone(),
            payload: event.payload.clone(),
            timestamp: event.timestamp_ms,
            source: event.source.to_string(),
        }
    }
}

pub(super) async fn read(
    State(app): State<App>,
    range: Result<Query<Range>, QueryRejection>,
) -> Result<Json<PageDocument>, Problem> {
    let range = Range::of(range)?;
    let page = app.host.events().read(range.after, range.limit());
    let events = page.events.iter().map(|event| (&**event).into()).collect();
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
    /// Whether it is still tried.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pending: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl From<Delivery> for DeliveryDocument {
    fn from(delivery: Delivery) -> Self {
        let plugin = delivery.plugin.to_string();
        let (handled, pending) = (false, delivery.settled.is_none());
        let base = Self { plugin, handled, pending, attempts: None, code: None, message: None };
        match delivery.settled {
            None => base,
            Some(Settled::Handled { attempts }) => {
                Self { handled: true, attempts: Some(attempts), ..base }
            }
            Some(Settled::Dead { code, message, attempts }) => {
                Self { attempts: Some(attempts), code: Some(code), message: Some(message), ..base }
            }
        }
    }
}

/// Longest event from outside, in bytes.
const EVENT_BYTES_MAX: usize = 1 << 20;

/// How long an answer waits for events to be handled. What takes longer is told to be pending.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

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
    let (bytes, _share) = body::collect_within(&app, body, EVENT_BYTES_MAX).await?;
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
    let source = incoming.source.unwrap_or_else(|| "http".to_owned());
    if app.host.serves(&source) {
        let problem = "`source` is not the name of a plugin".to_owned();
        return Err(crate::HostError::InvalidEvent(problem).into());
    }
    let event = EventCall {
        event_type: incoming.event_type,
        payload: incoming.payload,
        timestamp_ms: incoming.timestamp.unwrap_or_else(request::now_ms),
        source,
    };
    let caller = request::caller(&headers);
    let deliveries = app.host.publish(&caller, event, PUBLISH_WAIT).await?;
    Ok(Json(PublishedDocument { deliveries: deliveries.into_iter().map(Into::into).collect() }))
}
