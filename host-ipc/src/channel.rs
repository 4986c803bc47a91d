//! Messages between addresses: plugins, and the host's own.
//!
//! Whoever is to be written to [opens](Exchange::open) its address and takes what arrives out of an
//! [`Inbox`]. A [`Sender`] sends, or asks and waits: each request ends with one answer, of whoever was
//! asked, or with the reason why there is none. Inboxes are bounded, and a full one makes senders wait.
//!
//! ```
//! use host_ipc::channel::{ChannelSettings, Exchange, Message};
//! use plugin_contract::Caller;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let exchange = Exchange::new(ChannelSettings::default());
//! let mut inbox = exchange.open("@clock".parse()?)?;
//! tokio::spawn(async move {
//!     while let Some(delivery) = inbox.next().await {
//!         delivery.answer(Ok(b"noon".to_vec()));
//!     }
//! });
//! let sender = exchange.sender("@front-desk".parse()?);
//! let question = Message::new("@clock".parse()?, "time", b"?");
//! let answer = sender.request(&Caller::default(), question, None).await?;
//! assert_eq!(answer.payload, b"noon");
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(example()).unwrap();
//! ```
//!
//! Not here: who may write to whom (`host-security`), and how a plugin is called (`host-core`).

mod error;
mod inbox;
mod ledger;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dashmap::{DashMap, Entry};
use plugin_contract::{Address, Caller};
use tokio::time::Instant;

use inbox::{Gone, Mailbox};
use ledger::{Ledger, Pending};

pub use error::{AddressTaken, MessageError};
pub use inbox::{Delivery, Inbox};

/// How much is on its way at one time, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelSettings {
    /// Bytes of one payload. Default 1 MiB.
    pub payload_bytes_max: usize,
    /// Bytes that wait in one inbox; a message takes at least 4 KiB of it. Default 4 MiB, so 1,024 messages.
    /// Senders to a full inbox wait.
    pub inbox_bytes_max: usize,
    /// How long a message that nobody waits for may wait for room in an inbox; then it is refused with
    /// `ipc/message-queue-full`. Default 1 s.
    pub send_wait: Duration,
    /// How long a request may take, if its sender does not say. Default 30 s.
    pub request_timeout: Duration,
    /// Requests that wait for answers, of all senders. Default 10,000. One more is refused with
    /// `ipc/message-queue-full`.
    pub pending_max: usize,
    /// Messages and requests of one plugin in a second, over all its instances. Default 1,000. One more is
    /// refused with `ipc/message-rate-limited`.
    pub per_second_max: u32,
    /// Messages, each sent because of the one before, without anyone waiting. Default 16. One more is
    /// refused with `ipc/message-failed`: plugins that write to each other for ever stop here.
    pub hops_max: u32,
}

impl Default for ChannelSettings {
    fn default() -> Self {
        Self {
            payload_bytes_max: 1 << 20,
            inbox_bytes_max: 4 << 20,
            send_wait: Duration::from_secs(1),
            request_timeout: Duration::from_secs(30),
            pending_max: 10_000,
            per_second_max: 1_000,
            hops_max: 16,
        }
    }
}

/// Something to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// To whom.
    pub target: Address,
    /// What it is about, in the words of its receiver. At most 128 bytes.
    pub message_type: String,
    /// The message itself.
    pub payload: Vec<u8>,
    /// The request that it answers, if it answers one.
    pub reply_to: Option<String>,
}

impl Message {
    /// Longest type, in bytes.
    pub const TYPE_BYTES_MAX: usize = 128;

    /// A message that answers nothing.
    pub fn new(target: Address, message_type: &str, payload: impl Into<Vec<u8>>) -> Self {
        let (message_type, payload) = (message_type.to_owned(), payload.into());
        Self { target, message_type, payload, reply_to: None }
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The request that this answers.
    pub request_id: String,
    /// The answer itself; on failure a text that says why.
    pub payload: Vec<u8>,
    /// Whether the receiver did what it was asked.
    pub success: bool,
}

/// What became of messages so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChannelCounts {
    /// Messages that nobody waited for, taken into an inbox.
    pub sent: u64,
    /// Requests that were answered, with or without success.
    pub answered: u64,
    /// Requests that ended without an answer, and messages that were refused.
    pub failed: u64,
    /// Requests that wait for an answer now.
    pub pending: u64,
}

/// Carries messages. Cheap to clone; all clones are one exchange.
#[derive(Clone)]
pub struct Exchange {
    inner: Arc<Inner>,
}

