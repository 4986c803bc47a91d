//! Events that could not be delivered, kept for people to look at and to try again.

use std::{collections::BTreeMap, sync::Arc};

use plugin_contract::{PluginId, escape};

use crate::Event;

/// An event that one subscriber did not handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Counts up by one for each dead letter, from 1.
    pub id: u64,
    /// Who did not handle it.
    pub subscriber: PluginId,
    /// The event.
    pub event: Arc<Event>,
    /// Why: what the subscriber said last, or one of these.
    ///
    /// | code                      | the event                                                       |
    /// |---------------------------|-----------------------------------------------------------------|
    /// | `ipc/queue-full`          | had no room: too many wait for the subscriber, or for all       |
    /// | `ipc/unsubscribed`        | waited when the subscriber left                                 |
    /// | `ipc/event-loop`          | was led to by too many others, and was delivered to nobody      |
    /// | `ipc/closed`              | waited when the host shut down                                  |
    /// | `ipc/subscriber-panicked` | was too much for the host's own code around the subscriber      |
    pub code: &'static str,
    /// The same for people: escaped, and cut at 1 KiB.
    pub message: String,
    /// Deliveries that were tried.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970-01-01 UTC.
    pub when_ms: u64,
}

/// A part of the dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterPage {
    /// In order.
    pub letters: Vec<DeadLetter>,
    /// What to ask for next: letters after this one.
    pub next: u64,
    /// Letters that were crowded out before this page could be read. Those that had been replayed before
    /// they would have been are counted along.
    pub missed: u64,
}

/// Longest message, in bytes.
const MESSAGE_BYTES_MAX: usize = 1 << 10;

/// Bytes of one page, unless a single letter is larger.
const PAGE_BYTES_MAX: usize = 1 << 20;

/// The text of a subscriber, fit to be shown.
pub(super) fn shown(message: &str) -> String {
    escape(message, MESSAGE_BYTES_MAX)
}

/// A bounded list of dead letters.
#[derive(Debug)]
pub(super) struct DeadLetters {
    letters_max: usize,
    bytes_max: usize,
    letters: BTreeMap<u64, DeadLetter>,
    bytes: usize,
    last: u64,
    /// The latest that was crowded out. No earlier one is left.
    crowded_out: u64,
    dropped: u64,
}

impl DeadLetters {
    pub(super) fn new(letters_max: usize, bytes_max: usize) -> Self {
        Self {
            letters_max,
            bytes_max,
            letters: BTreeMap::new(),
            bytes: 0,
            last: 0,
            crowded_out: 0,
            dropped: 0,
        }
    }

    /// Letters kept.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Letters crowded out since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a letter. Its `id` is set here.
    pub(super) fn push(&mut self, mut letter: DeadLetter) {
        self.last += 1;
        letter.id = self.last;
        let bytes = letter.size();
        if bytes > self.bytes_max {
            // It would crowd out all others, and then go itself. Its number is missing from now on.
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.letters.insert(self.last, letter);
        while self.letters.len() > self.letters_max || self.bytes > self.bytes_max {
            let Some((id, oldest)) = self.letters.pop_first() else { break };
            self.bytes -= oldest.size();
            self.crowded_out = id;
            self.dropped += 1;
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&DeadLetter> {
        self.letters.get(&id)
    }

    pub(super) fn remove(&mut self, id: u64) {
        if let Some(letter) = self.letters.remove(&id) {
            self.bytes -= letter.size();
        }
    }

    /// The numbers of all letters, in order.
    pub(super) fn ids(&self) -> Vec<u64> {
        self.letters.keys().copied().collect()
    }

    /// Some letters after the one numbered `after` (0: from the start): at most `count`, and at most 1 MiB
    /// of them, but always one if there is one.
    pub(super) fn read(&self, after: u64, count: usize) -> DeadLetterPage {
        let from = after.saturating_add(1);
        let mut bytes = 0;
        let fits = |letter: &&DeadLetter| {
            bytes += letter.size();
            bytes <= PAGE_BYTES_MAX || bytes == letter.size()
        };
        let letters = self.letters.range(from..).map(|(_, letter)| letter);
        let letters: Vec<_> = letters.take(count).take_while(fits).cloned().collect();
        let missed = self.crowded_out.saturating_sub(after);
        let next = letters.last().map_or(after.max(self.crowded_out).min(self.last), |it| it.id);
        DeadLetterPage { letters, next, missed }
    }
}

impl DeadLetter {
    fn size(&self) -> usize {
        size_of::<Self>() + self.message.len() + self.event.size()
    }
}

#[cfg(test)]
mod tests;
