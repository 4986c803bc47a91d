//! All plugins of a host: which there are, which of them serve, and what they need of each other.
//!
//! Start at [`Registry::load`]. A registry looks after its plugins for as long as it lives: it retires
//! idle instances, asks plugins how they are, and starts those that failed again.
//! Not here: which version answers calls that name none (`host-deploy`).

mod load;
mod maintenance;
mod swap;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use dashmap::DashMap;
use futures::{StreamExt, stream::FuturesUnordered};
use plugin_contract::{Dependency, PluginId};
use semver::{Version, VersionReq};
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    Admission, CoreError, Embedder, HealthSettings, Node, Plugin, PluginState, Runtime, StoreData,
    plugin::Ask, start_plan,
};

pub use swap::{Newcomer, Purpose, Replaced};

/// How a registry admits, starts and looks after plugins.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RegistrySettings {
    /// What is admitted at all.
    pub admission: Admission,
    /// Plugins are started by the first call to them, and not when they are loaded. Default: no.
    pub lazy: bool,
    /// Plugins that are started at one time; the others wait. Default 4.
    pub starts_max: usize,
    /// When plugins are checked, and started again.
    pub health: HealthSettings,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            admission: Admission::default(),
            lazy: false,
            starts_max: 4,
            health: HealthSettings::default(),
        }
    }
}

/// The plugins of a host. Cheap to clone; all clones are one registry.
pub struct Registry<T: 'static> {
    shelf: Arc<Shelf<T>>,
}

impl<T> Clone for Registry<T> {
    fn clone(&self) -> Self {
        Self { shelf: self.shelf.clone() }
    }
}

/// What plugins see of their registry.
pub(crate) struct Shelf<T: 'static> {
    pub(crate) runtime: Runtime<T>,
    pub(crate) embedder: Arc<dyn Embedder<T>>,
    pub(crate) settings: RegistrySettings,
    /// Turns to start.
    pub(crate) starts: Semaphore,
    plugins: DashMap<PluginId, Versions<T>>,
    /// Held while the embedder is told of a change, so that it hears them in order.
    telling: Mutex<()>,
    closing: AtomicBool,
}

/// All versions of one plugin. Replaced as a whole, so that nobody keeps the map locked.
type Versions<T> = Arc<BTreeMap<Version, Arc<Plugin<T>>>>;

/// Something that is a plugin, or should have been, and does not serve.
#[derive(Debug, Clone)]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: Arc<CoreError>,
}

/// What came of loading.
pub struct Loaded<T: 'static> {
    /// Registered now; started, too, unless plugins are loaded lazily or it is among the refused.
    pub registered: Vec<Arc<Plugin<T>>>,
    /// What was not registered, or could not be started.
    pub refused: Vec<Refused>,
}

