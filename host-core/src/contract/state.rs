//! `state-transfer`: the state of an instance, given up by one revision and taken over by the next.

use wasmtime::Store;

use super::{
    GuestCall, State, StateRefused, StateSnapshot,
    wit::state_transfer::{Guest, RestoreError, StateSnapshot as Wire},
};

pub(super) struct Transfer(pub(super) Guest);

impl<T: Send + 'static> State<T> for Transfer {
    fn snapshot<'a>(
        &'a self,
        store: &'a mut Store<T>,
    ) -> GuestCall<'a, Result<StateSnapshot, String>> {
        Box::pin(async move {
            let given = self.0.call_snapshot(store).await?;
            Ok(given.map(|Wire { format, data }| StateSnapshot { format, data }))
        })
    }

    fn restore<'a>(
        &'a self,
        store: &'a mut Store<T>,
        StateSnapshot { format, data }: StateSnapshot,
    ) -> GuestCall<'a, Result<(), StateRefused>> {
        Box::pin(async move {
            let taken = self.0.call_restore(store, &Wire { format, data }).await?;
            Ok(taken.map_err(|error| match error {
                RestoreError::UnknownFormat(newest) => StateRefused::UnknownFormat { newest },
                RestoreError::Invalid(message) => StateRefused::Invalid(message),
            }))
        })
    }
}
