//! Messages to other plugins of the same host.

use std::fmt;
use std::time::Duration;

use super::backend;

/// Something said to another plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The plugin to reach, by name.
    pub target: String,
    /// What the message is about, in the words of its receiver.
    pub message_type: String,
    /// The message itself.
    pub payload: Vec<u8>,
    /// The request that this message answers, if it answers one.
    pub reply_to: Option<String>,
}

impl Message {
    /// A message that answers nothing.
    pub fn new(target: &str, message_type: &str, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            target: target.to_owned(),
            message_type: message_type.to_owned(),
            payload: payload.into(),
            reply_to: None,
        }
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The request that this answers.
    pub request_id: String,
    /// The answer itself; on failure a text that says why.
    pub payload: Vec<u8>,
    /// Whether the receiver did what it was asked.
    pub success: bool,
}

/// Why a message was not delivered or not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// This host carries no messages.
    NotAvailable,
    /// No plugin of this name is serving.
    UnknownTarget(String),
    /// The plugin was not granted this target; the payload is the rule that decided.
    Denied(String),
    /// Too many messages wait for the target.
    QueueFull,
    /// Payloads hold at most this many bytes.
    PayloadTooLarge(u64),
    /// The target did not answer within this many milliseconds.
    Timeout(u64),
    /// The target already waits for this plugin.
    Cyclic(String),
    /// The target failed while it worked on the message.
    Failed(String),
    /// The host is shutting down.
    Closed,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAvailable => f.write_str("this host carries no messages"),
            Self::UnknownTarget(target) => write!(f, "no plugin `{target}` is serving"),
            Self::Denied(rule) => write!(f, "the message was not granted: {rule}"),
            Self::QueueFull => f.write_str("too many messages wait for the target"),
            Self::PayloadTooLarge(max) => write!(f, "message payloads hold at most {max} bytes"),
            Self::Timeout(ms) => write!(f, "the target did not answer within {ms} ms"),
            Self::Cyclic(target) => write!(f, "`{target}` already waits for this plugin"),
            Self::Failed(why) => write!(f, "the target failed: {why}"),
            Self::Closed => f.write_str("the host is shutting down"),
        }
    }
}

impl std::error::Error for MessageError {}

/// Sends without waiting for an answer. Returns once queued, not once handled.
///
/// # Errors
/// [`MessageError`]; the message is not queued.
pub fn send(message: Message) -> Result<(), MessageError> {
    backend::send(message)
}

/// Sends and waits for the answer, never past the caller's own deadline. Without a `timeout` the
/// host's own holds; a finer one than milliseconds is rounded up.
///
/// # Errors
/// [`MessageError`]; after a timeout the target may still work on the message.
pub fn request(message: Message, timeout: Option<Duration>) -> Result<Reply, MessageError> {
    let timeout_ms = timeout
        .map(|limit| u32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX));
    backend::request(message, timeout_ms)
}
