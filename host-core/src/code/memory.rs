//! Components that are kept for those who ask again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use wasmtime::component::Component;

use super::key::CodeKey;

pub(super) struct Memory {
    bytes_max: u64,
    kept: Mutex<Kept>,
}

struct Kept {
    components: LruCache<CodeKey, Component>,
    /// Of all of them.
    bytes: u64,
}

impl Memory {
    pub(super) fn new(bytes_max: u64) -> Self {
        let kept = Kept { components: LruCache::unbounded(), bytes: 0 };
        Self { bytes_max, kept: Mutex::new(kept) }
    }

    pub(super) fn get(&self, key: &CodeKey) -> Option<Component> {
        self.kept().components.get(key).cloned()
    }

    /// Keeps `component`, and forgets those that were not asked for the longest to make room.
    pub(super) fn insert(&self, key: CodeKey, component: Component) {
        let bytes = bytes(&component);
        if bytes > self.bytes_max {
            return;
        }
        // Freed when the lock is not held any more: unmapping takes its time.
        let mut forgotten = Vec::new();
        let mut kept = self.kept();
        kept.bytes += bytes;
        if let Some(replaced) = kept.components.put(key, component) {
            kept.bytes -= self::bytes(&replaced);
            forgotten.push(replaced);
        }
        while kept.bytes > self.bytes_max
            && let Some((_, oldest)) = kept.components.pop_lru()
        {
            kept.bytes -= self::bytes(&oldest);
            forgotten.push(oldest);
        }
        drop(kept);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.kept().bytes
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it holds the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those of its code, and of what belongs to it.
fn bytes(component: &Component) -> u64 {
    let image = component.image_range();
    (image.end as usize - image.start as usize) as u64
}
