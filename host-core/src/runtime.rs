//! Engines and linkers: what is the same for all plugins of a host.

use std::sync::Arc;

use plugin_contract::Lane;
use wasmtime::{ResourceLimiter, component::Linker};

use crate::{Artifact, CoreError, EngineSettings, Imports, Prepared, engine::Engines, link};

/// What the runtime must know of the data in each store. All else in it is the embedder's.
pub trait StoreData: Send + 'static {
    /// What holds the store to its share of memory. Asked for the memories a component starts with, too.
    fn limiter(&mut self) -> &mut dyn ResourceLimiter;

    /// Whether the limiter ever refused memory: then a trap is explained by that.
    fn memory_denied(&self) -> bool {
        false
    }

    /// The status with which the guest ended itself, if that is what `error` says.
    fn exit_status(error: &wasmtime::Error) -> Option<i32> {
        let _ = error;
        None
    }

    /// A call begins, on behalf of the request of this id.
    fn begin_call(&mut self, request_id: &Arc<str>) {
        let _ = request_id;
    }
}

/// Compiles, links and runs plugins. Cheap to clone; all clones share two engines.
pub struct Runtime<T: 'static> {
    engines: Engines,
    unary: Linker<T>,
    stream: Linker<T>,
    /// The interfaces in both linkers, by package and name.
    offered: Arc<[String]>,
}

impl<T> Clone for Runtime<T> {
    fn clone(&self) -> Self {
        Self {
            engines: self.engines.clone(),
            unary: self.unary.clone(),
            stream: self.stream.clone(),
            offered: self.offered.clone(),
        }
    }
}

/// Adds interfaces to the linker of an engine.
type Link<T> = Box<dyn Fn(&mut Linker<T>) -> wasmtime::Result<()>>;

/// Configures a [`Runtime`]; see [`Runtime::builder`].
pub struct RuntimeBuilder<T: 'static> {
    settings: EngineSettings,
    links: Vec<Link<T>>,
    offered: Vec<String>,
}

impl<T: StoreData> Runtime<T> {
    /// A runtime that offers guests nothing yet.
    pub fn builder(settings: EngineSettings) -> RuntimeBuilder<T> {
        RuntimeBuilder { settings, links: Vec::new(), offered: Vec::new() }
    }

    /// The interfaces that guests may import, by package and name.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// Compiles and links what was admitted. Takes as long as compiling takes, on all cores: call it
    /// where blocking is allowed.
    ///
    /// # Errors
    /// `core/compile-failed`, `core/unknown-import`, `core/contract-mismatch`.
    pub fn prepare(
        &self,
        artifact: &Artifact,
        imports: &Imports,
    ) -> Result<Prepared<T>, CoreError> {
        let linker = match artifact.info.lane {
            Lane::Unary => &self.unary,
            Lane::Stream => &self.stream,
        };
        link::prepare(linker, &self.offered, self.engines.tick(), artifact, imports)
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

    /// Sets up the engines.
    ///
    /// # Errors
    /// `core/engine`: the system has not the address space the pool asks for, or two interfaces of
    /// one name were linked.
    pub fn build(self) -> Result<Runtime<T>, CoreError> {
        let engines = Engines::new(&self.settings)?;
        let linker = |lane| {
            let mut linker = Linker::new(engines.of(lane));
            self.links.iter().try_for_each(|link| link(&mut linker)).map_err(CoreError::Engine)?;
            Ok::<_, CoreError>(linker)
        };
        let (unary, stream) = (linker(Lane::Unary)?, linker(Lane::Stream)?);
        Ok(Runtime { engines, unary, stream, offered: self.offered.into() })
    }
}