struct Inner {
    settings: ChannelSettings,
    mailboxes: DashMap<Address, Mailbox>,
    ledger: Arc<Ledger>,
    sent: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

impl Exchange {
    /// An exchange without addresses.
    pub fn new(settings: ChannelSettings) -> Self {
        let ledger = Arc::new(Ledger::new(settings.pending_max));
        let (sent, answered, failed) = Default::default();
        let mailboxes = DashMap::new();
        Self { inner: Arc::new(Inner { settings, mailboxes, ledger, sent, answered, failed }) }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &ChannelSettings {
        &self.inner.settings
    }

    /// Takes what is written to `address` from here on. Dropping the inbox closes the address: what waits
    /// in it is answered with `ipc/message-unknown-target`.
    ///
    /// # Errors
    /// [`AddressTaken`] if someone else has it.
    pub fn open(&self, address: Address) -> Result<Inbox, AddressTaken> {
        let inner = &self.inner;
        let exchange = Arc::downgrade(inner);
        let forget = move |address: &Address, gone: &Gone| {
            if let Some(inner) = exchange.upgrade() {
                // Someone else may have the address by now.
                inner.mailboxes.remove_if(address, |_, mailbox| mailbox.is_of(gone));
            }
        };
        match inner.mailboxes.entry(address) {
            Entry::Occupied(taken) => Err(AddressTaken(taken.key().clone())),
            Entry::Vacant(free) => {
                let bytes_max = inner.settings.inbox_bytes_max;
                let (mailbox, inbox) = Mailbox::new(free.key().clone(), bytes_max, forget);
                // Under the lock of this entry: whoever closes the exchange removes it, or we see that.
                if !inner.ledger.is_closed() {
                    free.insert(mailbox);
                }
                Ok(inbox)
            }
        }
    }

    /// Closes `address`, as if its inbox were dropped: it is free at once. What waits in the inbox is answered
    /// when that is dropped.
    pub fn evict(&self, address: &Address) {
        if let Some((_, mailbox)) = self.inner.mailboxes.remove(address) {
            mailbox.evict();
        }
    }

    /// Whoever sends as `address`. That it may, and to whom, is for the caller to know. Clones share what a
    /// plugin may send in a second.
    pub fn sender(&self, address: Address) -> Sender {
        Sender { exchange: self.clone(), address, sent: Arc::default() }
    }

    /// Whether anyone can be written to as `address`.
    pub fn is_open(&self, address: &Address) -> bool {
        self.inner.mailboxes.contains_key(address)
    }

    /// What became of messages so far.
    pub fn counts(&self) -> ChannelCounts {
        let inner = &self.inner;
        ChannelCounts {
            sent: inner.sent.load(Ordering::Relaxed),
            answered: inner.answered.load(Ordering::Relaxed),
            failed: inner.failed.load(Ordering::Relaxed),
            pending: inner.ledger.len() as u64,
        }
    }

    /// Takes no further messages. Whoever waits, for an answer or for room, is told `ipc/message-closed`.
    pub fn close(&self) {
        self.inner.ledger.close();
        self.inner.mailboxes.retain(|_, mailbox| {
            mailbox.close();
            // Inboxes end with the last way into them.
            false
        });
    }
}

/// Sends messages in one name. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    exchange: Exchange,
    address: Address,
    /// Messages in the current second, and when that began.
    sent: Arc<Mutex<(u32, Option<Instant>)>>,
}

impl Sender {
    /// In whose name it sends.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Sends without waiting for an answer; waits for room, if the inbox is full. A message that answers a
    /// request goes to whoever waits for that, and to nobody's inbox.
    ///
    /// # Errors
    /// [`MessageError`]; the message went nowhere.
    pub async fn send(&self, caller: &Caller, message: Message) -> Result<(), MessageError> {
        let inner = &self.exchange.inner;
        let sent = match &message.reply_to {
            Some(request) => self.reply(request, &message),
            None => self.post(caller, message).await,
        };
        let count = if sent.is_ok() { &inner.sent } else { &inner.failed };
        count.fetch_add(1, Ordering::Relaxed);
        sent
    }

