//! Wake-ups when something happens in a directory, from the system.
//!
//! An event says only that it is worth looking: what it says else is not listened to, and nothing is queued.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// Places that are listened to at one time; the others are looked at.
const PLACES_MAX: usize = 10_000;

/// Listens.
pub(super) struct Wake {
    /// None if the system gives none.
    watcher: Option<RecommendedWatcher>,
    /// By path, links resolved, and which directory it was.
    places: BTreeMap<PathBuf, Identity>,
    alarm: Arc<Notify>,
    has_warned: bool,
}

/// A directory that was removed and made again is another.
type Identity = Option<u64>;

impl Wake {
    pub(super) fn new(alarm: Arc<Notify>) -> Self {
        let ring = alarm.clone();
        let heard = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_news(event.kind)) {
                // One at most waits to be taken.
                ring.notify_one();
            }
        };
        let mut wake = Self { watcher: None, places: BTreeMap::new(), alarm, has_warned: false };
        match notify::recommended_watcher(heard) {
            Ok(watcher) => wake.watcher = Some(watcher),
            Err(error) => wake.warn(&error),
        }
        wake
    }

    /// Listens to these places, and to no others. Blocks.
    pub(super) fn listen_to(&mut self, places: &BTreeSet<PathBuf>) {
        let Some(mut watcher) = self.watcher.take() else { return };
        let wanted: BTreeMap<PathBuf, Identity> =
            places.iter().take(PLACES_MAX).map(|path| (path.clone(), identity(path))).collect();
        let old: Vec<_> = (self.places.iter())
            .filter(|(path, identity)| wanted.get(*path) != Some(identity))
            .map(|(path, _)| path.clone())
            .collect();
        for path in old {
            // What was removed is not watched any more.
            let _ = watcher.unwatch(&path);
            self.places.remove(&path);
        }
        for (path, identity) in wanted {
            if self.places.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.places.insert(path, identity);
                    // What happened between the look and now was not heard.
                    self.alarm.notify_one();
                }
                // It went away meanwhile; else it is tried again at the next look.
                Err(_) if !path.exists() => {}
                Err(error) => self.warn(&error),
            }
        }
        self.watcher = Some(watcher);
    }

    fn warn(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.has_warned, true) {
            tracing::warn!(%error, "the system does not tell of all changes: they are noticed when it is looked for them");
        }
    }
}

/// Our own reading is none.
fn is_news(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(unix)]
fn identity(path: &std::path::Path) -> Identity {
    use std::os::unix::fs::MetadataExt;
    path.metadata().ok().map(|metadata| metadata.ino())
}

#[cfg(not(unix))]
fn identity(_: &std::path::Path) -> Identity {
    None
}
