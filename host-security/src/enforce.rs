//! Grants applied to wasmtime stores.
//!
//! A [`Confinement`] holds the instances of one plugin to its [`Grant`](crate::Grant): it makes a [`Sandbox`]
//! for the data of each store, and [`add_to_linker`] gives guests the interfaces through which they reach
//! what the sandbox lets them.

mod budget;
pub mod fs;
pub mod net;
mod sandbox;
mod wasi;

pub use budget::{Budget, HostMemory, MemoryDenied};
pub use sandbox::{
    Confinement, HostShares, Sandbox, SandboxView, Sandboxed, add_to_linker, interfaces,
};
pub use wasi::limit_store;
