//! Deployment: `host-deploy` decides, this puts it into effect.
//!
//! ```text
//! upload -> Intake (what is it, may it be here, what does it change) -> staged
//!        -> activate | canary -> Trial (told of calls) -> driver -> promoted | taken back
//! ```
//! Every step is decided on a [`Deployment`], stored, and only then acted upon; the steps of one plugin are
//! taken one after the other. Start at `plugin_host/deploying.rs`, which is what operators call.

pub(crate) mod driver;
mod effects;
pub(crate) mod intake;
pub(crate) mod mirror;
pub(crate) mod resume;
pub(crate) mod scratch;
pub(crate) mod steps;
pub(crate) mod trial;
mod wit;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dashmap::DashMap;
use host_core::{Admission, Registry};
use host_deploy::{Deployment, Note, PluginStorage, Retention, SplitKey};
use plugin_contract::PluginId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use intake::{Contract, Upload};
pub use mirror::{Difference, ShadowCounts};
pub(crate) use mirror::{Mirror, Mirrored};
pub use steps::{DeployOptions, Deployed, Then};
pub(crate) use trial::Trial;

use crate::{HostError, state::HostState, terms::HostTerms};

/// How deployments are kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeploySettings {
    /// Which versions are kept that do not serve.
    pub retention: Retention,
    /// Time for calls under way to end on a revision that another has replaced. Default 30 s.
    pub drain_timeout: Duration,
}

impl Default for DeploySettings {
    fn default() -> Self {
        Self { retention: Retention::default(), drain_timeout: Duration::from_secs(30) }
    }
}

/// Who asks for a step, and on which state it was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who, as they say. Default: `operator`.
    pub by: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
    /// The revision of the deployment that they saw. If it is another by now, nothing is done.
    pub seen: Option<u64>,
}

impl Asked {
    fn note(&self, why: &str) -> Note {
        let by = self.by.as_deref().unwrap_or("operator");
        Note::new(by, self.why.as_deref().unwrap_or(why), now_ms())
    }
}

/// The host itself does it.
fn by_host(why: &str) -> Note {
    Note::new("host", why, now_ms())
}

fn now_ms() -> u64 {
    // Before 1970 there is no number for it; nothing is decided by it.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What is deployed, and what puts it into effect.
pub(crate) struct Deployments {
    pub(crate) storage: Arc<dyn PluginStorage>,
    settings: DeploySettings,
    split_key: SplitKey,
    terms: Arc<HostTerms>,
    registry: Registry<HostState>,
    admission: Admission,
    lanes: DashMap<PluginId, Arc<Lane>>,
}

impl Deployments {
    /// Reads what was deployed.
    pub(crate) async fn open(
        storage: Arc<dyn PluginStorage>,
        settings: DeploySettings,
        terms: Arc<HostTerms>,
        registry: Registry<HostState>,
        admission: Admission,
    ) -> Result<Self, HostError> {
        let split_key = storage.split_key().await?;
        let lanes = DashMap::new();
        for deployment in storage.deployments().await? {
            lanes.insert(deployment.name.clone(), Arc::new(Lane::new(deployment)));
        }
        Ok(Self { storage, settings, split_key, terms, registry, admission, lanes })
    }

    /// What is known of a plugin; `None` if nothing of it was ever deployed.
    pub(crate) fn lane(&self, name: &PluginId) -> Option<Arc<Lane>> {
        // The guard ends with this line: it is a lock.
        self.lanes.get(name).map(|lane| lane.value().clone())
    }

    /// The same, for the first step.
    fn lane_or_new(&self, name: &PluginId) -> Arc<Lane> {
        let new = || Arc::new(Lane::new(Deployment::new(name.clone())));
        self.lanes.entry(name.clone()).or_insert_with(new).value().clone()
    }

    /// All that was ever deployed, by name.
    pub(crate) fn lanes(&self) -> Vec<Arc<Lane>> {
        let mut lanes: Vec<_> = self.lanes.iter().map(|lane| lane.value().clone()).collect();
        lanes.retain(|lane| lane.is_known());
        lanes.sort_by(|a, b| a.name.cmp(&b.name));
        lanes
    }

    /// Whether the versions of a plugin are the operator's to deploy, and not those of a directory.
    pub(crate) fn manages(&self, name: &PluginId) -> bool {
        self.lane(name).is_some_and(|lane| lane.is_known())
    }
}

/// One plugin: its deployment, and what is on its way.
pub(crate) struct Lane {
    pub(crate) name: PluginId,
    /// Had by whoever takes a step.
    turn: Arc<Semaphore>,
    deployment: Mutex<Arc<Deployment>>,
    trial: Mutex<Option<Arc<Trial>>>,
    mirror: Mutex<Option<Arc<Mirror>>>,
    pub(crate) counts: LaneCounts,
}

/// What happened to a plugin since the host started.
#[derive(Default)]
pub(crate) struct LaneCounts {
    /// One revision took the place of another.
    pub(crate) swaps: AtomicU64,
    /// An operator went back.
    pub(crate) rollbacks: AtomicU64,
    /// A canary was promoted, by the host.
    pub(crate) promoted: AtomicU64,
    /// A canary took its next step, by the host.
    pub(crate) advanced: AtomicU64,
    /// A canary was found to do harm.
    pub(crate) rejected: AtomicU64,
}

impl Lane {
    fn new(deployment: Deployment) -> Self {
        Self {
            name: deployment.name.clone(),
            turn: Arc::new(Semaphore::new(1)),
            deployment: Mutex::new(Arc::new(deployment)),
            trial: Mutex::new(None),
            mirror: Mutex::new(None),
            counts: LaneCounts::default(),
        }
    }

    /// Waits for the steps before.
    async fn turn(&self) -> OwnedSemaphorePermit {
        let turn = self.turn.clone().acquire_owned().await;
        turn.expect("it is never closed")
    }

    /// A turn, if nobody takes a step.
    fn try_turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turn.clone().try_acquire_owned().ok()
    }

    /// The deployment as it is stored.
    pub(crate) fn deployment(&self) -> Arc<Deployment> {
        lock(&self.deployment).clone()
    }

    fn set(&self, deployment: Arc<Deployment>) {
        *lock(&self.deployment) = deployment;
    }

    /// Whether anything of it was ever deployed.
    fn is_known(&self) -> bool {
        !lock(&self.deployment).versions.is_empty()
    }

    /// What its canary is judged by.
    pub(crate) fn trial(&self) -> Option<Arc<Trial>> {
        lock(&self.trial).clone()
    }

    /// What mirrors its calls.
    pub(crate) fn mirror(&self) -> Option<Arc<Mirror>> {
        lock(&self.mirror).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