    /// Sends and waits for the answer: for `timeout`, and never past the deadline of `caller`. Dropped before
    /// that, the request is given up, and an answer that comes later goes nowhere.
    ///
    /// # Errors
    /// [`MessageError`]. After a timeout the receiver may still work on the message.
    pub async fn request(
        &self,
        caller: &Caller,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Answer, MessageError> {
        let mut tally = Tally { inner: &self.exchange.inner, answered: false };
        let answer = self.ask(caller, message, timeout).await;
        tally.answered = answer.is_ok();
        answer
    }

    async fn ask(
        &self,
        caller: &Caller,
        message: Message,
        timeout: Option<Duration>,
    ) -> Result<Answer, MessageError> {
        let inner = &self.exchange.inner;
        if message.reply_to.is_some() {
            return Err(MessageError::Failed("a request answers no other".to_owned()));
        }
        self.check(&message)?;
        let began = Instant::now();
        let timeout = timeout.unwrap_or(inner.settings.request_timeout);
        // For ever is a day.
        let mut until = began + timeout.min(Duration::from_secs(24 * 3600));
        if let Some(deadline) = caller.deadline {
            until = until.min(deadline.into());
        }
        let caller = self.relay(caller, &message.target)?.until(until.into());
        let mailbox = self.mailbox(&message.target)?;
        let (pending, answer) = self.open_request(&message.target)?;
        let room = mailbox.room(message.payload.len(), until).await?;
        let request = Pending::letter(&pending);
        mailbox.put(Delivery::new(self.address.clone(), caller, message, Some(request), room))?;
        match tokio::time::timeout_at(until, answer).await {
            Ok(Ok(answer)) => answer,
            // Nobody who could answer is left.
            Ok(Err(_)) => Err(MessageError::Closed),
            Err(_) => Err(MessageError::Timeout((until - began).as_millis() as u64)),
        }
    }

    fn open_request(&self, target: &Address) -> Result<(Pending, ledger::Waiting), MessageError> {
        self.exchange.inner.ledger.open(self.address.clone(), target.clone())
    }

    /// Queues a message that nobody waits for.
    async fn post(&self, caller: &Caller, message: Message) -> Result<(), MessageError> {
        self.check(&message)?;
        let settings = &self.exchange.inner.settings;
        let mut caller = caller.detached();
        caller.hops += 1;
        if caller.hops > settings.hops_max {
            let why = format!("more than {} messages, each because of the last", settings.hops_max);
            return Err(MessageError::Failed(why));
        }
        let mailbox = self.mailbox(&message.target)?;
        let until = Instant::now() + settings.send_wait;
        let room = mailbox.room(message.payload.len(), until).await?;
        mailbox.put(Delivery::new(self.address.clone(), caller, message, None, room))
    }

    /// Answers a request that this address was asked, and by whoever the message is for.
    fn reply(&self, request: &str, message: &Message) -> Result<(), MessageError> {
        self.check(message)?;
        let answer = Answer {
            request_id: request.to_owned(),
            payload: message.payload.clone(),
            success: true,
        };
        match self.exchange.inner.ledger.answer(request, &self.address, &message.target, Ok(answer))
        {
            true => Ok(()),
            false => {
                let why = "nobody waits for an answer to this request from here".to_owned();
                Err(MessageError::Failed(why))
            }
        }
    }

    fn check(&self, message: &Message) -> Result<(), MessageError> {
        let bytes_max = self.exchange.inner.settings.payload_bytes_max;
        if message.payload.len() > bytes_max {
            return Err(MessageError::PayloadTooLarge(bytes_max as u64));
        }
        if message.message_type.len() > Message::TYPE_BYTES_MAX {
            let why = format!("message types have at most {} bytes", Message::TYPE_BYTES_MAX);
            return Err(MessageError::Failed(why));
        }
        if self.exchange.inner.ledger.is_closed() {
            return Err(MessageError::Closed);
        }
        self.check_rate()
    }

    /// Whether the plugin may send one more now. The host may in any case.
    fn check_rate(&self) -> Result<(), MessageError> {
        if self.address.plugin().is_none() {
            return Ok(());
        }
        // Nothing panics while it holds the lock.
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = &mut *sent;
        if since.is_none_or(|since| since.elapsed() >= Duration::from_secs(1)) {
            (*count, *since) = (0, Some(Instant::now()));
        }
        let max = self.exchange.inner.settings.per_second_max;
        if *count >= max {
            return Err(MessageError::RateLimited(max));
        }
        *count += 1;
        Ok(())
    }

    /// In whose name the receiver works.
    fn relay(&self, caller: &Caller, target: &Address) -> Result<Caller, MessageError> {
        use plugin_contract::RelayRefused;
        let relayed = match (self.address.plugin(), target.plugin()) {
            (Some(from), Some(to)) => caller.relay(from, to),
            // What is of the host's own may ask others on behalf of who asked it.
            (Some(from), None) => caller.behind(from),
            (None, Some(to)) => caller.may_ask(to).map(|()| caller.clone()),
            (None, None) => Ok(caller.clone()),
        };
        relayed.map_err(|refused| match refused {
            RelayRefused::Cycle(_) => MessageError::Cyclic(target.to_string()),
            refused @ RelayRefused::TooDeep => MessageError::Failed(refused.to_string()),
        })
    }

    fn mailbox(&self, target: &Address) -> Result<Mailbox, MessageError> {
        // The guard ends with this line: it is a lock.
        let mailbox = self.exchange.inner.mailboxes.get(target).map(|mailbox| mailbox.clone());
        mailbox.ok_or_else(|| match self.exchange.inner.ledger.is_closed() {
            true => MessageError::Closed,
            false => MessageError::UnknownTarget(target.to_string()),
        })
    }
}

/// Counts how a request ends, given up or not.
struct Tally<'a> {
    inner: &'a Inner,
    answered: bool,
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        let count = if self.answered { &self.inner.answered } else { &self.inner.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
