//! `data-processor`: bytes in, bytes out.

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
        call: ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let request = ProcessRequest {
                input: call.input,
                content_type: call.content_type,
                options: call.options,
            };
            Ok(match self.0.call_process(store, &request).await? {
                Ok(response) => Ok(ProcessReply {
                    output: response.output,
                    content_type: response.content_type,
                    items_processed: response.items_processed,
                    warning: None,
                }),
                Err(message) => Err(Refusal::Plugin(message)),
            })
        })
    }

    fn validate<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: ProcessCall,
    ) -> Option<GuestCall<'a, bool>> {
        Some(Box::pin(async move { self.0.call_validate(store, &call.input).await }))
    }
}
