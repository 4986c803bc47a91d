//! Grants applied to wasmtime stores.
//!
//! [`Budget`] holds one store to its share of memory, [`wasi_ctx`] builds what the guest can see, and
//! [`add_to_linker`] decides which WASI interfaces exist for it at all.

mod budget;
mod wasi;

pub use budget::{Budget, HostMemory, MemoryDenied};
pub use wasi::{WASI_INTERFACES, add_to_linker, limit_store, wasi_ctx};
