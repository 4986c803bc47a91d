//! Why a message was not delivered, or not answered.

use plugin_contract::{Address, Explain};

/// One variant for each thing a sender would do differently; the cases of `message-error` in
/// `toolsku:host-api`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Nobody can be written to under this name.
    #[error("nobody takes messages as `{0}`")]
    UnknownTarget(String),
    /// The sender was not granted this target; the payload is the rule that decided.
    #[error("not granted: {0}")]
    Denied(String),
    /// Too many messages wait for the target, or too many senders for answers.
    #[error("too many messages wait")]
    QueueFull,
    /// The sender sends more than this many messages a second.
    #[error("more than {0} messages a second")]
    RateLimited(u32),
    /// Payloads hold at most this many bytes.
    #[error("payloads hold at most {0} bytes")]
    PayloadTooLarge(u64),
    /// No answer within this many milliseconds.
    #[error("no answer within {0} ms")]
    Timeout(u64),
    /// The target waits for the sender already.
    #[error("`{0}` waits for the sender already")]
    Cyclic(String),
    /// The target failed while it worked on the message.
    #[error("{0}")]
    Failed(String),
    /// The host is shutting down.
    #[error("no further messages are carried")]
    Closed,
}

impl Explain for MessageError {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownTarget(_) => "ipc/message-unknown-target",
            Self::Denied(_) => "ipc/message-denied",
            Self::QueueFull => "ipc/message-queue-full",
            Self::RateLimited(_) => "ipc/message-rate-limited",
            Self::PayloadTooLarge(_) => "ipc/message-too-large",
            Self::Timeout(_) => "ipc/message-timeout",
            Self::Cyclic(_) => "ipc/message-cyclic",
            Self::Failed(_) => "ipc/message-failed",
            Self::Closed => "ipc/message-closed",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownTarget(_) => "write to a plugin that serves and takes messages",
            Self::Denied(_) => "grant the target, as the audit log says",
            Self::QueueFull => "try again later; the receiver does not keep up",
            Self::RateLimited(_) => "send fewer messages, each with more in it",
            Self::PayloadTooLarge(_) => "send less at a time",
            Self::Timeout(_) => "find out why the receiver is slow, or wait longer",
            Self::Cyclic(_) => "have plugins wait for each other in one direction only",
            Self::Failed(_) => "read the cause: it is of the receiver",
            Self::Closed => "try again when the host is back",
        }
    }
}

/// Someone takes messages under this name already.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("someone takes messages as `{0}` already")]
pub struct AddressTaken(pub Address);

impl Explain for AddressTaken {
    fn code(&self) -> &'static str {
        "ipc/address-taken"
    }

    fn remedy(&self) -> &'static str {
        "take another name, or drop the inbox that has it"
    }
}
