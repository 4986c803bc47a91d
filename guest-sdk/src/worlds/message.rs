//! World `message-plugin`: takes messages from other plugins and from the host.

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::message_handler as wit;
use crate::{Error, Plugin, Result};

/// A message, as its receiver sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingMessage {
    /// Who sent it: a plugin's name, or that of an address of the host. Set by the host.
    pub sender: String,
    /// What the message is about, in the words of its receiver.
    pub message_type: String,
    /// The message itself.
    pub payload: Vec<u8>,
    /// Names the request if the sender waits for an answer.
    pub request_id: Option<String>,
}

/// Takes messages.
pub trait MessageHandler: Plugin {
    /// Handles one message, and answers it where the sender waits for that. Messages may overtake each
    /// other.
    ///
    /// `None` is no answer: to a sender who waits, it comes later, by [`messaging::send`](crate::messaging::send)
    /// to the sender, with the id of the request as `reply_to`.
    ///
    /// # Errors
    /// A sender who waits is told that there is no answer, and why.
    fn on_message(&self, message: IncomingMessage) -> Result<Option<Vec<u8>>>;
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: MessageHandler,
{
    fn handle_message(message: wit::IncomingMessage) -> Result<Option<Vec<u8>>, String> {
        let wit::IncomingMessage { sender, message_type, payload, request_id } = message;
        let message = IncomingMessage { sender, message_type, payload, request_id };
        super::with::<E, _>(|plugin| plugin.on_message(message)).map_err(Error::into_wire)
    }
}

/// Exports a [`MessageHandler`] as the world `message-plugin`.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// struct Echo;
/// impl Plugin for Echo {
///     fn initialize() -> Result<Self> { Ok(Echo) }
/// }
/// impl MessageHandler for Echo {
///     fn on_message(&self, message: IncomingMessage) -> Result<Option<Vec<u8>>> {
///         Ok(Some(message.payload))
///     }
/// }
/// guest_sdk::message_plugin!(Echo);
///
/// let mut echo = guest_sdk::testing::Harness::<Echo>::new()?;
/// assert_eq!(echo.message("ping", b"hello")?, Some(b"hello".to_vec()));
/// # Ok::<(), guest_sdk::Error>(())
/// ```
#[macro_export]
macro_rules! message_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::MessageHandler, MESSAGE_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            message_handler __export_toolsku_plugin_system_message_handler_1_1_0_cabi
        );
    };
}
