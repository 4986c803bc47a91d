//! Remembers the inputs on which a plugin broke, and refuses those on which it broke too often.
//!
//! As long as a plugin breaks on nothing, a call pays one load. While something is remembered, it pays a
//! hash of 128 bytes at most; only an input that looks like a remembered one is hashed as a whole.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use lru::LruCache;
use plugin_contract::Digest;

#[cfg(test)]
mod tests;

/// Which inputs are refused, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoisonConfig {
    /// How often a plugin must break on an input, within about a half-life, for it to be refused; 1 to
    /// 1,000. Default 3.
    pub strikes: u32,
    /// Time in which half of what was held against an input is forgotten; more than a day is a day. An
    /// input that is refused is refused for as long, from the last time on that the plugin broke on it.
    /// Default 10 min.
    pub half_life: Duration,
    /// Inputs that are remembered, of one revision; those that were not seen for the longest time are
    /// forgotten first. 0 remembers nothing. Default 1,024.
    pub entries_max: usize,
}

impl Default for PoisonConfig {
    fn default() -> Self {
        Self { strikes: 3, half_life: Duration::from_secs(600), entries_max: 1_024 }
    }
}

/// What a plugin is asked, as far as it may be what breaks it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) operation: &'static str,
    pub(crate) content_type: &'a str,
    pub(crate) options: &'a [(String, String)],
    pub(crate) bytes: &'a [u8],
}

/// The plugin broke on this input too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Poisoned {
    /// When it may be tried again. More than zero.
    pub(crate) forgotten_in: Duration,
}

/// Longest half-life.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Bytes at either end of an input that its look depends on.
const LOOK_BYTES: usize = 64;

/// The inputs on which a revision broke.
pub(crate) struct PoisonMemory {
    config: PoisonConfig,
    /// Keyed, so that nobody can make inputs that look like a remembered one.
    hasher: RandomState,
    /// How many inputs are remembered.
    len: AtomicUsize,
    memory: Mutex<Memory>,
}

struct Memory {
    /// The input that was not seen for the longest time is the first to go.
    entries: LruCache<Digest, Entry>,
    /// How many entries look like this.
    looks: HashMap<u64, u32>,
}

struct Entry {
    look: u64,
    /// Strikes, as far as they were not forgotten at `at`.
    level: f64,
    at: Instant,
    refused: bool,
}

impl PoisonMemory {
    /// Remembers nothing yet.
    pub(crate) fn new(config: PoisonConfig) -> Self {
        let config = PoisonConfig {
            strikes: config.strikes.clamp(1, 1_000),
            half_life: config.half_life.min(DAY),
            ..config
        };
        // The bound is kept in `strike`, so that nothing is set aside for entries that may never come.
        let memory = Memory { entries: LruCache::unbounded(), looks: HashMap::new() };
        Self {
            config,
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
            memory: Mutex::new(memory),
        }
    }

    /// Whether nothing is remembered: then every input may pass.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Relaxed) == 0
    }

    /// Asks whether the plugin may be given this input.
    ///
    /// # Errors
    /// [`Poisoned`]: it broke on it too often.
    pub(crate) fn check(&self, input: &Input<'_>, now: Instant) -> Result<(), Poisoned> {
        if self.is_empty() {
            return Ok(());
        }
        let look = self.look(input);
        {
            let mut memory = self.memory();
            // One at a time, until nothing is remembered and nobody needs to ask.
            self.forget_oldest(&mut memory, now);
            if !memory.looks.contains_key(&look) {
                return Ok(());
            }
        }
        // Not under the lock: this takes a millisecond for each megabyte.
        let digest = digest(input);
        let mut memory = self.memory();
        let Some(entry) = memory.entries.get_mut(&digest) else { return Ok(()) };
        self.age(entry, now);
        if !entry.refused {
            return Ok(());
        }
        let forgotten_in = self.config.half_life.mul_f64((entry.level / self.forgiven()).log2());
        Err(Poisoned { forgotten_in: forgotten_in.max(Duration::from_millis(1)) })
    }

    /// The plugin broke on this input.
    pub(crate) fn strike(&self, input: &Input<'_>, now: Instant) {
        if self.config.entries_max == 0 {
            return;
        }
        let (look, digest) = (self.look(input), digest(input));
        let mut memory = self.memory();
        if memory.entries.get(&digest).is_none() {
            if memory.entries.len() >= self.config.entries_max {
                memory.forget_lru();
            }
            memory.entries.put(digest, Entry { look, level: 0.0, at: now, refused: false });
            *memory.looks.entry(look).or_default() += 1;
        }
        if let Some(entry) = memory.entries.get_mut(&digest) {
            self.age(entry, now);
            let strikes = f64::from(self.config.strikes);
            // Calls that broke on it at the same time do not make it worse than that.
            entry.level = (entry.level + 1.0).min(strikes);
            // Something of the earlier ones is forgotten by now; up to one of them may be.
            entry.refused |= entry.level > strikes - 1.0;
        }
        self.len.store(memory.entries.len(), Relaxed);
    }

    /// Brings an entry up to date.
    fn age(&self, entry: &mut Entry, now: Instant) {
        let elapsed = now.saturating_duration_since(entry.at).as_secs_f64();
        let half_life = self.config.half_life.as_secs_f64();
        if elapsed > 0.0 {
            entry.level *= (-elapsed / half_life).exp2();
            entry.at = now;
        }
        entry.refused &= entry.level > self.forgiven();
    }

    /// At this level, an input may be tried again: one half-life after the highest one.
    fn forgiven(&self) -> f64 {
        f64::from(self.config.strikes) / 2.0
    }

    /// Forgets the input that was not seen for the longest time, if next to nothing is held against it.
    fn forget_oldest(&self, memory: &mut Memory, now: Instant) {
        let Some((digest, _)) = memory.entries.peek_lru() else { return };
        let digest = *digest;
        let Some(entry) = memory.entries.peek_mut(&digest) else { return };
        self.age(entry, now);
        if !entry.refused && entry.level <= 0.5 {
            memory.forget_lru();
            self.len.store(memory.entries.len(), Relaxed);
        }
    }

    /// What can be told of an input at a glance.
    fn look(&self, input: &Input<'_>) -> u64 {
        let bytes = input.bytes;
        let head = &bytes[..bytes.len().min(LOOK_BYTES)];
        let tail = &bytes[bytes.len().saturating_sub(LOOK_BYTES)..];
        self.hasher.hash_one((input.operation, bytes.len(), head, tail))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Nothing panics while it holds the lock.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn forget_lru(&mut self) {
        let Some((_, entry)) = self.entries.pop_lru() else { return };
        if let Some(count) = self.looks.get_mut(&entry.look) {
            *count -= 1;
            if *count == 0 {
                self.looks.remove(&entry.look);
            }
        }
    }
}

/// Of all there is to an input. Each part is preceded by its length, so that none can pass for two.
fn digest(input: &Input<'_>) -> Digest {
    // Not `Digest::of`: the parts would have to be copied together.
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut part = |bytes: &[u8]| {
        context.update(&(bytes.len() as u64).to_le_bytes());
        context.update(bytes);
    };
    part(input.operation.as_bytes());
    part(input.content_type.as_bytes());
    for (name, value) in input.options {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    // Last, and after its own length: options cannot pass for it, for they come in pairs.
    part(input.bytes);
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    Digest::from_bytes(out)
}
