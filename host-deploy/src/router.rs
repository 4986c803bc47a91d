//! One atomic table per plugin, and leases that count who still uses what it held.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use plugin_contract::{Digest, PluginId};
use semver::Version;
use tokio::sync::Notify;

use crate::{Split, verdict::Arm};

/// One deployable version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// The plugin.
    pub plugin: PluginId,
    /// Its version.
    pub version: Version,
    /// Of its component.
    pub digest: Digest,
}

/// Sends each call to the revision that serves, or to the canary beside it. `H` is whatever answers calls.
pub struct Router<H> {
    table: ArcSwapOption<Table<H>>,
    /// Held by whoever makes a new table of the old one.
    changing: Mutex<()>,
    /// Stands in for the id of calls that have none.
    unnamed: AtomicU64,
}

struct Table<H> {
    stable: Arc<Slot<H>>,
    canary: Option<(Arc<Slot<H>>, Split)>,
}

struct Slot<H> {
    revision: Revision,
    handle: H,
    /// Leases, twice; and 1 if the slot takes no more of them.
    leases: AtomicU64,
    last_lease_gone: Notify,
}

const RETIRED: u64 = 1;
const LEASE: u64 = 2;

/// What decides between the revision that serves and the canary.
#[derive(Debug, Clone, Copy, Default)]
pub struct Key<'a> {
    /// Names the call. The same one goes to the same side for as long as a rollout lasts; those that have
    /// none (empty) are spread by the shares.
    pub id: &'a [u8],
    /// Whoever makes the call says which side it is to go to, if there is a canary. Such calls say nothing
    /// of the canary, since somebody chose them.
    pub pin: Option<Arm>,
}

/// No revision serves: the router was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no revision serves any more")]
pub struct Closed;

impl<H> Router<H> {
    /// A router whose calls go to `handle`.
    pub fn new(revision: Revision, handle: H) -> Self {
        let table = Table { stable: Slot::new(revision, handle), canary: None };
        Self {
            table: ArcSwapOption::new(Some(Arc::new(table))),
            changing: Mutex::new(()),
            unnamed: AtomicU64::new(0),
        }
    }

