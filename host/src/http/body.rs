//! Request bodies: bounded in size, in time, and all together.

use std::sync::Arc;

use axum::{body::Body, http::StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::{App, Problem};

/// The memory that all bodies may take at one time, in KiB.
#[derive(Clone)]
pub(super) struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes_max >> 10).min(Semaphore::MAX_PERMITS))))
    }

    /// Sets memory aside for a body of at most `bytes`.
    fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        self.0.clone().try_acquire_many_owned(kib).ok()
    }
}

/// A body's share of the memory for bodies, held while the body is worked on.
pub(super) struct Share {
    _permit: OwnedSemaphorePermit,
}

/// Reads a whole body.
pub(super) async fn collect(app: &App, body: Body) -> Result<(Vec<u8>, Share), Problem> {
    let bytes_max = app.settings.body_bytes_max;
    let too_large = || {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "http/body-too-large")
            .detailed(&format_args!("{bytes_max} bytes"))
    };
    // A body without a length may turn out to be as long as any.
    let length = body.size_hint().exact().unwrap_or(bytes_max as u64);
    if length > bytes_max as u64 {
        return Err(too_large());
    }
    let busy = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "http/busy");
    let permit = app.bodies.take(length).ok_or_else(busy)?;
    let collected = Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(app.settings.body_timeout, collected).await {
        Ok(Ok(bytes)) => Ok((bytes.to_bytes().into(), Share { _permit: permit })),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "http/body-broken").detailed(&error))
        }
        Err(_) => Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "http/body-timeout")),
    }
}
