//! `message-handler`: messages from other plugins and from the host.

use wasmtime::Store;

use super::{
    GuestCall, MessageCall, Messages, Refusal,
    wit::message_handler::{Guest, IncomingMessage},
};

pub(super) struct Handler(pub(super) Guest);

impl<T: Send + 'static> Messages<T> for Handler {
    fn on_message<'a>(
        &'a self,
        store: &'a mut Store<T>,
        message: &'a mut MessageCall,
    ) -> GuestCall<'a, Result<Option<Vec<u8>>, Refusal>> {
        Box::pin(async move {
            let lent = IncomingMessage {
                sender: message.sender.clone(),
                message_type: message.message_type.clone(),
                payload: std::mem::take(&mut message.payload),
                request_id: message.request_id.clone(),
            };
            let answer = self.0.call_handle_message(store, &lent).await;
            message.payload = lent.payload;
            Ok(answer?.map_err(Refusal::Plugin))
        })
    }
}
