//! One revision of a plugin: what is known of it, whether it serves, and the instances that do.
//!
//! Start at [`Plugin::process`]; `attempt` is the way of one call, `state` says when there is one.
//! Not here: which plugins there are, and when to look after them (`registry`).

mod attempt;
mod hand_over;
mod health;
mod state;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use plugin_contract::{PluginId, World, is_subscription};
use semver::Version;
use tokio::{sync::watch, time::Instant};

use crate::{
    CoreError, Description, MetricsSnapshot, Operation, Pool, PoolStatus, Prepared, StoreData,
    Terms,
    compose::Composition,
    guard::{
        breaker::{Breaker, BreakerState},
        poison::PoisonMemory,
    },
    metrics::Metrics,
    peer::Peer,
    read_file,
    registry::Shelf,
};

pub(crate) use hand_over::hand_over;
pub use health::HealthSettings;
pub use state::PluginState;
use state::State;
pub(crate) use state::{Ask, later};

/// Longest time for the first instance of a plugin to start, whatever it was granted for calls: others
/// wait for it.
const START_MAX: Duration = Duration::from_secs(5);

/// Longest time to compose a plugin; others wait for their turn to start.
const COMPOSE_MAX: Duration = Duration::from_secs(10);

/// Most event types that one plugin may subscribe to.
const SUBSCRIPTIONS_MAX: usize = 64;

/// One revision of a plugin, registered. Made by a [`Registry`](crate::Registry).
pub struct Plugin<T: 'static> {
    description: Arc<Description>,
    /// The folder or file it came from.
    path: PathBuf,
    terms: Terms<T>,
    shelf: Weak<Shelf<T>>,
    /// There while it serves: all that a call has to look at.
    serving: ArcSwapOption<Active<T>>,
    state: Mutex<State<T>>,
    /// Starts and checks that failed since the last good check.
    failures: AtomicU32,
    /// Starts that were ever begun.
    starts: AtomicU64,
    /// Tried out beside the version that serves: other plugins do not depend on it.
    is_candidate: AtomicBool,
    metrics: Metrics,
    breaker: Breaker,
    poison: PoisonMemory,
}

/// A plugin that was started.
pub(crate) struct Active<T: 'static> {
    pub(crate) pool: Pool<T>,
    /// The event types it wants, exact or `prefix.*`.
    subscriptions: Vec<String>,
    since: Instant,
    /// Ends streams that are still under way when their time is over.
    over: watch::Sender<bool>,
}

impl<T: StoreData> Active<T> {
    /// Lets calls under way end until `deadline`, and no stream beyond that. Returns the number of calls that
    /// had not ended.
    pub(crate) async fn retire(&self, deadline: Instant) -> u32 {
        let left = self.pool.retire(deadline).await;
        self.over.send_replace(true);
        left
    }
}

impl<T: StoreData> Plugin<T> {
    pub(crate) fn new(
        description: Arc<Description>,
        path: PathBuf,
        mut terms: Terms<T>,
        shelf: &Arc<Shelf<T>>,
    ) -> Arc<Self> {
        if crate::contract::offers(&description.info, Operation::Snapshot) {
            terms.pool = terms.pool.keeping_state();
        }
        Arc::new(Self {
            description,
            path,
            shelf: Arc::downgrade(shelf),
            serving: ArcSwapOption::empty(),
            state: Mutex::new(State::Registered),
            failures: AtomicU32::new(0),
            starts: AtomicU64::new(0),
            is_candidate: AtomicBool::new(false),
            metrics: Metrics::default(),
            breaker: Breaker::new(terms.breaker),
            poison: PoisonMemory::new(terms.poison),
            terms,
        })
    }

    /// Its name.
    pub fn name(&self) -> &PluginId {
        self.description.name()
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        self.description.version()
    }

    /// Its world; `None` if it is none of this contract's.
    pub fn world(&self) -> Option<World> {
        self.description.world
    }

    /// What is known of its component.
    pub fn description(&self) -> &Description {
        &self.description
    }

    pub(crate) fn shared_description(&self) -> Arc<Description> {
        self.description.clone()
    }

    /// The folder or file it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is tried out beside the version that serves.
    pub fn is_candidate(&self) -> bool {
        self.is_candidate.load(Ordering::Acquire)
    }

    /// Says whether it is tried out. Once it is not, plugins that depend on its name find it.
    pub fn set_candidate(&self, is: bool) {
        self.is_candidate.store(is, Ordering::Release);
    }

    /// The terms it runs on.
    pub fn terms(&self) -> &Terms<T> {
        &self.terms
    }

    /// What it has done so far.
    pub fn metrics(&self) -> MetricsSnapshot {
        self.metrics.snapshot()
    }

    /// Whether calls are let through to it.
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// How busy its instances are; nothing if it was not started.
    pub fn pool_status(&self) -> PoolStatus {
        self.active().map(|active| active.pool.status()).unwrap_or_default()
    }

