//! Memory of one store, and of all stores together.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use plugin_contract::ByteSize;
use wasmtime::ResourceLimiter;

use crate::{
    Auditor, Limits,
    audit::{EnforcementAction, ViolationType},
};

/// The memory that all guests of a host may use together, so that plugins x instances cannot add up
/// past what the machine has. Shared by all [`Budget`]s.
#[derive(Debug)]
pub struct HostMemory {
    used: AtomicU64,
    bytes_max: u64,
}

impl HostMemory {
    /// `bytes_max` for all linear memories of all stores.
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self { used: AtomicU64::new(0), bytes_max })
    }

    /// Bytes in use now.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|total| *total <= self.bytes_max)
            })
            .is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Core instances of one store, and tables. What toolchains make today has three; composed components
/// have a few times as many.
const INSTANCES_MAX: usize = 48;

/// Linear memories of one store. Each takes a slot that all plugins share, however small it is.
const MEMORIES_MAX: usize = 8;

/// Whose ceiling refused memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryDenied {
    /// The plugin's own: it asked for more than it was granted.
    Share,
    /// The host's: all guests together have what there is.
    Host,
}

/// Holds one store to its share: all of its memories together, all of its tables together.
///
/// Growing past the share gives the guest -1, as the WebAssembly specification has it; most guests
/// then abort. [`Budget::memory_denied`] tells afterwards what that was about. A growth that was
/// allowed and at which the engine then failed stays counted until the store is gone: the engine
/// reports failures of growths that were never asked about, too, and those cannot be told apart.
#[derive(Debug)]
pub struct Budget {
    memory_bytes_max: u64,
    memory_bytes: u64,
    table_elements_max: u64,
    table_elements: u64,
    denied: Option<MemoryDenied>,
    table_denied: bool,
    host: Arc<HostMemory>,
    auditor: Option<Auditor>,
}

