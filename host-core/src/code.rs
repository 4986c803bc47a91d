//! From admitted bytes to compiled code.
//!
//! Code is looked for in memory, then on disk, and made where neither has it: by a helper process that
//! may take only so much time and memory. Whoever asks for what is being made already waits for that.
//! Start at [`Code::component`]; `load` is the one file that turns bytes into code the engine runs.
//! Not here: whether a component is admitted (`admission`), and whether it fits the host (`link`).

mod child;
mod compiler;
mod disk;
mod entry;
mod failure;
mod files;
mod flights;
mod helper;
mod key;
mod limits;
mod load;
mod memory;
mod metrics;
mod secret;
mod settings;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, future::BoxFuture};
use plugin_contract::{Digest, Lane, PluginId};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use crate::{CoreError, EngineSettings, engine::Engines};
use compiler::Compiler;
use disk::Disk;
use failure::Failure;
use flights::Flights;
use key::{CodeKey, EngineId};
use load::NativeCode;
use memory::Memory;
use metrics::Counters;

pub use child::compile_helper;
pub(crate) use key::release;
pub use metrics::CodeMetrics;
pub use settings::{CacheSettings, CodeSettings, CompilerSettings, HelperProgram};

/// Compiled code, from wherever it comes fastest. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Code {
    inner: Arc<Inner>,
}

struct Inner {
    engines: Engines,
    unary: EngineId,
    stream: EngineId,
    memory: Memory,
    /// `None`: nothing is kept on disk.
    disk: Option<Disk>,
    /// As many files are read at one time as there are cores.
    readers: Semaphore,
    compiler: Compiler,
    flights: Flights<CodeKey, Result<Component, Failure>>,
    counters: Arc<Counters>,
}

/// The component, as whoever asked for it can bring it.
type Bytes = Box<dyn FnOnce() -> Result<Arc<[u8]>, CoreError> + Send>;

