//! The host: plugins by name, and calls to them.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dashmap::DashMap;
use futures::{StreamExt, stream::FuturesUnordered};
use host_core::{CallBudget, Caller, EventCall, Operation, PoolStatus, ProcessCall, ProcessReply};
use host_deploy::{Draining, Revision, Router};
use host_ipc::EventLog;
use host_security::Grant;
use plugin_contract::{Digest, Explain, PluginId, World};
use semver::{Version, VersionReq};

use crate::{
    HostError, PluginHostBuilder, PluginRef,
    loader::{self, Loaded, Parts},
};

/// Plugins that serve, and the one way to call them. Cheap to clone; all clones are one host.
#[derive(Clone)]
pub struct PluginHost {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) parts: Parts,
    plugins: DashMap<PluginId, Arc<Entry>>,
    refused: Mutex<Vec<Arc<Refused>>>,
    /// One load at a time.
    loading: tokio::sync::Mutex<()>,
    closing: AtomicBool,
}

/// All versions of one plugin.
struct Entry {
    versions: BTreeMap<Version, Arc<Loaded>>,
    /// To the version that answers calls that name none: the newest.
    router: Router<Arc<Loaded>>,
}

/// Something in a plugin directory that does not serve.
#[derive(Debug)]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: HostError,
}

impl Refused {
    pub(crate) fn new(path: &Path, error: HostError) -> Self {
        Self { path: path.to_owned(), error }
    }
}

/// A plugin that serves.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// Its name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// Whether calls that name no version go to this one.
    pub is_default: bool,
    /// Its world.
    pub world: World,
    /// One sentence for people.
    pub description: Option<String>,
    /// The media types that `process` takes; empty: any.
    pub accepts: Vec<String>,
    /// The event types it is called for.
    pub subscriptions: Vec<String>,
    /// What it was granted.
    pub grant: Grant,
    /// Of its component.
    pub digest: Digest,
    /// Where it came from.
    pub path: PathBuf,
    /// How busy it is.
    pub pool: PoolStatus,
}

/// What became of handing an event to one plugin.
#[derive(Debug)]
pub struct Delivery {
    /// Which.
    pub plugin: PluginId,
    /// Whether it handled the event.
    pub outcome: Result<(), HostError>,
}