impl<T: StoreData> Registry<T> {
    /// An empty registry, looked after by a task of the current tokio runtime.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(
        runtime: Runtime<T>,
        embedder: Arc<dyn Embedder<T>>,
        settings: RegistrySettings,
    ) -> Self {
        let shelf = Arc::new(Shelf {
            runtime,
            embedder,
            starts: Semaphore::new(settings.starts_max.max(1)),
            settings,
            plugins: DashMap::new(),
            telling: Mutex::new(()),
            closing: AtomicBool::new(false),
        });
        tokio::spawn(maintenance::look_after(Arc::downgrade(&shelf)));
        Self { shelf }
    }

    /// What compiles and runs its plugins.
    pub fn runtime(&self) -> &Runtime<T> {
        &self.shelf.runtime
    }

    /// One version of a plugin, whatever its state.
    pub fn get(&self, name: &PluginId, version: &Version) -> Option<Arc<Plugin<T>>> {
        self.shelf.versions(name)?.get(version).cloned()
    }

    /// All versions of a plugin, the oldest first.
    pub fn versions(&self, name: &PluginId) -> Vec<Arc<Plugin<T>>> {
        let versions = self.shelf.versions(name);
        versions.map(|versions| versions.values().cloned().collect()).unwrap_or_default()
    }

    /// All versions of all plugins, in no order.
    pub fn all(&self) -> Vec<Arc<Plugin<T>>> {
        self.shelf.all()
    }

    /// Whether a plugin of this name is registered, in whatever version.
    pub fn contains(&self, name: &str) -> bool {
        self.shelf.plugins.contains_key(name)
    }

    /// Loads a plugin that was unloaded, or has failed, and what it needs. Returns when it serves.
    ///
    /// # Errors
    /// Those of starting it; `core/not-loaded` if there is none of this name and version;
    /// `core/retired` if the registry has shut down.
    pub async fn start(&self, name: &PluginId, version: &Version) -> Result<(), CoreError> {
        let plugin = self.open(name, version)?;
        self.shelf.revive(&plugin);
        plugin.start(Ask::Operator).await.map_err(CoreError::Shared)
    }

    /// Takes a plugin out of service, lets its calls end until `deadline`, and shuts its instances down.
    /// It stays registered. Returns the number of calls that had not ended by then.
    ///
    /// # Errors
    /// `core/still-needed` if plugins that serve depend on it and no other version satisfies them;
    /// `core/not-loaded` if there is none of this name and version.
    pub async fn unload(
        &self,
        name: &PluginId,
        version: &Version,
        deadline: Instant,
    ) -> Result<u32, CoreError> {
        let plugin = self.known(name, version)?;
        let by = self.shelf.dependents(&plugin);
        if !by.is_empty() {
            return Err(CoreError::StillNeeded { plugin: name.clone(), by });
        }
        Ok(plugin.unload(deadline).await)
    }

    /// The same, if the registry still starts plugins.
    fn open(&self, name: &PluginId, version: &Version) -> Result<Arc<Plugin<T>>, CoreError> {
        if self.shelf.closing.load(Ordering::Acquire) {
            return Err(CoreError::Retired { plugin: name.clone() });
        }
        self.known(name, version)
    }

    fn known(&self, name: &PluginId, version: &Version) -> Result<Arc<Plugin<T>>, CoreError> {
        self.get(name, version).ok_or_else(|| CoreError::NotLoaded { plugin: name.clone() })
    }

    /// Has the embedder look anew at who serves under this name.
    pub fn look_anew(&self, name: &PluginId) {
        self.shelf.changed(name);
    }

    /// Asks every plugin now how it is, instead of when its time comes.
    pub async fn check_health(&self) {
        self.shelf.check_health(self.shelf.all()).await;
    }

    /// Takes all plugins out of service, those that need others before those. Calls under way may end
    /// until `deadline`. Returns the number of those that did not. The registry loads nothing from then on.
    pub async fn shutdown(&self, deadline: Instant) -> u32 {
        self.shelf.closing.store(true, Ordering::Release);
        let plugins = self.shelf.all();
        let nodes: Vec<Node<'_>> =
            plugins.iter().map(|plugin| Node::of(&plugin.description().manifest)).collect();
        let plan = start_plan(&nodes);
        // Those that lack something have nobody to wait for.
        let lacking: Vec<usize> = plan.refused.iter().map(|(at, _)| *at).collect();
        let mut left = 0;
        for wave in [lacking].iter().chain(plan.waves().iter().rev()) {
            let unloading = wave.iter().map(|at| plugins[*at].unload(deadline));
            let ended: Vec<u32> = unloading.collect::<FuturesUnordered<_>>().collect().await;
            left += ended.into_iter().sum::<u32>();
        }
        left
    }
}

impl<T: StoreData> Shelf<T> {
    /// What serves under this name may have changed.
    pub(crate) fn changed(&self, name: &PluginId) {
        let _turn = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = self.versions(name).unwrap_or_default();
        let versions: Vec<_> = versions.values().cloned().collect();
        self.embedder.changed(name, &versions);
    }

    fn versions(&self, name: &PluginId) -> Option<Versions<T>> {
        // The guard ends with this line: it is a lock.
        self.plugins.get(name).map(|versions| versions.value().clone())
    }

    fn all(&self) -> Vec<Arc<Plugin<T>>> {
        let mut all = Vec::with_capacity(self.plugins.len());
        for versions in &self.plugins {
            all.extend(versions.value().values().cloned());
        }
        all
    }

