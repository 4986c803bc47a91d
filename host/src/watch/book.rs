//! What was seen of each candidate, and what is to be done about it now.
//!
//! No files and no clock: what was seen, and when, comes in as values.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use host_core::Description;
use tokio::time::Instant;

use super::print::Print;
use crate::plugin_host::Outcome;

/// Between two tries of the same bytes, where the reason may pass: doubled from the first to the last.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What is to be done.
#[derive(Debug)]
pub(super) enum Step {
    /// See what it is, and have it serve. What was tried last and failed is not worth another try.
    Try(PathBuf, Option<Arc<Description>>),
    /// Tell that it is gone.
    Gone(PathBuf),
}

/// All candidates of a directory.
#[derive(Debug)]
pub(super) struct Book {
    entries: BTreeMap<PathBuf, Entry>,
    /// A candidate is acted on when it was left alone for as long as this.
    quiet: Duration,
    /// And after this at the latest.
    quiet_max: Duration,
}

#[derive(Debug)]
struct Entry {
    /// What it was when it was last looked at; nothing if it is gone.
    seen: Option<Print>,
    /// The first and the last change that nothing was done about.
    changed: Option<(Instant, Instant)>,
    /// When the same bytes are to be tried again.
    again: Option<Instant>,
    /// How often that was in vain.
    attempts: u32,
    /// Tried again when other plugins have changed.
    waits: bool,
    /// What was tried last, and failed.
    failed: Option<Arc<Description>>,
    /// Being tried, or its predecessor's calls are still under way.
    is_busy: bool,
}

impl Book {
    pub(super) fn new(quiet: Duration, quiet_max: Duration) -> Self {
        Self { entries: BTreeMap::new(), quiet, quiet_max }
    }

    /// Takes in what there is now.
    pub(super) fn see(&mut self, now: Instant, mut there: BTreeMap<PathBuf, Print>) {
        for (path, entry) in &mut self.entries {
            entry.see(now, there.remove(path));
        }
        for (path, print) in there {
            let mut entry = Entry {
                seen: None,
                changed: None,
                again: None,
                attempts: 0,
                waits: false,
                failed: None,
                is_busy: false,
            };
            entry.see(now, Some(print));
            self.entries.insert(path, entry);
        }
    }

    /// When the next candidate is due, if no more of them changes.
    pub(super) fn next(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| self.at(entry)).min()
    }

    /// What is due longest. Changes come before what is tried again.
    pub(super) fn due(&mut self, now: Instant) -> Option<Step> {
        let due = self.entries.iter().filter_map(|(path, entry)| {
            let at = self.at(entry).filter(|at| *at <= now)?;
            Some((entry.changed.is_none(), at, path))
        });
        let path = due.min()?.2.clone();
        let entry = self.entries.get_mut(&path)?;
        if entry.seen.is_none() {
            // If it comes back, it is compared with what serves, like everything new.
            self.entries.remove(&path);
            return Some(Step::Gone(path));
        }
        entry.is_busy = true;
        (entry.changed, entry.again, entry.waits) = (None, None, false);
        Some(Step::Try(path, entry.failed.clone()))
    }

    /// Takes in what came of a try.
    pub(super) fn tried(&mut self, now: Instant, path: &Path, outcome: Outcome) {
        if matches!(outcome, Outcome::Serves) {
            for entry in self.entries.values_mut().filter(|entry| entry.waits) {
                entry.again = Some(now);
            }
        }
        let Some(entry) = self.entries.get_mut(path) else { return };
        entry.failed = None;
        match outcome {
            Outcome::Unchanged | Outcome::Serves => entry.attempts = 0,
            Outcome::Refused(failed) => entry.failed = failed,
            Outcome::WaitsForOthers => entry.waits = true,
            Outcome::Later => {
                let (first, last) = AGAIN;
                let wait = first.saturating_mul(1 << entry.attempts.min(10)).min(last);
                entry.attempts += 1;
                entry.again = Some(now + wait);
            }
        }
    }

    /// It may be tried again.
    pub(super) fn free(&mut self, path: &Path) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.is_busy = false;
        }
    }

    fn at(&self, entry: &Entry) -> Option<Instant> {
        if entry.is_busy {
            return None;
        }
        let changed = entry.changed;
        let quiet = changed.map(|(first, last)| (last + self.quiet).min(first + self.quiet_max));
        quiet.into_iter().chain(entry.again).min()
    }
}

impl Entry {
    fn see(&mut self, now: Instant, there: Option<Print>) {
        if self.seen != there {
            let first = self.changed.map_or(now, |(first, _)| first);
            self.changed = Some((first, now));
            self.seen = there;
            // Other bytes have other reasons.
            self.attempts = 0;
        }
    }
}

#[cfg(test)]
mod tests;
