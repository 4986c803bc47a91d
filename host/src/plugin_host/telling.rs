//! What there is to tell of a host and its plugins.

use std::{path::PathBuf, sync::Arc};

use host_core::{
    BreakerState, CodeMetrics, CoreError, EngineMetrics, MetricsSnapshot, PluginState, PoolStatus,
};
use host_security::Grant;
use plugin_contract::{Digest, PluginId, World};
use semver::Version;

use super::{Inner, PluginHost};
use crate::{AuditCounts, HostError, Learned, PluginRef, routes::HostPlugin};

/// Something in a plugin directory that does not serve.
#[derive(Debug)]
pub struct Refused {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub error: HostError,
    /// Where it stands: failed for good, or to be tried again.
    pub state: PluginState,
}

/// A plugin that serves, or would.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// Its name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// Whether calls that name no version go to this one.
    pub is_default: bool,
    /// Where it stands.
    pub state: PluginState,
    /// Its world; `None` if it is none of this contract's.
    pub world: Option<World>,
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

/// What one revision of a plugin has done so far.
#[derive(Debug, Clone)]
pub struct PluginMetrics {
    /// Its name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// Where it stands.
    pub state: PluginState,
    /// Whether calls are let through to it.
    pub breaker: BreakerState,
    /// Its calls.
    pub calls: MetricsSnapshot,
    /// Its instances.
    pub pool: PoolStatus,
}

impl PluginHost {
    /// What does not serve, and why: what was never let in, and what has failed.
    pub fn refused(&self) -> Vec<Arc<Refused>> {
        let mut refused: Vec<_> = self.inner.refused().values().cloned().collect();
        let failed = self.inner.registry.all().into_iter().filter_map(|plugin| {
            let error = HostError::from(CoreError::Shared(plugin.trouble()?));
            let (path, state) = (plugin.path().to_owned(), plugin.state());
            Some(Arc::new(Refused { path, error, state }))
        });
        refused.extend(failed);
        refused.sort_by(|a, b| a.path.cmp(&b.path));
        refused
    }

    /// What serves, or would if it were called or loaded, by name and version. What has failed is among
    /// the [refused](PluginHost::refused).
    pub fn plugins(&self) -> Vec<PluginInfo> {
        let mut plugins = self.inner.registry.all();
        plugins.retain(|plugin| plugin.trouble().is_none());
        plugins.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        plugins.iter().map(|plugin| self.inner.info(plugin)).collect()
    }

    /// One plugin.
    ///
    /// # Errors
    /// `host/unknown-plugin`.
    pub fn plugin(&self, plugin: &PluginRef) -> Result<PluginInfo, HostError> {
        let found = self.inner.find(plugin)?;
        Ok(self.inner.info(&found))
    }

    /// What each plugin has done so far, by name and version.
    pub fn metrics(&self) -> Vec<PluginMetrics> {
        let mut plugins = self.inner.registry.all();
        plugins.sort_by(|a, b| (a.name(), a.version()).cmp(&(b.name(), b.version())));
        let metrics = |plugin: &HostPlugin| PluginMetrics {
            name: plugin.name().clone(),
            version: plugin.version().clone(),
            state: plugin.state(),
            breaker: plugin.breaker(),
            calls: plugin.metrics(),
            pool: plugin.pool_status(),
        };
        plugins.iter().map(metrics).collect()
    }

    /// What became of compiled code.
    pub fn code_metrics(&self) -> CodeMetrics {
        self.inner.registry.runtime().code_metrics()
    }

    /// What the engines have handed out.
    pub fn engine_metrics(&self) -> Vec<EngineMetrics> {
        self.inner.registry.runtime().engine_metrics()
    }

    /// What a plugin was seen to use, by a host that was built to [learn](crate::PluginHostBuilder::learn) it.
    ///
    /// # Errors
    /// `host/unknown-plugin`.
    pub fn learned(&self, plugin: &PluginRef) -> Result<Learned, HostError> {
        let versions = self.inner.versions(plugin)?;
        let usage = self.inner.terms.usage.clone().unwrap_or_default();
        let unknown = || HostError::UnknownPlugin(plugin.clone());
        Ok(Learned::of(versions.last().ok_or_else(unknown)?.description(), &usage))
    }

    /// How often plugins were held to their grants, and how often the audit log could not be written.
    pub fn audit_counts(&self) -> AuditCounts {
        self.inner.terms.audit.counts()
    }
}

impl Inner {
    fn info(&self, plugin: &HostPlugin) -> PluginInfo {
        let routed = self.terms.routes.stable(plugin.name());
        let manifest = &plugin.description().manifest;
        PluginInfo {
            name: plugin.name().clone(),
            version: plugin.version().clone(),
            is_default: routed.is_some_and(|routed| Arc::ptr_eq(&routed, plugin)),
            state: plugin.state(),
            world: plugin.world(),
            description: manifest.plugin.description.clone(),
            accepts: manifest.plugin.accepts.clone(),
            subscriptions: plugin.subscriptions(),
            // It was granted this when it was registered, and a policy does not change.
            grant: self.terms.grant(manifest),
            digest: plugin.description().info.digest,
            path: plugin.path().to_owned(),
            pool: plugin.pool_status(),
        }
    }
}
