//! What an error of the engine means.

use std::sync::Arc;

use plugin_contract::{PluginId, escape};
use wasmtime::{
    OutOfMemory, PoolConcurrencyLimitError, Trap, WasmBacktrace, WasmtimeBug,
    component::ResourceTableError,
};

use crate::{
    CoreError, GuestFrame, MemoryRefused, Operation, StoreData, TrapKind,
    meter::CpuTimeExceeded,
    stream::{InputBroken, Stalled},
};

/// Longest name of a guest's function that is shown, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// Explains why `operation` of `plugin` did not come to an end. `data` is that of the store.
pub(crate) fn explain<T: StoreData>(
    plugin: &PluginId,
    operation: Operation,
    error: wasmtime::Error,
    data: &T,
) -> CoreError {
    let plugin = plugin.clone();
    // A plugin that it called has its own to answer for.
    let error = match error.downcast::<CoreError>() {
        Ok(peer) => return CoreError::Peer { plugin, operation, source: Arc::new(peer) },
        Err(error) => error,
    };
    let error = match error.downcast::<InputBroken>() {
        Ok(InputBroken(source)) => return CoreError::StreamBroken { plugin, source },
        Err(error) => error,
    };
    match error.downcast_ref::<Stalled>() {
        Some(Stalled::Guest) => return CoreError::Deadline { plugin, operation },
        Some(others) => return CoreError::StreamStalled { plugin, why: others.to_string() },
        None => {}
    }
    if let Some(CpuTimeExceeded { limit }) = error.downcast_ref() {
        return CoreError::CpuTime { plugin, operation, limit: *limit };
    }
    if let Some(status) = T::exit_status(&error) {
        return CoreError::GuestExit { plugin, operation, status };
    }
    if error.is::<PoolConcurrencyLimitError>() || error.is::<OutOfMemory>() {
        return CoreError::HostExhausted { plugin, source: error };
    }
    if error.is::<WasmtimeBug>() {
        return CoreError::HostCall { plugin, operation, source: error };
    }
    // A guest that is refused memory rarely says so: it gives up a moment later, or cannot start.
    let trap = error.downcast_ref::<Trap>();
    let gave_up = trap.is_none_or(|trap| *trap == Trap::UnreachableCodeReached);
    match data.memory_refused().filter(|_| gave_up) {
        Some(MemoryRefused::Plugin) => return CoreError::MemoryExceeded { plugin, operation },
        Some(MemoryRefused::Host) => return CoreError::HostExhausted { plugin, source: error },
        None => {}
    }
    if let Some(trap) = trap {
        return CoreError::Trap { plugin, operation, kind: kind(trap), frames: frames(&error) };
    }
    if error.is::<ResourceTableError>() || says(&error, TOO_MANY_HANDLES) {
        return CoreError::TooManyHandles { plugin, operation };
    }
    if says(&error, TOO_MUCH_DATA) {
        return CoreError::TooMuchData { plugin, operation };
    }
    match (operation, error.is::<WasmBacktrace>()) {
        (Operation::Instantiate, false) => CoreError::CannotInstantiate { plugin, source: error },
        // The guest was running: it called the host.
        (_, true) => CoreError::HostCall { plugin, operation, source: error },
        // It had answered: the answer is not what its type says.
        (_, false) => {
            CoreError::Trap { plugin, operation, kind: TrapKind::Boundary, frames: Vec::new() }
        }
    }
}

/// What the engine says where its types for it are private.
const TOO_MUCH_DATA: &str = "fuel allocated for hostcalls";
const TOO_MANY_HANDLES: &str = "store handle limit exceeded";

fn says(error: &wasmtime::Error, text: &str) -> bool {
    error.chain().any(|cause| cause.to_string().contains(text))
}

fn kind(trap: &Trap) -> TrapKind {
    match trap {
        Trap::MemoryOutOfBounds | Trap::HeapMisaligned => TrapKind::Memory,
        Trap::StackOverflow => TrapKind::Stack,
        Trap::UnreachableCodeReached => TrapKind::Unreachable,
        Trap::IntegerOverflow | Trap::IntegerDivisionByZero | Trap::BadConversionToInteger => {
            TrapKind::Arithmetic
        }
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => TrapKind::Table,
        Trap::InvalidChar
        | Trap::StringOutOfBounds
        | Trap::ListOutOfBounds
        | Trap::InvalidDiscriminant
        | Trap::UnalignedPointer
        | Trap::CannotEnterComponent
        | Trap::CannotLeaveComponent => TrapKind::Boundary,
        _ => TrapKind::Other,
    }
}

fn frames(error: &wasmtime::Error) -> Vec<GuestFrame> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    let frame = |frame: &wasmtime::FrameInfo| {
        let symbol = frame.symbols().first();
        let name = symbol.and_then(|symbol| symbol.name()).or(frame.func_name());
        GuestFrame {
            function: match name {
                Some(name) => escape(name, NAME_BYTES_MAX),
                None => format!("function {}", frame.func_index()),
            },
            module_offset: frame.module_offset(),
            source: symbol.and_then(|symbol| {
                let file = escape(symbol.file()?, NAME_BYTES_MAX);
                Some(format!("{file}:{}", symbol.line()?))
            }),
        }
    };
    backtrace.frames().iter().take(20).map(frame).collect()
}
