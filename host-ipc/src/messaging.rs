//! `toolsku:host-api/messaging`, as guests call it.

use std::{sync::Arc, time::Duration};

use plugin_contract::{Address, escape};

use crate::{
    IpcView,
    bindings::toolsku::host_api::messaging::{
        Host, MessageError as WitError, PluginMessage, PluginResponse,
    },
    channel::{Message, MessageError, Sender},
};

/// Whether messages may go to an address; else the rule that decided.
pub type MayReach = Arc<dyn Fn(&Address) -> Result<(), String> + Send + Sync>;

/// How a guest sends messages: in its plugin's name, to whom it may.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) sender: Sender,
    pub(crate) may_reach: MayReach,
}

impl Host for IpcView<'_> {
    async fn send(&mut self, message: PluginMessage) -> wasmtime::Result<Result<(), WitError>> {
        let Some(post) = self.ctx.post.clone() else { return Ok(Err(WitError::NotAvailable)) };
        let sent = async {
            let message = post.message(message)?;
            post.sender.send(&self.ctx.caller, message).await
        };
        let sent = sent.await;
        self.tell(sent.as_ref().err());
        Ok(sent.map_err(Into::into))
    }

    async fn request(
        &mut self,
        message: PluginMessage,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<Result<PluginResponse, WitError>> {
        let Some(post) = self.ctx.post.clone() else { return Ok(Err(WitError::NotAvailable)) };
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let answer = async {
            let message = post.message(message)?;
            post.sender.request(&self.ctx.caller, message, timeout).await
        };
        let answer = answer.await;
        self.tell(answer.as_ref().err());
        Ok(answer
            .map(|answer| PluginResponse {
                request_id: answer.request_id,
                payload: answer.payload,
                success: answer.success,
            })
            .map_err(Into::into))
    }
}

impl Post {
    /// The message, if it may go where it is to go. An answer may: whoever it is for waits for it.
    fn message(&self, message: PluginMessage) -> Result<Message, MessageError> {
        let PluginMessage { target, message_type, payload, reply_to } = message;
        let Ok(target) = target.parse::<Address>() else {
            return Err(MessageError::UnknownTarget(escape(&target, 80)));
        };
        if reply_to.is_none() {
            (self.may_reach)(&target).map_err(MessageError::Denied)?;
        }
        Ok(Message { target, message_type, payload, reply_to })
    }
}

impl IpcView<'_> {
    fn tell(&self, error: Option<&MessageError>) {
        let watch = &self.ctx.watch;
        match error {
            Some(MessageError::PayloadTooLarge(max)) => watch.tell(
                "messaging",
                || "a larger payload".to_owned(),
                || format!("message payload = {max} bytes"),
            ),
            Some(MessageError::RateLimited(max)) => watch.tell(
                "messaging",
                || "one message more".to_owned(),
                || format!("messages a second = {max}"),
            ),
            _ => {}
        }
    }
}

impl From<MessageError> for WitError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::UnknownTarget(target) => Self::UnknownTarget(target),
            MessageError::Denied(rule) => Self::Denied(rule),
            // The contract has one word for both.
            MessageError::QueueFull | MessageError::RateLimited(_) => Self::QueueFull,
            MessageError::PayloadTooLarge(bytes_max) => Self::PayloadTooLarge(bytes_max),
            MessageError::Timeout(ms) => Self::Timeout(ms),
            MessageError::Cyclic(target) => Self::Cyclic(target),
            MessageError::Failed(why) => Self::Failed(why),
            MessageError::Closed => Self::Closed,
        }
    }
}
