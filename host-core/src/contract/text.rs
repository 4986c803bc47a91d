//! `plugin-api-v1` and `plugin-api-v2`: text in, text out.

use wasmtime::Store;

use super::{
    GuestCall, ProcessCall, ProcessReply, Processor, Refusal,
    wit::{plugin_api_v1, plugin_api_v2},
};

pub(super) struct V1(pub(super) plugin_api_v1::Guest);
pub(super) struct V2(pub(super) plugin_api_v2::Guest);

fn reply(output: String, call: &ProcessCall) -> ProcessReply {
    ProcessReply {
        output: output.into_bytes(),
        content_type: call.content_type.clone(),
        items_processed: 1,
        warning: None,
        degraded: None,
    }
}

impl<T: Send + 'static> Processor<T> for V1 {
    /// Options are lost on this generation.
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let input = match call.text() {
                Ok(input) => input,
                Err(refusal) => return Ok(Err(refusal)),
            };
            Ok(Ok(reply(self.0.call_process(store, input).await?, call)))
        })
    }
}

impl<T: Send + 'static> Processor<T> for V2 {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let input = match call.text() {
                Ok(input) => input,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let answer = self.0.call_process(store, input, &call.options).await?;
            Ok(answer.map(|output| reply(output, call)).map_err(Refusal::Plugin))
        })
    }
}
