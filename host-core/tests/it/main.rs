//! From bytes to a finished call, through the public interface.

#![expect(clippy::unwrap_used, reason = "tests")]

mod calls;
mod code;
mod composed;
mod containment;
mod counter;
mod discovery;
mod dynamic;
mod fit;
mod fuzz;
mod guests;
mod pool;
mod registry;
mod state;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use host_core::{
    CallBudget, Caller, CoreError, EngineSettings, Imports, Instance, MemoryRefused, Prepared,
    ProcessCall, Runtime, StoreData,
};
use wasmtime::{ResourceLimiter, Store, StoreLimits, StoreLimitsBuilder};

/// Store data with a memory limit and nothing else.
pub(crate) struct Data {
    limits: StoreLimits,
    denied: bool,
    limit: usize,
    caller: Caller,
    /// Where every caller is told that a guest was entered for.
    heard: Option<Heard>,
}

/// The callers that guests were entered for.
pub(crate) type Heard = Arc<Mutex<Vec<Caller>>>;

impl Data {
    pub(crate) fn new() -> Self {
        Self::with_memory(1 << 20)
    }

    pub(crate) fn with_memory(bytes: usize) -> Self {
        let limits = StoreLimitsBuilder::new().memory_size(bytes).build();
        Self { limits, denied: false, limit: bytes, caller: Caller::default(), heard: None }
    }

    pub(crate) fn heard(heard: Heard) -> Self {
        Self { heard: Some(heard), ..Self::new() }
    }
}

impl StoreData for Data {
    fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        self
    }
    /// Little, so that tests find its end.
    fn configure(store: &mut Store<Self>) {
        store.set_hostcall_fuel(512 << 10);
    }
    fn memory_refused(&self) -> Option<MemoryRefused> {
        self.denied.then_some(MemoryRefused::Plugin)
    }
    fn begin_call(&mut self, caller: Caller) {
        self.denied = false;
        if let Some(heard) = &self.heard {
            heard.lock().unwrap().push(caller.clone());
        }
        self.caller = caller;
    }
    fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

impl ResourceLimiter for Data {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.denied |= desired > self.limit;
        self.limits.memory_growing(current, desired, maximum)
    }
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.limits.table_growing(current, desired, maximum)
    }
}

/// Many tests at once, each with engines of its own: little address space for each.
pub(crate) fn small() -> EngineSettings {
    let mut settings = EngineSettings::default();
    settings.pool.instances = 16;
    settings.pool.memory_bytes = 16 << 20;
    settings.pool.memory_reservation_bytes = 16 << 20;
    settings
}

pub(crate) fn runtime() -> Runtime<Data> {
    Runtime::builder(small()).build().unwrap()
}

pub(crate) fn budget() -> CallBudget {
    CallBudget::new(Duration::from_secs(20), Duration::from_secs(10))
}

pub(crate) async fn prepare(wat: &str) -> Result<Prepared<Data>, CoreError> {
    runtime().prepare(&guests::admit_wat("guest", wat)?, &Imports::none()).await
}

/// An instance of a guest that fits.
pub(crate) async fn instance(wat: &str) -> Instance<Data> {
    prepare(wat).await.unwrap().start(Data::new(), &[], &budget()).await.unwrap()
}

pub(crate) fn text(input: &str) -> ProcessCall {
    ProcessCall::new(input.as_bytes().to_vec(), "text/plain")
}
