//! Requests that wait for their answers. Each is answered once: whoever takes it out of the ledger
//! answers it, and nobody else can.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use plugin_contract::Address;
use tokio::sync::oneshot;

use super::{Answer, MessageError};

/// What a request ends with.
pub(super) type Outcome = Result<Answer, MessageError>;

/// Where the sender of a request waits.
pub(super) type Waiting = oneshot::Receiver<Outcome>;

pub(super) struct Ledger {
    pending_max: usize,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: HashMap<u64, Entry>,
    last: u64,
    closed: bool,
}

struct Entry {
    asker: Address,
    asked: Address,
    answer: oneshot::Sender<Outcome>,
}

impl Ledger {
    pub(super) fn new(pending_max: usize) -> Self {
        Self { pending_max, book: Mutex::default() }
    }

    /// Enters a request. It leaves the ledger when it is answered, or [`Pending`] is dropped.
    pub(super) fn open(
        self: &Arc<Self>,
        asker: Address,
        asked: Address,
    ) -> Result<(Pending, Waiting), MessageError> {
        let mut book = self.book();
        if book.closed {
            return Err(MessageError::Closed);
        }
        if book.entries.len() >= self.pending_max {
            return Err(MessageError::QueueFull);
        }
        book.last += 1;
        let number = book.last;
        let (answer, waiting) = oneshot::channel();
        book.entries.insert(number, Entry { asker, asked, answer });
        Ok((Pending { ledger: self.clone(), number }, waiting))
    }

    /// Answers the request `id` of `asker` for `asked`. Returns whether it waited.
    pub(super) fn answer(
        &self,
        id: &str,
        asked: &Address,
        asker: &Address,
        outcome: Outcome,
    ) -> bool {
        let Some(number) = parse(id) else { return false };
        let mut book = self.book();
        // Ids can be guessed; that does not make anyone the one who was asked.
        let is_it = |entry: &Entry| entry.asked == *asked && entry.asker == *asker;
        if !book.entries.get(&number).is_some_and(is_it) {
            return false;
        }
        book.settle(number, outcome)
    }

    fn settle(&self, number: u64, outcome: Outcome) {
        self.book().settle(number, outcome);
    }

    fn forget(&self, number: u64) {
        self.book().entries.remove(&number);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.book().entries.len()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.book().closed
    }

    /// Answers all, and takes no more.
    pub(super) fn close(&self) {
        let mut book = self.book();
        book.closed = true;
        for (_, entry) in book.entries.drain() {
            // A sender that went away needs no answer.
            let _ = entry.answer.send(Err(MessageError::Closed));
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // Nothing panics while it holds the lock.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn settle(&mut self, number: u64, outcome: Outcome) -> bool {
        match self.entries.remove(&number) {
            Some(entry) => entry.answer.send(outcome).is_ok(),
            None => false,
        }
    }
}

/// `request-17`.
fn name(number: u64) -> String {
    format!("request-{number}")
}

fn parse(id: &str) -> Option<u64> {
    id.strip_prefix("request-")?.parse().ok()
}

/// A request whose sender waits. Dropped, the request is given up.
pub(super) struct Pending {
    ledger: Arc<Ledger>,
    number: u64,
}

impl Pending {
    /// What goes along with the message.
    pub(super) fn letter(&self) -> Request {
        Request { ledger: self.ledger.clone(), number: self.number, settled: false }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.ledger.forget(self.number);
    }
}

/// The receiver's side of a request: the right, and the duty, to answer it.
pub(super) struct Request {
    ledger: Arc<Ledger>,
    number: u64,
    settled: bool,
}

impl Request {
    pub(super) fn id(&self) -> String {
        name(self.number)
    }

    pub(super) fn settle(mut self, outcome: Outcome) {
        self.settled = true;
        self.ledger.settle(self.number, outcome);
    }

    /// Leaves the answer to a message that comes later.
    pub(super) fn leave(mut self) {
        self.settled = true;
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.settled {
            let why = "the receiver dropped the message".to_owned();
            self.ledger.settle(self.number, Err(MessageError::Failed(why)));
        }
    }
}
