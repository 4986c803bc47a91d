//! The two engines, and everything about them that is set rather than found out.

use std::{path::PathBuf, time::Duration};

use plugin_contract::{Lane, production_features};
use serde::{Deserialize, Serialize};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, ModuleVersionStrategy, OptLevel,
    PoolingAllocationConfig, Strategy, WasmBacktraceDetails,
};

use crate::{CoreError, code, ticker};

/// How the engines are set up. The defaults suit a machine with some gigabytes of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EngineSettings {
    /// How often running guests are looked at: the grain of CPU time and deadlines. Default 1 ms: with more
    /// spinning guests than cores, others wait for a tick or two.
    pub tick: Duration,
    /// Stack of one guest, in bytes. Default 512 KiB.
    pub wasm_stack_bytes: usize,
    /// Room on the same stack for the host functions that a guest calls. Default 1.5 MiB; an overflow
    /// there would end the process.
    pub host_stack_bytes: usize,
    /// Address space and slots set aside for instances, for each of the two engines.
    pub pool: PoolSettings,
    /// Where a guest that traps leaves its memory and stack, for debuggers. They hold all that the guest
    /// knew, secrets included. At most 16 files, the oldest go first. Default: nowhere.
    pub coredumps: Option<PathBuf>,
}

/// Slots for instances, in one engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolSettings {
    /// Instances at one time, of all plugins. Default 256.
    pub instances: u32,
    /// Bytes of one linear memory at most, rounded up to pages. Default 256 MiB.
    pub memory_bytes: usize,
    /// Address space set aside for each memory, in bytes. Default 4 GiB, which makes bounds checks
    /// free; the pool asks the system for this much, and a guard, times its memories.
    pub memory_reservation_bytes: u64,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(1),
            wasm_stack_bytes: 512 << 10,
            host_stack_bytes: 1536 << 10,
            pool: PoolSettings::default(),
            coredumps: None,
        }
    }
}

impl EngineSettings {
    /// The engine's own form of these settings, for those who measure elsewhere.
    pub fn config(&self, lane: Lane) -> Config {
        let mut config = self.compile_config(lane);
        let pool = &self.pool;
        let memory_bytes = (pool.memory_bytes as u64).min(pool.memory_reservation_bytes) as usize;
        let mut allocation = PoolingAllocationConfig::new();
        allocation
            .total_component_instances(pool.instances)
            // One component made by today's toolchains holds three core instances and two tables.
            .total_core_instances(pool.instances * 8)
            .total_tables(pool.instances * 8)
            .total_memories(pool.memories())
            .total_stacks(pool.instances)
            .max_memory_size(memory_bytes.next_multiple_of(64 << 10))
            .max_tables_per_module(4)
            .table_elements(50_000);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(allocation));
        config
    }

    /// The same without slots for instances: what compiles needs no address space, and its code runs in
    /// an engine of [`EngineSettings::config`].
    pub(crate) fn compile_config(&self, lane: Lane) -> Config {
        let mut config = Config::new();
        // Nothing by default, so that a new release of the engine brings no new surface.
        config.wasm_features(wasmtime::WasmFeatures::all(), false);
        config.wasm_features(production_features(lane), true);
        // For the code that the engine itself makes between components that were composed: it panics
        // without. A plugin's own module still has one memory, since slots hold no more.
        config.wasm_multi_memory(true);
        // Without it calls cost half, and components that need it are refused.
        config.concurrency_support(lane == Lane::Stream);

        config.strategy(Strategy::Cranelift).cranelift_opt_level(OptLevel::Speed);
        // Set, for the default asks the environment of the host.
        config.wasm_backtrace_details(WasmBacktraceDetails::Enable);
        // Only profilers and debuggers read these two: a tenth of all code, which takes that much longer to
        // load; and what is slow to register with many plugins.
        config.debug_symbols(false);
        #[cfg(not(windows))]
        config.native_unwind_info(false);

        config.coredump_on_trap(self.coredumps.is_some());
        config.epoch_interruption(true);
        config.max_wasm_stack(self.wasm_stack_bytes);
        config.async_stack_size(self.wasm_stack_bytes + self.host_stack_bytes);
        // Stacks pass from one plugin's call to another's.
        config.async_stack_zeroing(true);

        config.memory_reservation(self.pool.memory_reservation_bytes);
        // The engine itself would take code of any release with the same first number.
        let version = ModuleVersionStrategy::Custom(code::release());
        config.module_version(version).expect("shorter than the 255 bytes that it may have");
        config
    }
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self { instances: 256, memory_bytes: 256 << 20, memory_reservation_bytes: 4 << 30 }
    }
}

impl PoolSettings {
    /// Memories of one engine: most plugins have one, composed ones a few.
    pub(crate) fn memories(&self) -> u32 {
        self.instances * 2
    }

    /// Address space that one engine asks for, in bytes, guards left out.
    pub fn address_space_bytes(&self) -> u64 {
        u64::from(self.memories()) * self.memory_reservation_bytes
    }
}

/// What an engine has handed out of its slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineMetrics {
    /// Which of the two.
    pub lane: Lane,
    /// Instances of components.
    pub component_instances: u64,
    /// Instances of the core modules inside.
    pub core_instances: u64,
    /// Linear memories.
    pub memories: u64,
    /// Tables.
    pub tables: u64,
    /// Stacks of calls.
    pub stacks: u64,
    /// Bytes kept for the next instances, in slots that nobody uses.
    pub unused_bytes: u64,
}

/// Both engines, and the thread that drives their clocks for as long as they live.
#[derive(Clone)]
pub(crate) struct Engines {
    unary: Engine,
    stream: Engine,
    tick: Duration,
}

impl Engines {
    pub(crate) fn new(settings: &EngineSettings) -> Result<Self, CoreError> {
        let engine = |lane| Engine::new(&settings.config(lane)).map_err(CoreError::Engine);
        let engines = Self {
            unary: engine(Lane::Unary)?,
            stream: engine(Lane::Stream)?,
            tick: settings.tick,
        };
        ticker::drive(settings.tick, vec![engines.unary.weak(), engines.stream.weak()])?;
        Ok(engines)
    }

    /// What both have handed out.
    pub(crate) fn metrics(&self) -> Vec<EngineMetrics> {
        let of = |lane| {
            let pool = self.of(lane).pooling_allocator_metrics()?;
            Some(EngineMetrics {
                lane,
                component_instances: pool.component_instances(),
                core_instances: pool.core_instances(),
                memories: pool.memories() as u64,
                tables: pool.tables() as u64,
                stacks: pool.stacks() as u64,
                unused_bytes: (pool.unused_memory_bytes_resident()
                    + pool.unused_table_bytes_resident()) as u64,
            })
        };
        [Lane::Unary, Lane::Stream].into_iter().filter_map(of).collect()
    }

    pub(crate) fn tick(&self) -> Duration {
        self.tick
    }

    pub(crate) fn of(&self, lane: Lane) -> &Engine {
        match lane {
            Lane::Unary => &self.unary,
            Lane::Stream => &self.stream,
        }
    }
}
