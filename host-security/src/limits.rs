//! How much one plugin may use.

use std::time::Duration;

/// Ceilings for the instances of one plugin.
///
/// | field                | of            | unit      | default | at the ceiling                                        |
/// |----------------------|---------------|-----------|---------|-------------------------------------------------------|
/// | `memory_bytes`       | an instance   | bytes     | 64 MB   | `memory.grow` gives -1; the guest may carry on        |
/// | `table_elements`     | an instance   | elements  | 100,000 | `table.grow` gives -1                                 |
/// | `cpu_time`           | an entry      | guest ms  | 10 s    | the call ends with `security/cpu-time-exceeded`       |
/// | `timeout`            | a call        | wall ms   | 30 s    | the call ends with `core/deadline`                    |
/// | `max_instances`      | the plugin    | instances | 3       | further calls wait, then end with `core/overloaded`   |
/// | `host_call_bytes`    | a host call   | bytes     | 32 MiB  | one call to the host that carries more ends in a trap |
/// | `handles`            | an instance   | handles   | 1,000   | the next one ends in a trap                           |
/// | `random_bytes`       | a request     | bytes     | 64 KiB  | one request for more ends in a trap                   |
/// | `open_files`         | an instance   | files     | 64      | opening one more is refused: `insufficient-memory`    |
/// | `sockets`            | an instance   | sockets   | 16      | one more is refused: `new-socket-limit`               |
/// | `data_bytes`         | the plugin    | bytes     | 64 MB   | writing more is refused: `insufficient-space`         |
/// | `data_files`         | the plugin    | entries   | 1,000   | creating more is refused: `insufficient-space`        |
/// | `write_bytes`        | each fs grant | bytes     | 1 GB    | writing more is refused: `insufficient-space`         |
/// | `write_files`        | each fs grant | entries   | 10,000  | creating more is refused: `insufficient-space`        |
/// | `http_bytes`         | an answer     | bytes     | 8 MiB   | the request ends with `too-large`                     |
///
/// The first, and those of time and instances, are asked for under `[permissions]` in `plugin.toml` and
/// lowered to the operator's ceilings; `open_files` to `http_bytes` are the operator's alone, see
/// [`Ceilings`](crate::Ceilings). Memory and tables are summed over all memories and tables of an
/// instance. `cpu_time` is for each entry into the guest: a call has all of it, and so has each step by
/// which a new instance is made ready. Times hold to within one epoch tick.
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
    /// Open files and directories of one instance.
    pub open_files: u32,
    /// Open sockets of one instance.
    pub sockets: u32,
    /// What the private data directory holds.
    pub data_bytes: u64,
    /// Files, directories and links in the private data directory.
    pub data_files: u64,
    /// What each tree that the plugin may write holds.
    pub write_bytes: u64,
    /// Files, directories and links in each such tree.
    pub write_files: u64,
    /// The body of one HTTP answer, and of one request.
    pub http_bytes: u64,
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
            open_files: 64,
            sockets: 16,
            data_bytes: 64_000_000,
            data_files: 1_000,
            write_bytes: 1_000_000_000,
            write_files: 10_000,
            http_bytes: 8 << 20,
        }
    }
}
