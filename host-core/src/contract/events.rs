//! `event-handler`: reactions to what happened.

use wasmtime::Store;

use super::{
    EventCall, Events, GuestCall, Refusal,
    wit::event_handler::{Event, Guest},
};

pub(super) struct Handler(pub(super) Guest);

impl<T: Send + 'static> Events<T> for Handler {
    fn supported<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Vec<String>> {
        Box::pin(self.0.call_supported_events(store))
    }

    fn on_event<'a>(
        &'a self,
        store: &'a mut Store<T>,
        event: &'a EventCall,
    ) -> GuestCall<'a, Result<(), Refusal>> {
        Box::pin(async move {
            let event = Event {
                event_type: event.event_type.clone(),
                payload: event.payload.clone(),
                timestamp: event.timestamp_ms,
                source: event.source.clone(),
            };
            Ok(self.0.call_on_event(store, &event).await?.map_err(Refusal::Plugin))
        })
    }
}
