//! Shadow mode: a share of the calls is made once more, on a version whose answers go to nobody.
//!
//! The version runs on [shadow terms](host_core::Embedder::shadow_terms): it reads what it may, and changes
//! nothing. Whoever made the call neither waits for it nor learns of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use host_core::{CoreError, Newcomer, Plugin, ProcessCall, ProcessReply};
use host_deploy::Split;
use plugin_contract::{Digest, Explain};
use serde::{Deserialize, Serialize};
use tokio::{sync::Semaphore, time::Instant};

use super::lock;
use crate::state::HostState;

/// Mirrored calls under way at one time; further ones are not mirrored.
const CALLS_MAX: usize = 16;

/// Differences that are kept to be looked at; the oldest go first.
const SAMPLES_MAX: usize = 20;

/// What came of mirroring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowCounts {
    /// Calls that were made once more.
    pub mirrored: u64,
    /// Of these, answered in the same way.
    pub same: u64,
    /// Of these, answered in another way.
    pub different: u64,
    /// Calls that were in the share, and not mirrored since too many were under way.
    pub skipped: u64,
    /// The last differences.
    pub samples: Vec<Difference>,
}

/// Two answers to one call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Names the call.
    pub request_id: String,
    /// What was answered.
    pub served: String,
    /// What the shadow would have answered.
    pub shadow: String,
}

/// A version that is tried on mirrored calls.
pub(crate) struct Mirror {
    newcomer: Mutex<Option<Newcomer<HostState>>>,
    plugin: Arc<Plugin<HostState>>,
    split: Split,
    turns: Arc<Semaphore>,
    /// Stands in for the id of calls that have none.
    unnamed: AtomicU64,
    mirrored: AtomicU64,
    same: AtomicU64,
    skipped: AtomicU64,
    different: AtomicU64,
    samples: Mutex<Vec<Difference>>,
}

/// A call that is to be made once more.
pub(crate) struct Mirrored {
    mirror: Arc<Mirror>,
    call: ProcessCall,
    turn: tokio::sync::OwnedSemaphorePermit,
}

impl Mirror {
    pub(super) fn new(newcomer: Newcomer<HostState>, split: Split) -> Self {
        Self {
            plugin: newcomer.plugin().clone(),
            newcomer: Mutex::new(Some(newcomer)),
            split,
            turns: Arc::new(Semaphore::new(CALLS_MAX)),
            unnamed: AtomicU64::new(0),
            mirrored: AtomicU64::new(0),
            same: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            different: AtomicU64::new(0),
            samples: Mutex::new(Vec::new()),
        }
    }

    /// Copies a call, if it is in the share.
    pub(crate) fn take(self: &Arc<Self>, call: &ProcessCall) -> Option<Mirrored> {
        let is_taken = match call.caller.request_id.as_bytes() {
            // Those without an id are spread by the share, as those to a canary are.
            [] => {
                let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
                self.split.takes(&number.to_le_bytes())
            }
            id => self.split.takes(id),
        };
        if !is_taken {
            return None;
        }
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let mut call = call.clone();
        // It has the time that its plugin has, whatever its caller had.
        call.caller.deadline = None;
        Some(Mirrored { mirror: self.clone(), call, turn })
    }

    pub(crate) fn counts(&self) -> ShadowCounts {
        ShadowCounts {
            mirrored: self.mirrored.load(Ordering::Relaxed),
            same: self.same.load(Ordering::Relaxed),
            different: self.different.load(Ordering::Relaxed),
            skipped: self.skipped.load(Ordering::Relaxed),
            samples: lock(&self.samples).clone(),
        }
    }

    /// Mirrors no more.
    pub(super) fn end(&self) {
        let newcomer = lock(&self.newcomer).take();
        if let (Some(newcomer), Ok(handle)) = (newcomer, tokio::runtime::Handle::try_current()) {
            let deadline = Instant::now() + Duration::from_secs(5);
            handle.spawn(newcomer.discard(deadline));
        }
    }

    fn compare(&self, request_id: &str, served: String, shadow: String) {
        self.mirrored.fetch_add(1, Ordering::Relaxed);
        if served == shadow {
            self.same.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.different.fetch_add(1, Ordering::Relaxed);
        let mut samples = lock(&self.samples);
        if samples.len() == SAMPLES_MAX {
            samples.remove(0);
        }
        samples.push(Difference { request_id: request_id.to_owned(), served, shadow });
    }
}

impl Mirrored {
    /// Makes the call and compares the answers, while its caller goes on.
    pub(crate) fn compare_with(self, served: &Result<ProcessReply, CoreError>) {
        if matches!(served, Err(CoreError::Retired { .. })) {
            // Another revision is about to answer.
            return;
        }
        let served = summary(served);
        let Self { mirror, mut call, turn } = self;
        tokio::spawn(async move {
            let shadow = summary(&mirror.plugin.process(&mut call).await);
            mirror.compare(&call.caller.request_id, served, shadow);
            drop(turn);
        });
    }
}

/// An answer in a line: enough to see whether two are the same, and nothing of what is in it.
fn summary(answer: &Result<ProcessReply, CoreError>) -> String {
    match answer {
        Ok(reply) => format!(
            "{} of {} bytes, {}, {} items",
            plugin_contract::escape(&reply.content_type, 100),
            reply.output.len(),
            Digest::of(&reply.output),
            reply.items_processed,
        ),
        Err(error) => error.code().to_owned(),
    }
}
