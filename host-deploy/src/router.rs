//! One atomic table per plugin, and leases that count who still uses what it held.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use plugin_contract::{Digest, PluginId};
use semver::Version;
use tokio::sync::Notify;

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

/// Sends each call to the revision that serves. `H` is whatever answers calls.
pub struct Router<H> {
    serving: ArcSwapOption<Slot<H>>,
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

/// No revision serves: the router was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no revision serves any more")]
pub struct Closed;

impl<H> Router<H> {
    /// A router whose calls go to `handle`.
    pub fn new(revision: Revision, handle: H) -> Self {
        Self { serving: ArcSwapOption::new(Some(Slot::new(revision, handle))) }
    }

    /// A lease on the revision that serves now. It stays usable for as long as it is held, whatever
    /// is activated meanwhile.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn route(&self) -> Result<Lease<H>, Closed> {
        loop {
            let slot = self.serving.load_full().ok_or(Closed)?;
            // Retired between the two steps: there is a newer table already.
            if let Some(lease) = slot.lease() {
                return Ok(lease);
            }
        }
    }

    /// The revision that serves now.
    pub fn revision(&self) -> Option<Revision> {
        self.serving.load().as_ref().map(|slot| slot.revision.clone())
    }

    /// Sends all further calls to `handle`, at once. Calls under way go on; what they use can be
    /// waited for.
    ///
    /// # Errors
    /// [`Closed`]: nothing was activated, `handle` is dropped.
    pub fn activate(&self, revision: Revision, handle: H) -> Result<Draining<H>, Closed> {
        let new = Slot::new(revision, handle);
        let mut current = self.serving.load_full();
        loop {
            let old = current.ok_or(Closed)?;
            let seen = self.serving.compare_and_swap(&Some(old.clone()), Some(new.clone()));
            match seen.as_ref() {
                Some(seen) if Arc::ptr_eq(seen, &old) => return Ok(Draining::of(old)),
                other => current = other.cloned(),
            }
        }
    }

    /// Takes no further calls. `None` if it took none before.
    pub fn close(&self) -> Option<Draining<H>> {
        self.serving.swap(None).map(Draining::of)
    }
}

impl<H> Slot<H> {
    fn new(revision: Revision, handle: H) -> Arc<Self> {
        let last_lease_gone = Notify::new();
        Arc::new(Self { revision, handle, leases: AtomicU64::new(0), last_lease_gone })
    }

    fn lease(self: Arc<Self>) -> Option<Lease<H>> {
        // Counting first and asking then leaves no gap in which to be retired unseen.
        let before = self.leases.fetch_add(LEASE, Ordering::AcqRel);
        let lease = Lease { slot: self };
        (before & RETIRED == 0).then_some(lease)
    }
}

/// The right to use a revision for one call. Drop it when the call is over.
pub struct Lease<H> {
    slot: Arc<Slot<H>>,
}

impl<H> Lease<H> {
    /// The revision that answers this call.
    pub fn revision(&self) -> &Revision {
        &self.slot.revision
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
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };

    use plugin_contract::Digest;

    use super::{Closed, Revision, Router};

    fn revision(patch: u64) -> Revision {
        Revision {
            plugin: "a".parse().unwrap(),
            version: semver::Version::new(1, 0, patch),
            digest: Digest::from_bytes([patch as u8; 32]),
        }
    }

    #[tokio::test]
    async fn calls_under_way_keep_what_they_have_and_new_ones_get_the_new() {
        let router = Router::new(revision(0), "old");
        let call = router.route().unwrap();
        let old = router.activate(revision(1), "new").unwrap();
        assert_eq!((*call, *router.route().unwrap()), ("old", "new"));
        assert_eq!((old.in_flight(), old.revision()), (1, &revision(0)));
        let waiting = tokio::spawn(async move { old.drained().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(call);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_closed_router_takes_no_calls() {
        let router = Router::new(revision(0), ());
        let call = router.route().unwrap();
        let old = router.close().unwrap();
        assert_eq!(router.route().map(drop), Err(Closed));
        assert_eq!(router.activate(revision(1), ()).map(drop), Err(Closed));
        assert!(router.close().is_none() && router.revision().is_none());
        drop(call);
        old.drained().await;
    }

    /// Each revision's handle says whether it was drained; no call may find one that was.
    #[test]
    fn no_call_is_answered_by_a_revision_after_its_drain() {
        let router = Arc::new(Router::new(revision(0), AtomicBool::new(false)));
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let caller = || {
            let (router, stop, calls) = (router.clone(), stop.clone(), calls.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let lease = router.route().unwrap();
                    assert!(!lease.load(Ordering::SeqCst), "answered by a drained revision");
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let callers: Vec<_> = (0..4).map(|_| caller()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut swaps = 0;
        while swaps < 2_000 || calls.load(Ordering::Relaxed) < 10_000 {
            swaps += 1;
            let old = router.activate(revision(swaps), AtomicBool::new(false)).unwrap();
            runtime.block_on(old.drained());
            old.handle().store(true, Ordering::SeqCst);
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    }
}
