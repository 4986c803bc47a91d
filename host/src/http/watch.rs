//! Server-sent events: what plugins emit, as it happens.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, StatusCode},
    response::{
        IntoResponse, Sse,
        sse::{Event as Told, KeepAlive},
    },
};
use futures::stream;
use host_ipc::Event;
use plugin_contract::{is_subscription, subscription_covers};
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::{App, Problem, events::EventDocument};
use crate::PluginHost;

/// What to be told of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The last one seen. Default: the latest there is.
    after: Option<u64>,
    /// A type, or `prefix.*`. Default: all.
    r#type: Option<String>,
}

/// What a browser that comes back sends.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often a line is sent when there is nothing to tell, so that nobody in between gives up.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Events that are read from the log at a time.
const PAGE: usize = 100;

pub(super) async fn watch(
    State(app): State<App>,
    wanted: Result<Query<Wanted>, QueryRejection>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, Problem> {
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "http/invalid-query");
    let Query(wanted) = wanted.map_err(|error| invalid().detailed(&error))?;
    if wanted.r#type.as_deref().is_some_and(|wanted| !is_subscription(wanted)) {
        return Err(invalid().detailed(&"`type` is an event type, or `prefix.*`"));
    }
    let Ok(place) = app.watchers.clone().try_acquire_owned() else {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "http/busy"));
    };
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    let latest = app.host.events().read(u64::MAX, 0).next;
    // Numbers start anew with the host: who has seen later ones has seen none of these.
    let seen = last.or(wanted.after).map(|seen| if seen > latest { 0 } else { seen });
    let watcher = Watcher {
        host: app.host,
        after: seen.unwrap_or(latest),
        wanted: wanted.r#type,
        told: VecDeque::new(),
        _place: place,
    };
    let told = stream::unfold(watcher, async |mut watcher| {
        let told = watcher.next().await?;
        Some((Ok::<_, Infallible>(told), watcher))
    });
    Ok(Sse::new(told).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Someone who watches. Reads on only when what was read has been taken, so whoever is slow misses events,
/// and is told how many.
struct Watcher {
    host: PluginHost,
    after: u64,
    wanted: Option<String>,
    told: VecDeque<Told>,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// What there is to tell next; `None` when the host shuts down.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.told.pop_front() {
                return Some(told);
            }
            tokio::select! {
                () = self.host.closing() => return None,
                () = self.host.events().changed_past(self.after) => {}
            }
            let page = self.host.events().read(self.after, PAGE);
            if page.missed > 0 {
                let missed = format!("{{\"missed\":{}}}", page.missed);
                self.told.push_back(Told::default().event("missed").data(missed));
            }
            self.after = page.next;
            let wanted = |event: &&Arc<Event>| {
                let patterns = self.wanted.as_deref();
                patterns.is_none_or(|pattern| subscription_covers(pattern, &event.event_type))
            };
            self.told.extend(page.events.iter().filter(wanted).map(|event| tell(event)));
        }
    }
}

fn tell(event: &Event) -> Told {
    let told = Told::default().id(event.sequence.to_string()).event(&event.event_type);
    // Strings and numbers always have a JSON form, of one line.
    told.json_data(EventDocument::from(event)).unwrap_or_default()
}
