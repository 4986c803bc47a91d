//! `toolsku:host-api/messaging`: no carrier is built in yet, and guests are told so.

use crate::{
    IpcView,
    bindings::toolsku::host_api::messaging::{Host, MessageError, PluginMessage, PluginResponse},
};

impl Host for IpcView<'_> {
    async fn send(&mut self, _: PluginMessage) -> wasmtime::Result<Result<(), MessageError>> {
        Ok(Err(MessageError::NotAvailable))
    }

    async fn request(
        &mut self,
        _: PluginMessage,
        _: Option<u32>,
    ) -> wasmtime::Result<Result<PluginResponse, MessageError>> {
        Ok(Err(MessageError::NotAvailable))
    }
}