    /// A lease on the revision that is to answer a call. It stays usable for as long as it is held, whatever
    /// is activated meanwhile.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn route(&self, key: Key<'_>) -> Result<Lease<H>, Closed> {
        loop {
            let table = self.table.load();
            let table = table.as_ref().ok_or(Closed)?;
            let (slot, arm) = match &table.canary {
                Some((canary, split)) if self.is_for_canary(key, split) => (canary, Arm::Canary),
                _ => (&table.stable, Arm::Stable),
            };
            // Only what is compared is counted.
            let arm = table.canary.as_ref().map(|_| arm);
            let is_counted = key.pin.is_none();
            // Retired between the two steps: there is a newer table already.
            if let Some(lease) = slot.clone().lease(arm, is_counted) {
                return Ok(lease);
            }
        }
    }

    fn is_for_canary(&self, key: Key<'_>, split: &Split) -> bool {
        match (key.pin, key.id) {
            (Some(arm), _) => arm == Arm::Canary,
            (None, []) => {
                let number = self.unnamed.fetch_add(1, Ordering::Relaxed);
                split.takes(&number.to_le_bytes())
            }
            (None, id) => split.takes(id),
        }
    }

    /// The revision that serves now.
    pub fn revision(&self) -> Option<Revision> {
        self.table.load().as_ref().map(|table| table.stable.revision.clone())
    }

    /// The canary.
    pub fn canary(&self) -> Option<Revision> {
        let table = self.table.load();
        let canary = table.as_ref().and_then(|table| table.canary.as_ref());
        canary.map(|(slot, _)| slot.revision.clone())
    }

    /// Sends all further calls that are not the canary's to `handle`, at once. Calls under way go on; what
    /// they use can be waited for.
    ///
    /// # Errors
    /// [`Closed`]: nothing was activated, `handle` is dropped.
    pub fn activate(&self, revision: Revision, handle: H) -> Result<Draining<H>, Closed> {
        let _turn = self.changing();
        let table = self.table.load_full().ok_or(Closed)?;
        self.set(Slot::new(revision, handle), table.canary.clone());
        Ok(Draining::of(table.stable.clone()))
    }

    /// Sends the share of `split` to `handle`, at once. Returns the canary that was there before.
    ///
    /// # Errors
    /// [`Closed`]: `handle` is dropped.
    pub fn set_canary(
        &self,
        revision: Revision,
        handle: H,
        split: Split,
    ) -> Result<Option<Draining<H>>, Closed> {
        let _turn = self.changing();
        let table = self.table.load_full().ok_or(Closed)?;
        self.set(table.stable.clone(), Some((Slot::new(revision, handle), split)));
        Ok(table.canary.clone().map(|(old, _)| Draining::of(old)))
    }

    /// Gives the canary another share. Returns whether there is one.
    pub fn set_split(&self, split: Split) -> bool {
        let _turn = self.changing();
        let Some(table) = self.table.load_full() else { return false };
        let Some((slot, _)) = table.canary.clone() else { return false };
        self.set(table.stable.clone(), Some((slot, split)));
        true
    }

    /// The canary serves all calls from now on. Returns what served before; `None` if there is no canary, and
    /// nothing changed.
    pub fn promote(&self) -> Option<Draining<H>> {
        let _turn = self.changing();
        let table = self.table.load_full()?;
        let (canary, _) = table.canary.clone()?;
        self.set(canary, None);
        Some(Draining::of(table.stable.clone()))
    }

    /// The canary gets no further calls. Returns it; `None` if there is none.
    pub fn withdraw(&self) -> Option<Draining<H>> {
        let _turn = self.changing();
        let table = self.table.load_full()?;
        let (canary, _) = table.canary.clone()?;
        self.set(table.stable.clone(), None);
        Some(Draining::of(canary))
    }

    /// Takes no further calls. Returns what took them.
    pub fn close(&self) -> Vec<Draining<H>> {
        let _turn = self.changing();
        let Some(table) = self.table.swap(None) else { return Vec::new() };
        let canary = table.canary.clone().map(|(slot, _)| slot);
        [Some(table.stable.clone()), canary].into_iter().flatten().map(Draining::of).collect()
    }

    fn set(&self, stable: Arc<Slot<H>>, canary: Option<(Arc<Slot<H>>, Split)>) {
        self.table.store(Some(Arc::new(Table { stable, canary })));
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H> Slot<H> {
    fn new(revision: Revision, handle: H) -> Arc<Self> {
        let last_lease_gone = Notify::new();
        Arc::new(Self { revision, handle, leases: AtomicU64::new(0), last_lease_gone })
    }

    fn lease(self: Arc<Self>, arm: Option<Arm>, is_counted: bool) -> Option<Lease<H>> {
        // Counting first and asking then leaves no gap in which to be retired unseen.
        let before = self.leases.fetch_add(LEASE, Ordering::AcqRel);
        let lease = Lease { slot: self, arm, is_counted };
        (before & RETIRED == 0).then_some(lease)
    }
}

/// The right to use a revision for one call. Drop it when the call is over.
pub struct Lease<H> {
    slot: Arc<Slot<H>>,
    arm: Option<Arm>,
    is_counted: bool,
}

impl<H> Lease<H> {
    /// The revision that answers this call.
    pub fn revision(&self) -> &Revision {
        &self.slot.revision
    }

    /// On which side of a canary this is; `None` if there is no canary.
    pub fn arm(&self) -> Option<Arm> {
        self.arm
    }

    /// The side that what becomes of this call says something of: none if there is no canary, or somebody
    /// chose the side.
    pub fn counted_arm(&self) -> Option<Arm> {
        self.arm.filter(|_| self.is_counted)
    }
}

impl<H> Deref for Lease<H> {
    type Target = H;
    fn deref(&self) -> &H {
        &self.slot.handle
    }
}

impl<H> Drop for Lease<H> {
    fn drop(&mut self) {
        let before = self.slot.leases.fetch_sub(LEASE, Ordering::AcqRel);
        if before == LEASE | RETIRED {
            self.slot.last_lease_gone.notify_waiters();
        }
    }
}

/// A revision that serves no new calls, and may still be busy with old ones.
pub struct Draining<H> {
    slot: Arc<Slot<H>>,
}

impl<H> Draining<H> {
    fn of(slot: Arc<Slot<H>>) -> Self {
        slot.leases.fetch_or(RETIRED, Ordering::AcqRel);
        Self { slot }
    }

    /// The revision.
    pub fn revision(&self) -> &Revision {
        &self.slot.revision
    }

    /// What answered its calls.
    pub fn handle(&self) -> &H {
        &self.slot.handle
    }

    /// Calls still under way.
    pub fn in_flight(&self) -> u64 {
        self.slot.leases.load(Ordering::Acquire) / LEASE
    }

    /// Returns when no call uses the revision any more. Bound it with a timeout of your own: there is
    /// no clock in this crate.
    pub async fn drained(&self) {
        loop {
            let gone = self.slot.last_lease_gone.notified();
            if self.in_flight() == 0 {
                return;
            }
            gone.await;
        }
    }
}

#[cfg(test)]
mod tests;
