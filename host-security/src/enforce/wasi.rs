//! Turns a [`Grant`] into the WASI context of one store, and links the interfaces that go with it.
//!
//! Not here: files (`fs`), the network (`net`), counting memory (`budget`), and deciding what to grant.

use wasmtime::{
    Store,
    component::{HasData, Linker, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    cli::{StdoutStream, WasiCli, WasiCliCtxView},
    clocks::{WasiClocks, WasiClocksCtxView},
    p2::bindings::{cli, clocks, random},
    random::{WasiRandom, WasiRandomCtx},
};
use wasmtime_wasi_io::bindings::wasi::io;

use super::{
    net::{self, NetCtx},
    sandbox::Sandboxed,
};
use crate::{Grant, Limits};

/// The WASI interfaces that every plugin may import, without versions. Programs that use a standard
/// library import most of them whether or not they need them; they carry no authority.
pub(super) const WASI_INTERFACES: [&str; 18] = [
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
pub(super) fn add_to_linker<T: Sandboxed>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    struct Table;
    impl HasData for Table {
        type Data<'a> = &'a mut ResourceTable;
    }
    fn cli_of<T: Sandboxed>(data: &mut T) -> WasiCliCtxView<'_> {
        let (wasi, table) = data.sandbox().wasi();
        WasiCliCtxView { ctx: wasi.cli(), table }
    }
    fn clocks_of<T: Sandboxed>(data: &mut T) -> WasiClocksCtxView<'_> {
        let (wasi, table) = data.sandbox().wasi();
        WasiClocksCtxView { ctx: wasi.clocks(), table }
    }
    fn random_of<T: Sandboxed>(data: &mut T) -> &mut WasiRandomCtx {
        data.sandbox().wasi().0.random()
    }
    let l = linker;
    io::error::add_to_linker::<T, Table>(l, |data| data.sandbox().table)?;
    io::poll::add_to_linker::<T, Table>(l, |data| data.sandbox().table)?;
    io::streams::add_to_linker::<T, Table>(l, |data| data.sandbox().table)?;
    clocks::monotonic_clock::add_to_linker::<T, WasiClocks>(l, clocks_of)?;
    clocks::wall_clock::add_to_linker::<T, WasiClocks>(l, clocks_of)?;
    random::random::add_to_linker::<T, WasiRandom>(l, random_of)?;
    random::insecure::add_to_linker::<T, WasiRandom>(l, random_of)?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(l, random_of)?;
    cli::environment::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::exit::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::stdin::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::stdout::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::stderr::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(l, cli_of)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(l, cli_of)
}

/// What a guest under `grant` sees: its granted environment, clocks, random numbers, and two
/// streams to write to. No arguments and no standard input. Files are not here, but in
/// [`fs`](super::fs); what sockets may do is decided in [`net`](super::net).
pub(super) fn wasi_ctx(
    grant: &Grant,
    net: &NetCtx,
    stdout: impl StdoutStream + 'static,
    stderr: impl StdoutStream + 'static,
) -> WasiCtx {
    let mut builder = WasiCtxBuilder::new();
    builder
        .envs(grant.env())
        .stdout(stdout)
        .stderr(stderr)
        .max_random_size(grant.limits().random_bytes);
    net::configure(&mut builder, net);
    builder.build()
}

/// Sets the limits that the engine itself keeps for a store. The memory limit is [`Budget`]'s.
///
/// [`Budget`]: crate::enforce::Budget
pub fn limit_store<T>(store: &mut Store<T>, limits: &Limits) {
    store.set_hostcall_fuel(usize::try_from(limits.host_call_bytes).unwrap_or(usize::MAX));
    store.set_max_component_handles(limits.handles as usize);
}