impl PluginHost {
    /// A host that has no plugins, keeps nothing, and grants nothing, until told otherwise.
    pub fn builder() -> PluginHostBuilder {
        PluginHostBuilder::default()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let inner = Inner {
            parts,
            plugins: DashMap::new(),
            refused: Mutex::default(),
            loading: tokio::sync::Mutex::default(),
            closing: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Loads the plugins of one more directory, or the one plugin that the directory or file is.
    /// What cannot be loaded is added to [`PluginHost::refused`].
    ///
    /// What is there already in the same version stays, and its twin is refused.
    ///
    /// # Errors
    /// `core/unreadable` if the directory cannot be listed, `host/shutting-down`.
    pub async fn load(&self, path: &Path) -> Result<(), HostError> {
        self.load_only(path, None).await
    }

    pub(crate) async fn load_only(
        &self,
        path: &Path,
        only: Option<&PluginId>,
    ) -> Result<(), HostError> {
        let _turn = self.inner.loading.lock().await;
        if !self.is_ready() {
            return Err(HostError::ShuttingDown);
        }
        let refused = loader::load(&self.inner, path, only).await?;
        self.inner.refused().extend(refused.into_iter().map(Arc::new));
        Ok(())
    }

    /// What does not serve, and why.
    pub fn refused(&self) -> Vec<Arc<Refused>> {
        self.inner.refused().clone()
    }

    /// What serves, by name and version.
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let mut plugins: Vec<PluginInfo> =
            self.inner.plugins.iter().flat_map(|entry| entry.infos()).collect();
        plugins.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        plugins
    }

    /// One plugin.
    ///
    /// # Errors
    /// `host/unknown-plugin`.
    pub fn plugin(&self, plugin: &PluginRef) -> Result<PluginInfo, HostError> {
        let (_, loaded) = self.inner.find(plugin)?;
        let entry = self.inner.entry(plugin)?;
        let version = loaded.prepared().version();
        let info = entry.infos().into_iter().find(|info| info.version == *version);
        info.ok_or_else(|| HostError::UnknownPlugin(plugin.clone()))
    }

    /// Turns one input into one output.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `host/unsupported-media-type`, and those of
    /// [`host_core::Instance::process`] and [`host_core::Pool::lease`].
    pub async fn process(
        &self,
        plugin: &PluginRef,
        call: ProcessCall,
    ) -> Result<ProcessReply, HostError> {
        let (_lease, loaded) = self.inner.find(plugin)?;
        loaded.check_accepts(plugin, &call.content_type)?;
        let budget = loaded.budget();
        Ok(loaded.pool.lease(&budget).await?.process(call, &budget).await?)
    }

    /// Whether the plugin would take this input, as far as it can tell without doing the work.
    ///
    /// # Errors
    /// As for [`PluginHost::process`].
    pub async fn validate(&self, plugin: &PluginRef, call: ProcessCall) -> Result<bool, HostError> {
        let (_lease, loaded) = self.inner.find(plugin)?;
        loaded.check_accepts(plugin, &call.content_type)?;
        let budget = loaded.budget();
        Ok(loaded.pool.lease(&budget).await?.validate(call, &budget).await?)
    }

    /// Whether the plugin is there, offers `operation`, and takes such inputs: what can be known
    /// before an input is read.
    ///
    /// # Errors
    /// `host/unknown-plugin`, `core/not-offered`, `host/unsupported-media-type`.
    pub fn check(
        &self,
        plugin: &PluginRef,
        operation: Operation,
        content_type: &str,
    ) -> Result<(), HostError> {
        let (_lease, loaded) = self.inner.find(plugin)?;
        if !loaded.prepared().offers(operation) {
            let plugin = plugin.name.clone();
            return Err(host_core::CoreError::NotOffered { plugin, operation }.into());
        }
        loaded.check_accepts(plugin, content_type)
    }

    /// Hands an event to every plugin that wants its type, each within its own limits and at the same
    /// time. One that fails or is slow holds up no other.
    pub async fn publish(&self, caller: &Caller, event: &EventCall) -> Vec<Delivery> {
        let subscribers: Vec<_> = self
            .inner
            .plugins
            .iter()
            .filter_map(|entry| entry.router.route().ok())
            .filter(|lease| {
                lease.subscriptions.iter().any(|wanted| matches(wanted, &event.event_type))
            })
            .collect();
        let deliver = |lease: host_deploy::Lease<Arc<Loaded>>| async move {
            let budget = lease.budget();
            let handled = async {
                let mut instance = lease.pool.lease(&budget).await?;
                instance.on_event(caller, event.clone(), &budget).await
            };
            let plugin = lease.revision().plugin.clone();
            Delivery { plugin, outcome: handled.await.map_err(HostError::from) }
        };
        let deliveries: FuturesUnordered<_> = subscribers.into_iter().map(deliver).collect();
        let mut deliveries: Vec<Delivery> = deliveries.collect().await;
        deliveries.sort_by(|a, b| a.plugin.cmp(&b.plugin));
        deliveries
    }

    /// The events that plugins emitted.
    pub fn events(&self) -> &EventLog {
        &self.inner.parts.events
    }

    /// Whether a plugin of this name serves, in whatever version.
    pub fn serves(&self, name: &str) -> bool {
        self.inner.serves(name)
    }

    /// Whether the host takes calls.
    pub fn is_ready(&self) -> bool {
        !self.inner.closing.load(Ordering::Acquire)
    }

    /// Takes no further calls, waits for those under way, and lets idle instances shut down; all of it
    /// within `timeout`. Returns the number of calls that were still under way at the end.
    pub async fn shutdown(&self, timeout: Duration) -> u64 {
        self.inner.closing.store(true, Ordering::Release);
        // A load under way ends first; the next one finds the host closed.
        let _turn = self.inner.loading.lock().await;
        let deadline = CallBudget::new(timeout, Duration::ZERO).deadline();
        let entries: Vec<Arc<Entry>> =
            self.inner.plugins.iter().map(|entry| entry.value().clone()).collect();
        // All are closed before the first is waited for.
        let draining: Vec<_> = entries.iter().filter_map(|entry| entry.router.close()).collect();
        let drained = draining.iter().map(|draining| draining.drained());
        let _ = tokio::time::timeout_at(deadline, futures::future::join_all(drained)).await;

        let retired = entries.iter().flat_map(|entry| entry.versions.values()).flat_map(|loaded| {
            let budget = loaded.budget().until(deadline);
            loaded.pool.take_idle().into_iter().map(move |mut instance| async move {
                if let Err(error) = instance.shutdown(&budget).await {
                    let plugin = instance.prepared().plugin();
                    tracing::warn!(%plugin, code = error.code(), "a plugin did not shut down well");
                }
            })
        });
        retired.collect::<FuturesUnordered<_>>().collect::<()>().await;
        draining.iter().map(Draining::in_flight).sum()
    }
}

/// Whether a subscription, exact or `prefix.*`, covers an event type.
fn matches(wanted: &str, event_type: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(prefix) => prefix.ends_with('.') && event_type.starts_with(prefix),
        None => wanted == event_type,
    }
}

