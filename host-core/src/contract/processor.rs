//! `data-processor`: bytes in, bytes out.

use std::mem::take;

use wasmtime::Store;

use super::{
    GuestCall, ProcessCall, ProcessReply, Processor, Refusal,
    wit::data_processor::{Guest, ProcessRequest},
};

pub(super) struct Data(pub(super) Guest);

impl<T: Send + 'static> Processor<T> for Data {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            // Lent, not copied: inputs can be large.
            let request = ProcessRequest {
                input: take(&mut call.input),
                content_type: take(&mut call.content_type),
                options: take(&mut call.options),
            };
            let answer = self.0.call_process(store, &request).await;
            call.input = request.input;
            call.content_type = request.content_type;
            call.options = request.options;
            Ok(match answer? {
                Ok(response) => Ok(ProcessReply {
                    output: response.output,
                    content_type: response.content_type,
                    items_processed: response.items_processed,
                    warning: None,
                    degraded: None,
                }),
                Err(message) => Err(Refusal::Plugin(message)),
            })
        })
    }

    fn validate<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> Option<GuestCall<'a, bool>> {
        Some(Box::pin(async move { self.0.call_validate(store, &call.input).await }))
    }
}
