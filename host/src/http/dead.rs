//! Events that were not handled in the end: for the operator, since they are told whole.

use axum::{
    Json,
    body::Body,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use host_ipc::{DeadLetter, EventBus};
use serde::{Deserialize, Serialize};

use super::{
    App, Problem, admin, body,
    events::{EventDocument, Range},
};

#[derive(Serialize)]
pub(super) struct PageDocument {
    letters: Vec<LetterDocument>,
    /// What to give as `after` next.
    next: u64,
    /// Letters that were dropped or replayed before they could be read.
    missed: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct LetterDocument {
    id: u64,
    subscriber: String,
    code: &'static str,
    message: String,
    attempts: u32,
    timestamp: u64,
    event: EventDocument,
}

impl From<&DeadLetter> for LetterDocument {
    fn from(letter: &DeadLetter) -> Self {
        Self {
            id: letter.id,
            subscriber: letter.subscriber.to_string(),
            code: letter.code,
            message: letter.message.clone(),
            attempts: letter.attempts,
            timestamp: letter.when_ms,
            event: (&*letter.event).into(),
        }
    }
}

pub(super) async fn list(
    State(app): State<App>,
    range: Result<Query<Range>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Json<PageDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    let range = Range::of(range)?;
    let page = app.host.bus().dead_letters(range.after, range.limit());
    let letters = page.letters.iter().map(LetterDocument::from).collect();
    Ok(Json(PageDocument { letters, next: page.next, missed: page.missed }))
}

/// Which to try once more. Without a body: all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    ids: Vec<u64>,
}

/// Longest list of letters, in bytes.
const WHICH_BYTES_MAX: usize = 64 << 10;

#[derive(Serialize)]
pub(super) struct ReplayedDocument {
    /// How many are tried once more. The others are not there any more, or their subscriber is not.
    replayed: usize,
}

pub(super) async fn replay(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ReplayedDocument>, Problem> {
    admin::authorize(&app, &headers)?;
    let (body, _share) = body::collect_within(&app, body, WHICH_BYTES_MAX).await?;
    let bus: &EventBus = app.host.bus();
    let replayed = match body.is_empty() {
        true => bus.replay_all(),
        false => {
            let which: Which = serde_json::from_slice(&body).map_err(|error| {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Problem::new(status, "http/invalid-json").detailed(&error)
            })?;
            bus.replay(&which.ids)
        }
    };
    Ok(Json(ReplayedDocument { replayed }))
}