impl Inner {
    /// Has a plugin serve. Called by one load at a time.
    pub(crate) fn insert(&self, plugin: Arc<Loaded>) {
        let prepared = plugin.prepared();
        let name = prepared.plugin().clone();
        let mut versions = match self.plugins.get(&name) {
            Some(entry) => entry.versions.clone(),
            None => BTreeMap::new(),
        };
        versions.insert(prepared.version().clone(), plugin);
        if let Some((version, newest)) = versions.last_key_value() {
            let revision = Revision {
                plugin: name.clone(),
                version: version.clone(),
                digest: newest.prepared().info().digest,
            };
            let router = Router::new(revision, newest.clone());
            self.plugins.insert(name, Arc::new(Entry { versions, router }));
        }
    }

    /// Everything that serves.
    pub(crate) fn all(&self) -> Vec<Arc<Loaded>> {
        self.plugins
            .iter()
            .flat_map(|entry| entry.versions.values().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Whether a plugin of this name serves.
    pub(crate) fn serves(&self, name: &str) -> bool {
        self.plugins.contains_key(name)
    }

    fn entry(&self, plugin: &PluginRef) -> Result<Arc<Entry>, HostError> {
        // The guard must not outlive this line: it is a lock.
        let entry = self.plugins.get(&plugin.name).map(|entry| entry.value().clone());
        entry.ok_or_else(|| HostError::UnknownPlugin(plugin.clone()))
    }

    /// The revision that answers a call, and the lease that keeps it from being retired meanwhile.
    fn find(
        &self,
        plugin: &PluginRef,
    ) -> Result<(host_deploy::Lease<Arc<Loaded>>, Arc<Loaded>), HostError> {
        if self.closing.load(Ordering::Acquire) {
            return Err(HostError::ShuttingDown);
        }
        let entry = self.entry(plugin)?;
        let lease = entry.router.route().map_err(|_| HostError::ShuttingDown)?;
        let loaded = match &plugin.version {
            None => (*lease).clone(),
            Some(version) => entry
                .versions
                .get(version)
                .cloned()
                .ok_or_else(|| HostError::UnknownPlugin(plugin.clone()))?,
        };
        Ok((lease, loaded))
    }

    /// The newest version that a requirement takes.
    pub(crate) fn find_matching(
        &self,
        name: &PluginId,
        wanted: &VersionReq,
    ) -> Option<Arc<Loaded>> {
        let entry = self.plugins.get(name)?.value().clone();
        let newest_first = entry.versions.iter().rev();
        newest_first.filter(|(version, _)| wanted.matches(version)).map(|(_, v)| v.clone()).next()
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Arc<Refused>>> {
        // Nothing panics while it holds the lock.
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn infos(&self) -> Vec<PluginInfo> {
        let default = self.router.revision().map(|revision| revision.version);
        let info = |(version, loaded): (&Version, &Arc<Loaded>)| {
            let prepared = loaded.prepared();
            let section = &prepared.manifest().plugin;
            PluginInfo {
                name: section.name.clone(),
                version: version.clone(),
                is_default: Some(version) == default.as_ref(),
                world: prepared.world(),
                description: section.description.clone(),
                accepts: section.accepts.clone(),
                subscriptions: loaded.subscriptions.clone(),
                grant: loaded.grant.clone(),
                digest: prepared.info().digest,
                path: loaded.path.clone(),
                pool: loaded.pool.status(),
            }
        };
        self.versions.iter().map(info).collect()
    }
}

impl Loaded {
    fn check_accepts(&self, plugin: &PluginRef, content_type: &str) -> Result<(), HostError> {
        let manifest = self.prepared().manifest();
        if manifest.accepts(content_type) {
            return Ok(());
        }
        Err(HostError::UnsupportedMediaType {
            plugin: plugin.clone(),
            content_type: plugin_contract::escape(content_type, 100),
            accepts: manifest.plugin.accepts.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn subscriptions_are_exact_or_a_prefix() {
        for (wanted, event_type, matching) in [
            ("log.line", "log.line", true),
            ("log.*", "log.line", true),
            ("log.*", "log.a.b", true),
            ("log.line", "log.lines", false),
            ("log*", "log.line", false),
            ("*", "log.line", false),
            ("log.*", "log", false),
            ("log.*", "logs.line", false),
        ] {
            assert_eq!(matches(wanted, event_type), matching, "{wanted} for {event_type}");
        }
    }
}
