//! `data-processor`: bytes in, bytes out.

use std::mem::take;

use wasmtime::Store;

use super::{
    GuestCall, ProcessCall, ProcessReply, Processor, Refusal,
    wit::data_processor::{Guest, ProcessRequest},
};

pub(super) struct Data(pub(super) Guest);

/// A call whose parts are lent to the guest, not copied: inputs can be large. It has them back whatever
/// ends the guest's work, a deadline included.
struct Lent<'a> {
    request: ProcessRequest,
    call: &'a mut ProcessCall,
}

impl<'a> Lent<'a> {
    fn of(call: &'a mut ProcessCall) -> Self {
        let request = ProcessRequest {
            input: take(&mut call.input),
            content_type: take(&mut call.content_type),
            options: take(&mut call.options),
        };
        Self { request, call }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.call.input = take(&mut self.request.input);
        self.call.content_type = take(&mut self.request.content_type);
        self.call.options = take(&mut self.request.options);
    }
}

impl<T: Send + 'static> Processor<T> for Data {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let lent = Lent::of(call);
            let answer = self.0.call_process(store, &lent.request).await;
            drop(lent);
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
