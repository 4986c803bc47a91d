//! Engines and linkers: what is the same for all plugins of a host.

use std::sync::Arc;

use plugin_contract::{Caller, InterfaceName, Lane};
use wasmtime::{ResourceLimiter, Store, component::Linker};

use crate::{
    Artifact, CodeMetrics, CodeSettings, CoreError, Description, EngineMetrics, EngineSettings,
    Imports, Prepared,
    code::Code,
    coredump::Coredumps,
    engine::Engines,
    link,
    pool::{Crowd, Reaper},
};

/// Whose ceiling refused a guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryRefused {
    /// The plugin's own.
    Plugin,
    /// That of all plugins together.
    Host,
}

/// What the runtime must know of the data in each store. All else in it is the embedder's.
pub trait StoreData: Send + Sized + 'static {
    /// What holds the store to its share of memory. Asked for the memories a component starts with, too.
    fn limiter(&mut self) -> &mut dyn ResourceLimiter;

    /// Sets the limits that the engine keeps for a store, before any guest code runs in it.
    fn configure(store: &mut Store<Self>) {
        let _ = store;
    }

    /// Whether the limiter refused memory since the call began: then giving up is explained by that.
    fn memory_refused(&self) -> Option<MemoryRefused> {
        None
    }

    /// The status with which the guest ended itself, if that is what `error` says.
    fn exit_status(error: &wasmtime::Error) -> Option<i32> {
        let _ = error;
        None
    }

    /// The guest is about to be entered, for `caller`, until its deadline. Called before each entry, start
    /// functions included.
    fn begin_call(&mut self, caller: Caller) {
        let _ = caller;
    }

    /// Who the current call is for, as [`StoreData::begin_call`] was told. What a guest asks of
    /// another plugin is asked in this name, whatever the guest says.
    fn caller(&self) -> Caller {
        Caller::default()
    }
}

/// Compiles, links and runs plugins. Cheap to clone; all clones share two engines.
pub struct Runtime<T: 'static> {
    shared: Arc<Shared<T>>,
    code: Code,
    linkers: Arc<Linkers<T>>,
    /// The interfaces in both linkers, by package and name.
    offered: Arc<[String]>,
}

impl<T> Clone for Runtime<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            code: self.code.clone(),
            linkers: self.linkers.clone(),
            offered: self.offered.clone(),
        }
    }
}

/// What the instances of all plugins have in common.
pub(crate) struct Shared<T: 'static> {
    pub(crate) engines: Engines,
    pub(crate) pools: Crowd<T>,
    pub(crate) reaper: Reaper,
    pub(crate) coredumps: Option<Coredumps>,
}

/// One for each engine.
struct Linkers<T: 'static> {
    unary: Linker<T>,
    stream: Linker<T>,
}

/// Adds interfaces to the linker of an engine.
type Link<T> = Box<dyn Fn(&mut Linker<T>) -> wasmtime::Result<()>>;

/// Configures a [`Runtime`]; see [`Runtime::builder`].
pub struct RuntimeBuilder<T: 'static> {
    settings: EngineSettings,
    code: CodeSettings,
    links: Vec<Link<T>>,
    offered: Vec<String>,
}

impl<T: StoreData> Runtime<T> {
    /// A runtime that offers guests nothing yet.
    pub fn builder(settings: EngineSettings) -> RuntimeBuilder<T> {
        RuntimeBuilder {
            settings,
            code: CodeSettings::default(),
            links: Vec::new(),
            offered: Vec::new(),
        }
    }

    /// The interfaces that guests may import, by package and name.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Whether guests may import this interface.
    pub(crate) fn offers(&self, name: &InterfaceName) -> bool {
        let path = format!("{}/{}", name.package, name.interface);
        self.offered.contains(&path)
    }

    /// Compiles and links what was admitted. Code that was compiled before is found again, where a cache
    /// was set up. Nothing here blocks the executor.
    ///
    /// # Errors
    /// `core/compile-failed` and its like, `core/unknown-import`, `core/contract-mismatch`.
    pub async fn prepare(
        &self,
        artifact: &Artifact,
        imports: &Imports,
    ) -> Result<Prepared<T>, CoreError> {
        let bytes = artifact.bytes.clone();
        self.prepare_described(&artifact.description, imports, move || Ok(bytes)).await
    }

    /// The same, for a plugin whose bytes are not at hand: they are asked for if they must be compiled.
    pub(crate) async fn prepare_described(
        &self,
        plugin: &Arc<Description>,
        imports: &Imports,
        bytes: impl FnOnce() -> Result<Arc<[u8]>, CoreError> + Send + 'static,
    ) -> Result<Prepared<T>, CoreError> {
        // Compiling is the expensive part: refuse before it what cannot be linked after it.
        link::check_imports(plugin, &self.offered, imports)?;
        let (lane, digest) = (plugin.info.lane, plugin.info.digest);
        let component = self.code.component(plugin.name(), lane, digest, bytes).await?;
        let linker = match lane {
            Lane::Unary => &self.linkers.unary,
            Lane::Stream => &self.linkers.stream,
        };
        link::link(linker, plugin, &component, imports, &self.shared)
    }

    /// What became of code: found, compiled, thrown away.
    pub fn code_metrics(&self) -> CodeMetrics {
        self.code.metrics()
    }

    /// What the engines have handed out.
    pub fn engine_metrics(&self) -> Vec<EngineMetrics> {
        self.shared.engines.metrics()
    }

    pub(crate) fn pools(&self) -> &Crowd<T> {
        &self.shared.pools
    }
}

impl<T: StoreData> RuntimeBuilder<T> {
    /// Offers guests, on both engines, the `interfaces` (by package and name, without version) that
    /// `link` adds: `host_ipc::add_to_linker` and its like. A guest that imports anything not named
    /// here is refused before it is compiled.
    #[must_use]
    pub fn link(
        mut self,
        interfaces: &[&str],
        link: impl Fn(&mut Linker<T>) -> wasmtime::Result<()> + 'static,
    ) -> Self {
        self.links.push(Box::new(link));
        self.offered.extend(interfaces.iter().map(|name| (*name).to_owned()));
        self
    }

    /// How code is compiled, and where it is kept. Default: in this process, and nowhere.
    #[must_use]
    pub fn code(mut self, settings: CodeSettings) -> Self {
        self.code = settings;
        self
    }

    /// Sets up the engines.
    ///
    /// # Errors
    /// `core/engine`: the system has not the address space the pool asks for, or two interfaces of
    /// one name were linked. `core/unreadable` if code or coredumps cannot be kept where they should be.
    pub fn build(self) -> Result<Runtime<T>, CoreError> {
        let engines = Engines::new(&self.settings)?;
        let linker = |lane| {
            let mut linker = Linker::new(engines.of(lane));
            self.links.iter().try_for_each(|link| link(&mut linker)).map_err(CoreError::Engine)?;
            Ok::<_, CoreError>(linker)
        };
        let linkers = Linkers { unary: linker(Lane::Unary)?, stream: linker(Lane::Stream)? };
        let code = Code::new(engines.clone(), &self.settings, self.code)?;
        let shared = Shared {
            engines,
            pools: Crowd::default(),
            reaper: Reaper::start()?,
            coredumps: self.settings.coredumps.as_deref().map(Coredumps::open).transpose()?,
        };
        let (shared, linkers) = (Arc::new(shared), Arc::new(linkers));
        Ok(Runtime { shared, code, linkers, offered: self.offered.into() })
    }
}
