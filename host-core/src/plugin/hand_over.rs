//! The state of a revision, handed to the one that follows: no call is answered with a state that another
//! revision has taken over, and none is lost.
//!
//! The old revision's one instance is taken out, so that calls wait; it gives up its state, and the new one's
//! instance takes it over. Whoever asked then has the new revision called in the place of the old one, and
//! [commits](HandOver::commit); calls that wait turn to whoever is called now. Whatever goes wrong before that,
//! the old instance goes back to its calls.
//! Not here: which revision follows which (`registry`).

use std::time::Duration;

use tokio::time::Instant;

use super::Plugin;
use crate::{CoreError, StoreData, pool::Exclusive};

/// Longest time for which calls wait while a state is handed over.
const HOLD_MAX: Duration = Duration::from_secs(5);

/// A state that was handed over, and both instances that have it. Dropped, it lets the old one go on, and the
/// new one is gone; committed, it is the other way round.
#[must_use = "dropped, it was in vain"]
pub(crate) struct HandOver<T: StoreData> {
    /// The old, and the new. None where there is no state to hand over.
    instances: Option<(Exclusive<T>, Exclusive<T>)>,
}

/// Hands the state of `old` to `new`, which has started, if both export `state-transfer`. The instance of
/// either has until `deadline` to come free. Giving this up at whatever point leaves `old` as it was.
///
/// # Errors
/// `core/state-busy`, `core/state-not-given`, `core/state-too-large`, `core/state-unknown-format`,
/// `core/state-refused`; else as for all calls of the two. `old` serves on; with its state, unless that was
/// lost in a trap or a deadline of its `snapshot`. `core/retired` if either is taken out of service.
pub(crate) async fn hand_over<T: StoreData>(
    old: &Plugin<T>,
    new: &Plugin<T>,
    deadline: Instant,
) -> Result<HandOver<T>, CoreError> {
    let nothing = Ok(HandOver { instances: None });
    let plugin = old.name();
    let (Some(from), Some(to)) = (old.active(), new.active()) else { return nothing };
    match (from.pool.keeps_state(), to.pool.keeps_state()) {
        (true, true) => {}
        (false, false) => return nothing,
        (from, _) => {
            let lacks = if from { new.version() } else { old.version() };
            tracing::info!(%plugin, %lacks, "no state is handed over: one version does not do that");
            return nothing;
        }
    }
    // The new one first: until the old one is taken out, nobody waits.
    let mut heir = to.pool.seclude(deadline).await?;
    heir.fresh(&new.terms.budget_within(HOLD_MAX)).await?;
    let mut giver = from.pool.seclude(deadline).await?;
    let held = Instant::now() + HOLD_MAX;
    if giver.instance().is_none() {
        tracing::info!(%plugin, "no state is handed over: it was lost before");
        return Ok(HandOver { instances: Some((giver, heir)) });
    }
    let budget = old.terms.budget_within(HOLD_MAX).until(held);
    let bytes_max = new.terms.state_bytes_max;
    // On a task of its own: a guest that is given up in the middle is spent, and its state with it.
    let giving = tokio::spawn(async move {
        let state = match giver.instance() {
            Some(instance) => Some(instance.snapshot(bytes_max, &budget).await),
            None => None,
        };
        (giver, state)
    });
    let (giver, state) = giving.await.map_err(|error| CoreError::Engine(error.into()))?;
    let state = state.transpose().inspect_err(|error| old.terms.tell(error))?;
    if let Some(state) = state {
        let (format, bytes) = (state.format, state.data.len());
        let budget = new.terms.budget_within(HOLD_MAX).until(held);
        let restored = heir.fresh(&budget).await?.restore(state, &budget).await;
        restored.inspect_err(|error| new.terms.tell(error))?;
        tracing::info!(
            %plugin, from = %old.version(), to = %new.version(), format, bytes,
            "a state was handed over"
        );
    }
    Ok(HandOver { instances: Some((giver, heir)) })
}

impl<T: StoreData> HandOver<T> {
    /// The new revision is called from now on. Calls that wait for the old one are told that it is retired;
    /// it has to be taken out of service.
    pub(crate) fn commit(mut self) {
        if let Some((old, new)) = self.instances.take() {
            drop(new);
            old.close();
        }
    }
}

impl<T: StoreData> Drop for HandOver<T> {
    fn drop(&mut self) {
        if let Some((_old, new)) = self.instances.take() {
            // The old one goes on from here, and what the new one has would be out of date.
            new.discard();
        }
    }
}