impl Code {
    /// Opens the cache on disk, if there is to be one.
    ///
    /// # Errors
    /// `core/unreadable` if the directory is none, or another user's. One that cannot be written, or made,
    /// is logged and done without.
    pub(crate) fn new(
        engines: Engines,
        engine_settings: &EngineSettings,
        settings: CodeSettings,
    ) -> Result<Self, CoreError> {
        let counters = Arc::new(Counters::default());
        let disk = settings.cache.map(|cache| Disk::open_if_usable(cache, &counters));
        let disk = disk.transpose()?.flatten();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Inner {
            unary: EngineId::of(engines.of(Lane::Unary)),
            stream: EngineId::of(engines.of(Lane::Stream)),
            memory: Memory::new(settings.memory_bytes_max),
            disk,
            readers: Semaphore::new(cores),
            compiler: Compiler::new(engine_settings.clone(), settings.compiler),
            flights: Flights::default(),
            counters,
            engines,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The compiled component with this digest. `bytes` are asked for, on a thread that may block, only
    /// where neither memory nor disk has the code. Whoever drops this future cancels nobody else; the last
    /// one to do so ends the compile.
    ///
    /// Runs on a tokio runtime; with a helper program on one that has I/O and time.
    ///
    /// # Errors
    /// `core/compile-failed`, `core/compile-deadline`, `core/compile-exhausted`, `core/compiler-busy`,
    /// `core/compiler-unavailable`, `core/changed-on-disk`, and those of `bytes`.
    pub(crate) async fn component(
        &self,
        plugin: &PluginId,
        lane: Lane,
        digest: Digest,
        bytes: impl FnOnce() -> Result<Arc<[u8]>, CoreError> + Send + 'static,
    ) -> Result<Component, CoreError> {
        let key = CodeKey { digest, lane, engine: self.inner.engine_id(lane) };
        let mut bytes: Option<Bytes> = Some(Box::new(bytes));
        let refusal = Refusal::default();
        loop {
            if let Some(component) = self.inner.memory.get(&key) {
                Counters::add(&self.inner.counters.hits_memory);
                return Ok(component);
            }
            let start = || {
                let bytes = bytes.take().map(|bytes| checked(bytes, plugin, digest, &refusal));
                self.inner.clone().find(key, bytes).boxed()
            };
            let (flight, joined) = self.inner.flights.join(key, start);
            if joined {
                Counters::add(&self.inner.counters.joined);
            }
            match flight.await {
                Ok(component) => return Ok(component),
                Err(Failure::Bytes) => match refusal.take() {
                    Some(error) => return Err(error),
                    // It was another's file that could not be read; ours may be there.
                    None if bytes.is_some() => {}
                    None => return Err(Failure::lost().explain(plugin)),
                },
                Err(failure) => return Err(failure.explain(plugin)),
            }
        }
    }

    /// What has been counted so far.
    pub(crate) fn metrics(&self) -> CodeMetrics {
        self.inner.counters.read(self.inner.memory.bytes())
    }
}

impl Inner {
    fn engine_id(&self, lane: Lane) -> EngineId {
        match lane {
            Lane::Unary => self.unary,
            Lane::Stream => self.stream,
        }
    }

    /// Disk, then the compiler. The work of one flight.
    async fn find(
        self: Arc<Self>,
        key: CodeKey,
        bytes: Option<BytesOrRefused>,
    ) -> Result<Component, Failure> {
        if let Some(component) = self.clone().read(key).await? {
            Counters::add(&self.counters.hits_disk);
            return Ok(component);
        }
        Counters::add(&self.counters.misses);
        // Whoever waits for the compiler waits without the bytes.
        let turn = self.compiler.turn().await?;
        let bytes = bytes.ok_or_else(Failure::lost)?;
        let bytes = blocking(bytes).await??;
        let compiled = self.compiler.compile(turn, &key, bytes).await;
        let code = compiled.inspect_err(|_| Counters::add(&self.counters.compile_failed))?;
        Counters::add(&self.counters.compiled);
        blocking(move || self.keep(key, &code)).await?
    }

    /// What the disk has.
    async fn read(self: Arc<Self>, key: CodeKey) -> Result<Option<Component>, Failure> {
        if self.disk.is_none() {
            return Ok(None);
        }
        let Ok(_place) = self.readers.acquire().await else { return Ok(None) };
        let this = self.clone();
        blocking(move || {
            let disk = this.disk.as_ref()?;
            let code = disk.read(&key)?;
            match code.load(this.engines.of(key.lane)) {
                Ok(component) => {
                    this.memory.insert(key, component.clone());
                    Some(component)
                }
                Err(error) => {
                    disk.reject(&key, &format!("the engine refuses it: {error:#}"));
                    None
                }
            }
        })
        .await
    }

    /// Loads new code, and keeps it where it loads. The engine may yet refuse it: for asking for more than
    /// an instance may have.
    fn keep(&self, key: CodeKey, code: &NativeCode) -> Result<Component, Failure> {
        let component = code.load(self.engines.of(key.lane)).map_err(Failure::invalid)?;
        self.memory.insert(key, component.clone());
        if let Some(disk) = &self.disk {
            disk.write(&key, code);
        }
        Ok(component)
    }
}

/// Why the bytes were not to be had, for the one who brought them.
#[derive(Clone, Default)]
struct Refusal(Arc<Mutex<Option<CoreError>>>);

impl Refusal {
    fn put(&self, error: CoreError) -> Failure {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        Failure::Bytes
    }

    fn take(&self) -> Option<CoreError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type BytesOrRefused = Box<dyn FnOnce() -> Result<Arc<[u8]>, Failure> + Send>;

/// The bytes, if they are those that were asked for.
fn checked(bytes: Bytes, plugin: &PluginId, digest: Digest, refusal: &Refusal) -> BytesOrRefused {
    let (plugin, refusal) = (plugin.clone(), refusal.clone());
    Box::new(move || {
        let bytes = bytes().map_err(|error| refusal.put(error))?;
        let found = Digest::of(&bytes);
        if found == digest {
            return Ok(bytes);
        }
        Err(refusal.put(CoreError::DigestChanged { plugin, expected: digest, found }))
    })
}

/// Runs `work` where blocking is allowed. It runs to its end also if nobody waits any more.
fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> BoxFuture<'static, Result<R, Failure>> {
    let work = tokio::task::spawn_blocking(work);
    // It panicked, or the runtime is shutting down.
    work.map(|ended| ended.map_err(|_| Failure::lost())).boxed()
}