impl Budget {
    /// The share of one store under `limits`, taken from `host`.
    pub fn new(limits: &Limits, host: Arc<HostMemory>) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            memory_bytes: 0,
            table_elements_max: limits.table_elements,
            table_elements: 0,
            denied: None,
            table_denied: false,
            host,
            auditor: None,
        }
    }

    /// Tells what is refused, once for each call.
    #[must_use]
    pub fn audited(mut self, auditor: Auditor) -> Self {
        self.auditor = Some(auditor);
        self
    }

    fn deny_table(&mut self, total: u64) {
        if let (Some(auditor), false) = (&self.auditor, self.table_denied) {
            auditor.exceeded(
                ViolationType::LimitExceeded,
                EnforcementAction::Denied,
                "table.grow",
                &format!("{total} elements"),
                &format!("table elements of an instance = {}", self.table_elements_max),
            );
        }
        self.table_denied = true;
    }

    fn deny(&mut self, denied: MemoryDenied, more: u64) {
        if let (Some(auditor), None) = (&self.auditor, self.denied) {
            let limit = match denied {
                MemoryDenied::Share => {
                    format!("permissions.memory = {}", ByteSize::new(self.memory_bytes_max))
                }
                MemoryDenied::Host => {
                    format!("the host's memory for guests = {}", ByteSize::new(self.host.bytes_max))
                }
            };
            auditor.exceeded(
                ViolationType::MemoryExceeded,
                EnforcementAction::Denied,
                "memory.grow",
                &format!("{more} bytes beside {}", self.memory_bytes),
                &limit,
            );
        }
        self.denied = Some(denied);
    }

    /// Linear memory in use, in bytes, over all memories of the store.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Whose ceiling refused the store memory, if one has since [`Budget::begin_call`]. A guest that
    /// gives up after that most likely did because of it.
    pub fn memory_denied(&self) -> Option<MemoryDenied> {
        self.denied
    }

    /// Forgets what was refused: another call begins.
    pub fn begin_call(&mut self) {
        self.denied = None;
        self.table_denied = false;
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = (desired as u64).saturating_sub(current as u64);
        let within_type = maximum.is_none_or(|maximum| desired <= maximum);
        if !within_type {
            return Ok(false); // the module's own bound, not ours
        }
        if self.memory_bytes.saturating_add(more) > self.memory_bytes_max {
            self.deny(MemoryDenied::Share, more);
            return Ok(false);
        }
        if !self.host.take(more) {
            self.deny(MemoryDenied::Host, more);
            return Ok(false);
        }
        self.memory_bytes += more;
        if let Some(auditor) = &self.auditor {
            auditor.used_memory(self.memory_bytes);
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total =
            self.table_elements.saturating_add((desired as u64).saturating_sub(current as u64));
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false); // the module's own bound, not ours
        }
        if total > self.table_elements_max {
            self.deny_table(total);
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.host.give_back(self.memory_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, HostMemory, MemoryDenied};
    use crate::Limits;
    use wasmtime::{Engine, Instance, Module, ResourceLimiter, Store};

    const PAGE: u64 = 65536;

    /// Grows each of two one-page memories by one page; the answers of `memory.grow`.
    fn grow_two_memories(pages_max: u64, host: u64) -> (Vec<i32>, Option<MemoryDenied>) {
        let mut config = wasmtime::Config::new();
        config.wasm_multi_memory(true);
        let engine = Engine::new(&config).unwrap();
        let wasm = wat::parse_str(
            r#"(module (memory $a 1) (memory $b 1)
                (func (export "a") (result i32) (memory.grow $a (i32.const 1)))
                (func (export "b") (result i32) (memory.grow $b (i32.const 1))))"#,
        )
        .unwrap();
        let module = Module::from_binary(&engine, &wasm).unwrap();
        let limits = Limits { memory_bytes: pages_max * PAGE, ..Limits::default() };
        let mut store = Store::new(&engine, Budget::new(&limits, HostMemory::new(host * PAGE)));
        store.limiter(|budget| budget);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let answers = ["a", "b"].map(|name| {
            let grow = instance.get_typed_func::<(), i32>(&mut store, name).unwrap();
            grow.call(&mut store, ()).unwrap()
        });
        (answers.to_vec(), store.data().memory_denied())
    }

    #[test]
    fn all_memories_of_a_store_share_one_ceiling() {
        assert_eq!(grow_two_memories(4, 100), (vec![1, 1], None));
        let share = Some(MemoryDenied::Share);
        assert_eq!(grow_two_memories(3, 100), (vec![1, -1], share));
        assert_eq!(grow_two_memories(2, 100), (vec![-1, -1], share));
    }

    #[test]
    fn all_stores_of_a_host_share_another() {
        assert_eq!(grow_two_memories(100, 3), (vec![1, -1], Some(MemoryDenied::Host)));
    }

    #[test]
    fn what_a_store_used_is_given_back_when_it_goes() {
        let host = HostMemory::new(10);
        let mut budget = Budget::new(&Limits::default(), host.clone());
        assert!(budget.memory_growing(0, 8, None).unwrap());
        assert!(!budget.memory_growing(8, 11, None).unwrap());
        assert_eq!(host.used(), 8);
        drop(budget);
        assert_eq!(host.used(), 0);
    }

    #[test]
    fn failures_of_the_engine_refund_nothing() {
        let host = HostMemory::new(10);
        let mut budget = Budget::new(&Limits::default(), host.clone());
        assert!(budget.memory_growing(0, 8, None).unwrap());
        // Reported for a growth that the limiter was never asked about.
        budget.memory_grow_failed(wasmtime::Error::msg("beyond the type")).unwrap();
        assert_eq!((budget.memory_bytes(), host.used()), (8, 8));
    }

    #[test]
    fn what_was_refused_in_one_call_says_nothing_of_the_next() {
        let mut budget = Budget::new(&Limits::default(), HostMemory::new(10));
        assert!(!budget.memory_growing(0, 11, None).unwrap());
        assert_eq!(budget.memory_denied(), Some(MemoryDenied::Host));
        budget.begin_call();
        assert_eq!(budget.memory_denied(), None);
    }
}
