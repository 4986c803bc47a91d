//! What an error of the engine means.

use plugin_contract::{PluginId, escape};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::{CoreError, GuestFrame, Operation, StoreData, TrapKind, meter::CpuTimeExceeded};

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
    if let Some(CpuTimeExceeded { limit }) = error.downcast_ref() {
        return CoreError::CpuTime { plugin, operation, limit: *limit };
    }
    if let Some(status) = T::exit_status(&error) {
        return CoreError::GuestExit { plugin, operation, status };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CoreError::HostExhausted { plugin, source: error };
    }
    // A guest that is refused memory rarely says so: it traps a moment later.
    if data.memory_denied() {
        return CoreError::MemoryExceeded { plugin, operation };
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return CoreError::Trap { plugin, operation, kind: kind(trap), frames: frames(&error) };
    }
    // The engine's type for this is private.
    if error.chain().any(|cause| cause.to_string().contains("fuel allocated for hostcalls")) {
        return CoreError::TooMuchData { plugin, operation };
    }
    if operation == Operation::Instantiate && !error.is::<WasmBacktrace>() {
        return CoreError::CannotInstantiate { plugin, source: error };
    }
    // Lifting checks what a guest hands over, and answers with texts; only host functions and the
    // engine itself fail in another way, and neither while the guest's answer is being read.
    if error.downcast_ref::<WasmBacktrace>().is_none() {
        return CoreError::Trap { plugin, operation, kind: TrapKind::Boundary, frames: Vec::new() };
    }
    CoreError::HostFunction { plugin, operation, source: error }
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
