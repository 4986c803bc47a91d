//! Request bodies: bounded in size, in time, and all together.

use std::{sync::Arc, time::Duration};

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::{App, Problem};

/// The memory that all bodies may take at one time.
#[derive(Clone)]
pub(super) struct BodyBudget(Arc<Semaphore>);

/// What one permit stands for, in bytes.
const GRAIN: usize = 1 << 10;

impl BodyBudget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes_max / GRAIN).min(Semaphore::MAX_PERMITS))))
    }
}

/// A body's share of the memory for bodies, held while the body is worked on. It grows as the body
/// arrives: what a client announces and does not send costs nobody anything.
pub(super) struct Share {
    permit: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// Makes room for `bytes` in all.
    fn grow(&mut self, budget: &BodyBudget, bytes: usize) -> bool {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(GRAIN).saturating_sub(held);
        let Ok(more) = u32::try_from(more) else { return false };
        match (budget.0.clone().try_acquire_many_owned(more), &mut self.permit) {
            (Ok(more), Some(permit)) => permit.merge(more),
            (Ok(more), none) => *none = Some(more),
            (Err(_), _) => return false,
        }
        true
    }
}

/// Reads and forgets what a client still sends with a request that is refused already, so that it gets
/// to read why: at most as much as a body may be, and for a few seconds.
pub(super) async fn discard(app: &App, mut body: Body) {
    let mut left = app.settings.body_bytes_max;
    let discarded = async {
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            let Some(rest) = left.checked_sub(bytes) else { return };
            left = rest;
        }
    };
    let patience = app.settings.body_timeout.min(DISCARD_TIME_MAX);
    let _ = tokio::time::timeout(patience, discarded).await;
}

/// How long a refused body is listened to.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(5);

/// Reads a whole body.
pub(super) async fn collect(app: &App, body: Body) -> Result<(Vec<u8>, Share), Problem> {
    collect_within(app, body, app.settings.body_bytes_max).await
}

/// Reads a whole body of at most `bytes_max` bytes.
pub(super) async fn collect_within(
    app: &App,
    body: Body,
    bytes_max: usize,
) -> Result<(Vec<u8>, Share), Problem> {
    let bytes_max = bytes_max.min(app.settings.body_bytes_max);
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "http/body-too-large")
            .detailed(&format_args!("{bytes_max} bytes"))
    };
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > bytes_max as u64 {
        discard(app, body).await;
        return Err(too_large());
    }
    let collected = async {
        let (mut bytes, mut share) = (Vec::new(), Share { permit: None });
        let mut body = body;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Problem::new(StatusCode::BAD_REQUEST, "http/body-broken").detailed(&error)
            })?;
            let Ok(data) = frame.into_data() else { continue };
            let total = bytes.len() + data.len();
            if total > bytes_max {
                return Err(too_large());
            }
            if !share.grow(&app.bodies, total) {
                return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "http/busy"));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((bytes, share))
    };
    match tokio::time::timeout(app.settings.body_timeout, collected).await {
        Ok(result) => result,
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "http/body-timeout")),
    }
}
