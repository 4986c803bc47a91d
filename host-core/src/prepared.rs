//! A plugin that is compiled and linked, ready for any number of instances.

use std::{sync::Arc, time::Duration};

use plugin_contract::{ComponentInfo, Manifest, PluginId, World, escape};
use semver::Version;
use wasmtime::{Engine, Store, component::InstancePre};

use crate::{
    Artifact, CallBudget, CoreError, Instance, Operation, StoreData, contract::Exports,
    meter::CpuMeter,
};

/// One revision of a plugin, compiled and linked. Cheap to clone; the machine code goes with the
/// last clone and the last instance.
pub struct Prepared<T: 'static> {
    inner: Arc<Inner<T>>,
}

impl<T> Clone for Prepared<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<T: 'static> {
    manifest: Manifest,
    info: ComponentInfo,
    world: World,
    pre: InstancePre<T>,
    exports: Exports,
    tick: Duration,
}

impl<T: StoreData> Prepared<T> {
    pub(crate) fn new(
        artifact: &Artifact,
        pre: InstancePre<T>,
        exports: Exports,
        tick: Duration,
    ) -> Self {
        let inner = Inner {
            manifest: artifact.manifest.clone(),
            info: artifact.info.clone(),
            world: artifact.world,
            pre,
            exports,
            tick,
        };
        Self { inner: Arc::new(inner) }
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &PluginId {
        &self.inner.manifest.plugin.name
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        &self.inner.manifest.plugin.version
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// What its bytes told.
    pub fn info(&self) -> &ComponentInfo {
        &self.inner.info
    }

    /// Its world.
    pub fn world(&self) -> World {
        self.inner.world
    }

    /// Whether it offers `operation`.
    pub fn offers(&self, operation: Operation) -> bool {
        self.inner.exports.offer(operation)
    }

    /// Makes an instance, in a store of its own that holds `data`. Start functions run within `budget`.
    ///
    /// # Errors
    /// `core/contract-mismatch` if an export has another shape than the contract; else as for calls.
    /// No instance is left behind.
    pub async fn instantiate(
        &self,
        data: T,
        budget: &CallBudget,
    ) -> Result<Instance<T>, CoreError> {
        let mut store = Store::try_new(self.engine(), data)
            .map_err(|source| CoreError::HostExhausted { plugin: self.plugin().clone(), source })?;
        store.limiter(T::limiter);
        T::configure(&mut store);
        let meter = CpuMeter::install(&mut store, self.inner.tick);
        Instance::start(self.clone(), store, meter, budget).await
    }

    /// Makes an instance that is ready for calls: who it says it is agrees with the manifest, and it
    /// has initialised.
    ///
    /// # Errors
    /// `core/identity-mismatch`, `core/initialize-failed`; else as for [`Prepared::instantiate`].
    pub async fn start(
        &self,
        data: T,
        config: &[(String, String)],
        budget: &CallBudget,
    ) -> Result<Instance<T>, CoreError> {
        let mut instance = self.instantiate(data, budget).await?;
        if let Some(says) = instance.metadata(budget).await?
            && (says.name != self.plugin().as_str() || says.version != self.version().to_string())
        {
            return Err(CoreError::IdentityMismatch {
                plugin: self.plugin().clone(),
                version: self.version().clone(),
                says: escape(&format!("{} {}", says.name, says.version), 200),
            });
        }
        instance.initialize(config.to_vec(), budget).await?;
        Ok(instance)
    }

    pub(crate) fn pre(&self) -> &InstancePre<T> {
        &self.inner.pre
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.inner.exports
    }

    fn engine(&self) -> &Engine {
        self.inner.pre.engine()
    }
}