    /// The event types it wants, exact or `prefix.*`; none if it was not started.
    pub fn subscriptions(&self) -> Vec<String> {
        self.active().map(|active| active.subscriptions.clone()).unwrap_or_default()
    }

    /// Whether it wants events of this type.
    pub fn wants(&self, event_type: &str) -> bool {
        // Of a plugin that has paused, too: that it was not handed an event is to be told.
        let active = self.serving.load_full().or_else(|| self.active());
        active.is_some_and(|active| {
            let mut wanted = active.subscriptions.iter();
            wanted.any(|wanted| plugin_contract::subscription_covers(wanted, event_type))
        })
    }

    /// Whether it offers `operation`, as its exports say.
    pub fn offers(&self, operation: Operation) -> bool {
        crate::contract::offers(&self.description.info, operation)
    }

    /// Has as many instances ready as `other` has, within 5 s and as far as there is room: for the calls that
    /// come here instead from now on. Until the other one's are gone, both take their room.
    pub async fn warm_like(&self, other: &Self) {
        let (Some(active), Some(other)) = (self.active(), other.active()) else { return };
        let there = other.pool.status();
        let budget = || self.terms.budget_within(START_MAX);
        let warm = active.pool.warm_up(there.busy + there.idle, budget);
        // What is not there by then, calls will make.
        match tokio::time::timeout(START_MAX, warm).await {
            Ok(Err(error @ CoreError::HostExhausted { .. })) => {
                tracing::debug!(plugin = %self.name(), %error, "calls will make their own instances");
            }
            Ok(Err(error)) => self.terms.tell(&error),
            Ok(Ok(())) | Err(_) => {}
        }
    }

    /// Compiles and links it, together with what it is composed with.
    async fn prepare(&self, shelf: &Arc<Shelf<T>>) -> Result<Prepared<T>, CoreError> {
        if let Some(composition) = Composition::of(self, shelf)? {
            // Reads and writes components: not for the executor. A panic in there ends this start.
            let made = tokio::task::spawn_blocking(move || composition.make());
            let late = |_| CoreError::CompileDeadline {
                plugin: self.name().clone(),
                deadline: COMPOSE_MAX,
            };
            let made = tokio::time::timeout(COMPOSE_MAX, made).await.map_err(late)?;
            let artifact = made.map_err(|error| CoreError::Engine(error.into()))??;
            let imports = Peer::imports(shelf, &artifact.description)?;
            return shelf.runtime.prepare(&artifact, &imports).await;
        }
        let imports = Peer::imports(shelf, &self.description)?;
        let (path, bytes_max) = (self.path.clone(), shelf.settings.admission.limits.bytes_max);
        let entrypoint = self.description.manifest.plugin.entrypoint.clone();
        let bytes = move || Ok(read(&path, &entrypoint, bytes_max)?.into());
        shelf.runtime.prepare_described(&self.description, &imports, bytes).await
    }

    /// Compiles, links and initialises it. An instance that is ready waits in its pool.
    async fn make_active(self: &Arc<Self>, shelf: &Arc<Shelf<T>>) -> Result<Active<T>, CoreError> {
        let prepared = self.prepare(shelf).await?;
        let data = self.terms.data.clone();
        let pool = Pool::new(prepared.clone(), self.terms.pool, move || data());
        let budget = self.terms.budget_within(START_MAX);
        let mut first = pool.lease(&budget).await?;
        let mut subscriptions = Vec::new();
        if prepared.offers(Operation::SupportedEvents) {
            subscriptions = first.supported_events(&budget).await?;
            check_subscriptions(&prepared, &subscriptions)?;
        }
        drop(first);
        Ok(Active { pool, subscriptions, since: Instant::now(), over: watch::Sender::new(false) })
    }
}

/// Reads the component of a plugin once more.
pub(crate) fn read(path: &Path, entrypoint: &str, bytes_max: u64) -> Result<Vec<u8>, CoreError> {
    let file = if path.is_dir() { path.join(entrypoint) } else { path.to_owned() };
    read_file(&file, bytes_max)
}

fn check_subscriptions<T: StoreData>(
    plugin: &Prepared<T>,
    subscriptions: &[String],
) -> Result<(), CoreError> {
    let problem = match subscriptions.iter().find(|wanted| !is_subscription(wanted)) {
        Some(wanted) => {
            let wanted = plugin_contract::escape(wanted, 128);
            format!("it wants events of the type `{wanted}`, which is none")
        }
        None if subscriptions.len() > SUBSCRIPTIONS_MAX => {
            format!("it wants more than {SUBSCRIPTIONS_MAX} types of events")
        }
        None => return Ok(()),
    };
    Err(CoreError::ContractMismatch { plugin: plugin.plugin().clone(), problem, source: None })
}
