//! Who compiles, how many at one time, and who waits.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Engine;

use super::{
    CompilerSettings, blocking, failure::Failure, helper, key::CodeKey, load::NativeCode,
    wire::Order,
};
use crate::{EngineSettings, place::Place};

pub(super) struct Compiler {
    engine: EngineSettings,
    settings: CompilerSettings,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The right to compile one component.
pub(super) struct Turn(
    #[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit,
);

impl Compiler {
    pub(super) fn new(engine: EngineSettings, settings: CompilerSettings) -> Self {
        let turns = Arc::new(Semaphore::new(settings.concurrency.clamp(1, 1_024)));
        Self { engine, settings, turns, waiting: AtomicUsize::new(0) }
    }

    /// Waits for the right to compile, if not too many do so already.
    pub(super) async fn turn(&self) -> Result<Turn, Failure> {
        if let Ok(permit) = self.turns.clone().try_acquire_owned() {
            return Ok(Turn(permit));
        }
        let max = self.settings.waiting_max;
        let Some(_place) = Place::take(&self.waiting, max) else { return Err(Failure::Busy(max)) };
        // The semaphore is never closed.
        self.turns.clone().acquire_owned().await.map(Turn).map_err(|_| Failure::lost())
    }

    pub(super) async fn compile(
        &self,
        turn: Turn,
        key: &CodeKey,
        component: Arc<[u8]>,
    ) -> Result<NativeCode, Failure> {
        let settings = &self.settings;
        if let Some(program) = &settings.helper {
            let seconds = settings.timeout.as_secs().saturating_add(1);
            let cpu_seconds = seconds.saturating_mul(settings.threads.max(1) as u64);
            let memory = settings.memory_bytes_max;
            let order = Order::new(self.engine.clone(), key.lane, memory, cpu_seconds);
            let compiled = helper::compile(program, settings, &order, key.engine, &component).await;
            drop(turn);
            return compiled;
        }
        let config = self.engine.compile_config(key.lane);
        blocking(move || {
            // Goes on without whoever waited for it, so it keeps its turn itself.
            let _turn = turn;
            // An engine of its own: one that has compiled keeps what it needed for that.
            let compiler = Engine::new(&config).map_err(Failure::invalid)?;
            NativeCode::compile(&compiler, &component).map_err(Failure::invalid)
        })
        .await?
    }
}
