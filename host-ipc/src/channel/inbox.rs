//! Where messages wait until they are taken, in bounded room.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use plugin_contract::{Address, Caller};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::Instant,
};

use super::{Answer, Message, MessageError, ledger::Request};

/// What one permit of an inbox stands for, in bytes. A message takes at least one.
const GRAIN: usize = 4 << 10;

/// Whether a receiver has gone. One for each inbox, so that two of one address are told apart.
pub(super) type Gone = Arc<AtomicBool>;

/// What is told that an inbox is dropped.
type Forget = Box<dyn Fn(&Address, &Gone) + Send + Sync>;

/// The way into an inbox. Cheap to clone.
#[derive(Clone)]
pub(super) struct Mailbox {
    /// Room for what waits. Given in the order it was asked for, so no sender starves.
    room: Arc<Semaphore>,
    grains: u32,
    letters: mpsc::UnboundedSender<Delivery>,
    address: Address,
    /// Whether the receiver has gone, and not the whole exchange.
    gone: Gone,
}

impl Mailbox {
    /// The inbox of `address`, and the way into it. `forget` is called when the inbox is dropped.
    pub(super) fn new(
        address: Address,
        bytes_max: usize,
        forget: impl Fn(&Address, &Gone) + Send + Sync + 'static,
    ) -> (Self, Inbox) {
        let grains = u32::try_from((bytes_max / GRAIN).max(1)).unwrap_or(u32::MAX);
        let room = Arc::new(Semaphore::new((grains as usize).min(Semaphore::MAX_PERMITS)));
        let (letters, arriving) = mpsc::unbounded_channel();
        let gone = Gone::default();
        let inbox = Inbox {
            address: address.clone(),
            room: room.clone(),
            gone: gone.clone(),
            letters: arriving,
            forget: Box::new(forget),
        };
        (Self { room, grains, letters, address, gone }, inbox)
    }

    /// Room for a payload of `bytes`, waited for in turn.
    pub(super) async fn room(
        &self,
        bytes: usize,
        until: Instant,
    ) -> Result<OwnedSemaphorePermit, MessageError> {
        let grains = u32::try_from(bytes.div_ceil(GRAIN)).unwrap_or(u32::MAX);
        let grains = grains.clamp(1, self.grains);
        let room = self.room.clone().acquire_many_owned(grains);
        match tokio::time::timeout_at(until, room).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_closed)) => Err(self.why_closed()),
            Err(_) => Err(MessageError::QueueFull),
        }
    }

    pub(super) fn put(&self, delivery: Delivery) -> Result<(), MessageError> {
        self.letters.send(delivery).map_err(|unsent| {
            // The sender is told here, and not by its request too.
            unsent.0.answer_later();
            self.why_closed()
        })
    }

    /// Takes nothing more; those who wait for room are told.
    pub(super) fn close(&self) {
        self.room.close();
    }

    /// Whether it leads into the inbox of this receiver.
    pub(super) fn is_of(&self, gone: &Gone) -> bool {
        Arc::ptr_eq(&self.gone, gone)
    }

    /// Takes nothing more, as if the receiver had gone.
    pub(super) fn evict(&self) {
        self.gone.store(true, Ordering::Release);
        self.room.close();
    }

    fn why_closed(&self) -> MessageError {
        match self.gone.load(Ordering::Acquire) {
            true => MessageError::UnknownTarget(self.address.to_string()),
            false => MessageError::Closed,
        }
    }
}

/// What arrives at one address.
pub struct Inbox {
    address: Address,
    room: Arc<Semaphore>,
    gone: Gone,
    letters: mpsc::UnboundedReceiver<Delivery>,
    forget: Forget,
}

impl Inbox {
    /// Whose it is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next message, in the order in which they arrived; `None` once the exchange is closed and all
    /// that was there has been taken. Dropped while it waits, it has taken nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.letters.recv().await
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Release);
        (self.forget)(&self.address, &self.gone);
        self.room.close();
        self.letters.close();
        while let Ok(delivery) = self.letters.try_recv() {
            delivery.refuse(MessageError::UnknownTarget(self.address.to_string()));
        }
    }
}

/// A message that has arrived. Whoever takes it answers it, if its sender waits; dropped, it is answered
/// with `ipc/message-failed`. It takes room in the inbox until then.
pub struct Delivery {
    /// Who sent it.
    pub sender: Address,
    /// On whose behalf, and until when.
    pub caller: Caller,
    /// The message.
    pub message: Message,
    request: Option<Request>,
    _room: OwnedSemaphorePermit,
}

impl Delivery {
    pub(super) fn new(
        sender: Address,
        caller: Caller,
        message: Message,
        request: Option<Request>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        Self { sender, caller, message, request, _room: room }
    }

    /// Names the request, if the sender waits for an answer.
    pub fn request_id(&self) -> Option<String> {
        self.request.as_ref().map(Request::id)
    }

    /// Answers: with a result, or with a text that says why there is none. Goes nowhere if nobody waits.
    pub fn answer(self, answer: Result<Vec<u8>, String>) {
        let Some(request) = self.request else { return };
        let (payload, success) = match answer {
            Ok(payload) => (payload, true),
            Err(why) => (why.into_bytes(), false),
        };
        let request_id = request.id();
        request.settle(Ok(Answer { request_id, payload, success }));
    }

    /// Says that there will be no answer.
    pub fn refuse(self, error: MessageError) {
        if let Some(request) = self.request {
            request.settle(Err(error));
        }
    }

    /// Leaves the answer to a message that comes later, from here and with the id of the request as
    /// [`Message::reply_to`]. Until then, or its timeout, the sender waits.
    pub fn answer_later(self) {
        if let Some(request) = self.request {
            request.leave();
        }
    }
}
