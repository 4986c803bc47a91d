//! The state of an instance: given up, and taken over.

use super::{CallBudget, Instance};
use crate::{
    Caller, CoreError, Operation, StateSnapshot, StoreData,
    contract::{StateRefused, shown},
};

/// How many times the largest state a guest may pass while it gives up its own: what is too large is to be
/// refused, and the instance, which has nothing but its state, to live on.
const ROOM: u64 = 4;

impl<T: StoreData> Instance<T> {
    /// Whether it may remember something: it has worked, or taken over a state.
    pub(crate) fn has_state(&self) -> bool {
        self.has_state
    }

    /// The state of the instance, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// `core/state-not-given` with the plugin's reason, `core/state-too-large`: the instance can be used
    /// again. `core/not-offered`. Else as for all calls: it is spent.
    pub async fn snapshot(
        &mut self,
        bytes_max: u64,
        budget: &CallBudget,
    ) -> Result<StateSnapshot, CoreError> {
        let passes = self.store.hostcall_fuel();
        let room = usize::try_from(bytes_max.saturating_mul(ROOM)).unwrap_or(usize::MAX);
        self.store.set_hostcall_fuel(passes.max(room));
        let operation = Operation::Snapshot;
        let answer = self
            .run(operation, Caller::default(), budget, &mut (), |store, bound, ()| {
                Some(bound.state.as_deref()?.snapshot(store))
            })
            .await;
        self.store.set_hostcall_fuel(passes);
        let plugin = self.plugin().clone();
        match answer? {
            None => Err(CoreError::NotOffered { plugin, operation }),
            Some(Err(message)) => {
                Err(CoreError::StateNotGiven { plugin, message: shown(&message) })
            }
            Some(Ok(state)) if state.data.len() as u64 > bytes_max => {
                Err(CoreError::StateTooLarge { plugin, bytes: state.data.len() as u64, bytes_max })
            }
            Some(Ok(state)) => Ok(state),
        }
    }

    /// Has the instance, which is to be a new one, take over `state`.
    ///
    /// # Errors
    /// `core/state-unknown-format`, `core/state-refused` with the plugin's reason; else as for all calls.
    /// The instance is spent in any case: who knows how much of the state it has taken. `core/not-offered`.
    pub async fn restore(
        &mut self,
        state: StateSnapshot,
        budget: &CallBudget,
    ) -> Result<(), CoreError> {
        let (operation, offered) = (Operation::Restore, state.format);
        let mut state = Some(state);
        let answer = self
            .run(operation, Caller::default(), budget, &mut state, |store, bound, state| {
                Some(bound.state.as_deref()?.restore(store, state.take()?))
            })
            .await?;
        let (plugin, version) = (self.plugin().clone(), self.prepared.version().clone());
        let Some(answer) = answer else {
            return Err(CoreError::NotOffered { plugin, operation });
        };
        self.spent = answer.is_err();
        self.has_state = answer.is_ok();
        answer.map_err(|refused| match refused {
            StateRefused::UnknownFormat { newest } => {
                CoreError::StateUnknownFormat { plugin, version, newest, offered }
            }
            StateRefused::Invalid(message) => {
                CoreError::StateRefused { plugin, version, message: shown(&message) }
            }
        })
    }
}
