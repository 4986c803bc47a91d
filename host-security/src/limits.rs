//! How much one plugin may use.

use std::time::Duration;

/// Ceilings for the instances of one plugin.
///
/// | field                | unit      | default | at the ceiling                                            |
/// |----------------------|-----------|---------|-----------------------------------------------------------|
/// | `memory_bytes`       | bytes     | 64 MB   | `memory.grow` gives -1; the guest may carry on            |
/// | `table_elements`     | elements  | 100,000 | `table.grow` gives -1                                     |
/// | `cpu_time`           | guest ms  | 10 s    | the call ends with `security/cpu-time-exceeded`           |
/// | `timeout`            | wall ms   | 30 s    | the call ends with `core/deadline`                        |
/// | `max_instances`      | instances | 3       | further calls wait, then end with `core/overloaded`       |
/// | `host_call_bytes`    | bytes     | 32 MiB  | one call to the host that carries more ends in a trap     |
/// | `handles`            | handles   | 1,000   | the next one ends in a trap                               |
/// | `random_bytes`       | bytes     | 64 KiB  | one request for more ends in a trap                       |
///
/// All but the last three come from `[permissions]` in `plugin.toml`, lowered to what the operator's
/// [`Policy`](crate::Policy) allows. Memory and tables are summed over all memories and tables of an
/// instance. `cpu_time` is for each entry into the guest: a call has all of it, and so has each step by
/// which a new instance is made ready. Times hold to within one epoch tick (10 ms by default).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// All linear memories of one instance together.
    pub memory_bytes: u64,
    /// All tables of one instance together.
    pub table_elements: u64,
    /// Time spent executing guest code, per entry.
    pub cpu_time: Duration,
    /// Wall time, per call.
    pub timeout: Duration,
    /// Instances at one time.
    pub max_instances: u32,
    /// What one call between guest and host may carry.
    pub host_call_bytes: u64,
    /// Live handles of one instance: resources, streams, pollables.
    pub handles: u32,
    /// One request for random bytes.
    pub random_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64_000_000,
            table_elements: 100_000,
            cpu_time: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            max_instances: 3,
            host_call_bytes: 32 << 20,
            handles: 1_000,
            random_bytes: 64 << 10,
        }
    }
}
