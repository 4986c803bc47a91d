//! A plugin that is compiled and linked, ready for any number of instances.

use std::sync::{Arc, OnceLock};

use plugin_contract::{ComponentInfo, Manifest, PluginId, World, escape};
use semver::Version;
use wasmtime::{Engine, Store, component::InstancePre};

use crate::{
    CallBudget, CoreError, Description, FunctionInfo, Instance, Operation, StoreData,
    contract::{self, Exports},
    coredump::Coredumps,
    dynamic::Functions,
    meter::CpuMeter,
    pool::{Crowd, Reaper},
    runtime::Shared,
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
    plugin: Arc<Description>,
    pre: InstancePre<T>,
    exports: Exports,
    functions: OnceLock<Functions>,
    shared: Arc<Shared<T>>,
}

impl<T: StoreData> Prepared<T> {
    pub(crate) fn new(
        plugin: Arc<Description>,
        pre: InstancePre<T>,
        exports: Exports,
        shared: Arc<Shared<T>>,
    ) -> Self {
        let functions = OnceLock::new();
        Self { inner: Arc::new(Inner { plugin, pre, exports, functions, shared }) }
    }

    /// The plugin's name.
    pub fn plugin(&self) -> &PluginId {
        self.inner.plugin.name()
    }

    /// Its version.
    pub fn version(&self) -> &Version {
        self.inner.plugin.version()
    }

    /// Its manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.plugin.manifest
    }

    /// What its bytes told.
    pub fn info(&self) -> &ComponentInfo {
        &self.inner.plugin.info
    }

    /// Its world; `None` if it is none of this contract's.
    pub fn world(&self) -> Option<World> {
        self.inner.plugin.world
    }

    /// Whether it offers `operation`.
    pub fn offers(&self, operation: Operation) -> bool {
        contract::offers(&self.inner.plugin.info, operation)
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
        let meter = CpuMeter::install(&mut store, self.inner.shared.engines.tick());
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
        instance.initialize(config, budget).await?;
        Ok(instance)
    }

    /// The functions it exports, those of its world included.
    pub fn functions(&self) -> Vec<FunctionInfo> {
        self.dynamic().list()
    }

    pub(crate) fn dynamic(&self) -> &Functions {
        // Found when the first call by name needs them: most plugins are never called so.
        self.inner.functions.get_or_init(|| Functions::find(self.inner.pre.component()))
    }

    pub(crate) fn pre(&self) -> &InstancePre<T> {
        &self.inner.pre
    }

    pub(crate) fn exports(&self) -> &Exports {
        &self.inner.exports
    }

    pub(crate) fn crowd(&self) -> &Crowd<T> {
        &self.inner.shared.pools
    }

    pub(crate) fn reaper(&self) -> &Reaper {
        &self.inner.shared.reaper
    }

    pub(crate) fn coredumps(&self) -> Option<&Coredumps> {
        self.inner.shared.coredumps.as_ref()
    }

    fn engine(&self) -> &Engine {
        self.inner.pre.engine()
    }
}
