//! What a helper allows itself, before it has read a byte of what a stranger wrote.

use std::io;

use super::wire::Order;

/// Address space that is set aside and not used: stacks of threads, heaps of the allocator, the program.
#[cfg(target_os = "linux")]
const UNUSED_ADDRESS_SPACE: u64 = 4 << 30;

/// # Errors
/// If the system refuses a limit: then nothing is to be compiled.
#[cfg(unix)]
pub(super) fn apply(order: &Order) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

    // A machine that is busy answers calls first.
    nice(10)?;
    let limit = |resource, max: u64| {
        let max = getrlimit(resource).maximum.map_or(max, |maximum| maximum.min(max));
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })
    };
    // Other systems know no limit that holds.
    #[cfg(target_os = "linux")]
    {
        limit(Resource::Data, order.memory_bytes_max)?;
        limit(Resource::As, order.memory_bytes_max.saturating_add(UNUSED_ADDRESS_SPACE))?;
    }
    // The host's clock ends it earlier, unless the host is gone.
    limit(Resource::Cpu, order.cpu_seconds_max)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, 32)?;
    limit(Resource::Fsize, 0)?;
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn apply(_: &Order) -> io::Result<()> {
    Ok(())
}
