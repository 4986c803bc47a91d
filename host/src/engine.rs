//! The engine, as operators ask about it.

use host_core::{EngineSettings, Runtime};

use crate::{HostError, state::HostState};

/// The release line of wasmtime that this host is built with.
pub fn engine_version() -> &'static str {
    wasmtime::ModuleVersionStrategy::WasmtimeVersion.as_str()
}

/// Sets both engines up as a host would, and puts them away again.
///
/// # Errors
/// `core/engine`: the system has not what the settings ask for.
pub fn check_engine(settings: EngineSettings) -> Result<(), HostError> {
    Runtime::<HostState>::builder(settings).build().map(drop).map_err(HostError::from)
}