    /// Lets what `plugin` needs be started again, though it was unloaded.
    fn revive(&self, plugin: &Plugin<T>) {
        for (needs, Dependency { version: wanted, .. }) in
            &plugin.description().manifest.dependencies
        {
            // There are no circles on a shelf.
            if let Some(dependency) = self.find(needs, wanted)
                && dependency.revive()
            {
                self.revive(&dependency);
            }
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// The newest version that `wanted` takes: one that serves if there is any.
    pub(crate) fn find(&self, name: &PluginId, wanted: &VersionReq) -> Option<Arc<Plugin<T>>> {
        let versions = self.versions(name)?;
        // Of those that are tried out, only if there is no other.
        let tried =
            |is: bool| versions.iter().rev().filter(move |(_, plugin)| plugin.is_candidate() == is);
        let fitting =
            || tried(false).chain(tried(true)).filter(|(version, _)| wanted.matches(version));
        let serving = fitting().find(|(_, plugin)| plugin.state() == PluginState::Serving);
        serving.or_else(|| fitting().next()).map(|(_, plugin)| plugin.clone())
    }

    /// The same, among the other versions of `plugin` that serve, or would.
    pub(crate) fn find_but(
        &self,
        wanted: &VersionReq,
        plugin: &Plugin<T>,
    ) -> Option<Arc<Plugin<T>>> {
        let versions = self.versions(plugin.name())?;
        let mut others = versions.values().rev().filter(|other| {
            other.version() != plugin.version()
                && !other.is_candidate()
                && wanted.matches(other.version())
                && (other.state() == PluginState::Serving
                    || (self.settings.lazy && other.state() == PluginState::Registered))
        });
        others.next().cloned()
    }

    /// The plugins that could not go on without `plugin`.
    fn dependents(&self, plugin: &Plugin<T>) -> Vec<String> {
        let versions = self.versions(plugin.name()).unwrap_or_default();
        let serves = |plugin: &Plugin<T>| plugin.active().is_some();
        let needs = |other: &Arc<Plugin<T>>| {
            let dependencies = &other.description().manifest.dependencies;
            let Some(Dependency { version: wanted, .. }) = dependencies.get(plugin.name()) else {
                return false;
            };
            let else_served = versions.values().any(|twin| {
                twin.version() != plugin.version() && wanted.matches(twin.version()) && serves(twin)
            });
            serves(other) && wanted.matches(plugin.version()) && !else_served
        };
        let mut by: Vec<String> = (self.all().iter())
            .filter(|other| needs(other))
            .map(|other| format!("`{}` {}", other.name(), other.version()))
            .collect();
        by.sort();
        by
    }

    /// Puts `plugin` on the shelf; the first of its name and version stays, and is returned.
    fn add(&self, plugin: &Arc<Plugin<T>>) -> Result<(), Arc<Plugin<T>>> {
        let mut versions = self.plugins.entry(plugin.name().clone()).or_default();
        if let Some(first) = versions.get(plugin.version()) {
            return Err(first.clone());
        }
        Arc::make_mut(&mut versions).insert(plugin.version().clone(), plugin.clone());
        Ok(())
    }

    /// Puts `new` where `old` is, in one step. Returns what else had its version, and is there no longer.
    fn swap(&self, old: &Arc<Plugin<T>>, new: &Arc<Plugin<T>>) -> Option<Arc<Plugin<T>>> {
        let mut versions = self.plugins.entry(old.name().clone()).or_default();
        let versions = Arc::make_mut(&mut versions);
        if versions.get(old.version()).is_some_and(|there| Arc::ptr_eq(there, old)) {
            versions.remove(old.version());
        }
        versions.insert(new.version().clone(), new.clone())
    }

    /// Takes `plugin` off the shelf.
    fn remove(&self, plugin: &Arc<Plugin<T>>) {
        if let Some(mut versions) = self.plugins.get_mut(plugin.name())
            // Another may have taken its place meanwhile.
            && versions.get(plugin.version()).is_some_and(|there| Arc::ptr_eq(there, plugin))
        {
            Arc::make_mut(&mut versions).remove(plugin.version());
        }
        self.plugins.remove_if(plugin.name(), |_, versions| versions.is_empty());
    }
}
