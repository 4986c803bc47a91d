//! Turns a [`Grant`] into the WASI context of one store, and links the interfaces that go with it.
//!
//! Everything of WASI that a guest can see is set here, so reviewing a plugin's authority means
//! reviewing this one file. An interface that is not linked cannot be imported: filesystem, sockets
//! and HTTP are not there at all.
//! Not here: deciding what to grant (`policy`), counting memory (`budget`).

use wasmtime::{
    Store,
    component::{HasData, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder, WasiView,
    cli::{StdoutStream, WasiCli, WasiCliView},
    clocks::{WasiClocks, WasiClocksView},
    p2::bindings::{cli, clocks, random},
    random::{WasiRandom, WasiRandomView},
};
use wasmtime_wasi_io::bindings::wasi::io;

use crate::{Grant, Limits};

/// The WASI interfaces that every plugin may import, without versions. Programs that use a standard
/// library import most of them whether or not they need them; they carry no authority.
pub const WASI_INTERFACES: [&str; 18] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Adds [`WASI_INTERFACES`] to `linker`.
///
/// # Errors
/// The engine's, if one of them is there already.
pub fn add_to_linker<T: WasiView>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    struct Table;
    impl HasData for Table {
        type Data<'a> = &'a mut ResourceTable;
    }
    let l = linker;
    io::error::add_to_linker::<T, Table>(l, |t| t.ctx().table)?;
    io::poll::add_to_linker::<T, Table>(l, |t| t.ctx().table)?;
    io::streams::add_to_linker::<T, Table>(l, |t| t.ctx().table)?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, T::clocks)?;
    clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, T::clocks)?;
    random::random::add_to_linker::<T, WasiRandom>(l, T::random)?;
    random::insecure::add_to_linker::<T, WasiRandom>(l, T::random)?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, T::random)?;
    cli::environment::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::exit::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, T::cli)
}

/// What a guest under `grant` sees: its granted environment, clocks, random numbers, and two
/// streams to write to. No arguments, no standard input, no files, no network.
pub fn wasi_ctx(
    grant: &Grant,
    stdout: impl StdoutStream + 'static,
    stderr: impl StdoutStream + 'static,
) -> WasiCtx {
    WasiCtxBuilder::new()
        .envs(grant.env())
        .stdout(stdout)
        .stderr(stderr)
        .max_random_size(grant.limits().random_bytes)
        .build()
}

/// Sets the limits that the engine itself keeps for a store. The memory limit is [`Budget`]'s.
///
/// [`Budget`]: crate::enforce::Budget
pub fn limit_store<T>(store: &mut Store<T>, limits: &Limits) {
    store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
}
