//! `message-handler`: messages from other plugins and from the host.

use std::mem::take;

use wasmtime::Store;

use super::{
    GuestCall, MessageCall, Messages, Refusal,
    wit::message_handler::{Guest, IncomingMessage},
};

pub(super) struct Handler(pub(super) Guest);

/// A message whose payload is lent to the guest, and not copied. It has it back whatever ends the guest's
/// work, a deadline included: what broke the plugin is to be known again.
struct Lent<'a> {
    incoming: IncomingMessage,
    message: &'a mut MessageCall,
}

impl<'a> Lent<'a> {
    fn of(message: &'a mut MessageCall) -> Self {
        let incoming = IncomingMessage {
            sender: message.sender.clone(),
            message_type: message.message_type.clone(),
            payload: take(&mut message.payload),
            request_id: message.request_id.clone(),
        };
        Self { incoming, message }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.message.payload = take(&mut self.incoming.payload);
    }
}

impl<T: Send + 'static> Messages<T> for Handler {
    fn on_message<'a>(
        &'a self,
        store: &'a mut Store<T>,
        message: &'a mut MessageCall,
    ) -> GuestCall<'a, Result<Option<Vec<u8>>, Refusal>> {
        Box::pin(async move {
            let lent = Lent::of(message);
            let answer = self.0.call_handle_message(store, &lent.incoming).await;
            drop(lent);
            Ok(answer?.map_err(Refusal::Plugin))
        })
    }
}
