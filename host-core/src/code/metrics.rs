//! What became of requests for code.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of requests for code, since the runtime was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CodeMetrics {
    /// Answered from memory.
    pub hits_memory: u64,
    /// Answered from disk.
    pub hits_disk: u64,
    /// Answered along with another request for the same, which is counted elsewhere here.
    pub joined: u64,
    /// Found neither in memory nor on disk.
    pub misses: u64,
    /// Components compiled.
    pub compiled: u64,
    /// Components that did not compile, or not within the bounds, or for which no compiler could be started.
    pub compile_failed: u64,
    /// Files on disk that were not what this host had written, or not for this engine. They are removed.
    pub rejected: u64,
    /// Files that could not be written. The code was used all the same.
    pub write_failed: u64,
    /// Files removed to make room.
    pub evicted: u64,
    /// Bytes of the files on disk, as last counted.
    pub disk_bytes: u64,
    /// Bytes of code kept in memory.
    pub memory_bytes: u64,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) hits_memory: AtomicU64,
    pub(super) hits_disk: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) compiled: AtomicU64,
    pub(super) compile_failed: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) write_failed: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, memory_bytes: u64) -> CodeMetrics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CodeMetrics {
            hits_memory: read(&self.hits_memory),
            hits_disk: read(&self.hits_disk),
            joined: read(&self.joined),
            misses: read(&self.misses),
            compiled: read(&self.compiled),
            compile_failed: read(&self.compile_failed),
            rejected: read(&self.rejected),
            write_failed: read(&self.write_failed),
            evicted: read(&self.evicted),
            disk_bytes: read(&self.disk_bytes),
            memory_bytes,
        }
    }
}
