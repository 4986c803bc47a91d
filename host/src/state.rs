//! The data in each store: one field for each library that keeps state there.

use host_core::{Caller, MemoryRefused, StoreData};
use host_ipc::{IpcCtx, IpcView};
use host_security::enforce::{self, Confinement, MemoryDenied, Sandbox, SandboxView, Sandboxed};
use wasmtime::{
    ResourceLimiter, Store,
    component::{Linker, ResourceTable},
};
use wasmtime_wasi::I32Exit;

/// What the stores of this host hold.
pub(crate) struct HostState {
    sandbox: Sandbox,
    ipc: IpcCtx,
    table: ResourceTable,
}

impl HostState {
    pub(crate) fn new(confinement: &Confinement, ipc: IpcCtx) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(confinement.grant().limits().handles as usize);
        let sandbox = confinement.instance(ipc.output("stdout"), ipc.output("stderr"));
        Self { sandbox, ipc, table }
    }
}

/// Links the host services.
pub(crate) fn link_ipc(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    host_ipc::add_to_linker(linker, |state| IpcView {
        ctx: &mut state.ipc,
        table: &mut state.table,
    })
}

impl StoreData for HostState {
    fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.sandbox.budget
    }

    fn configure(store: &mut Store<Self>) {
        let limits = store.data().sandbox.grant().limits().clone();
        enforce::limit_store(store, &limits);
    }

    fn memory_refused(&self) -> Option<MemoryRefused> {
        self.sandbox.budget.memory_denied().map(|denied| match denied {
            MemoryDenied::Share => MemoryRefused::Plugin,
            MemoryDenied::Host => MemoryRefused::Host,
        })
    }

    fn exit_status(error: &wasmtime::Error) -> Option<i32> {
        error.downcast_ref().map(|I32Exit(status)| *status)
    }

    fn begin_call(&mut self, caller: Caller) {
        self.sandbox.budget.begin_call();
        self.ipc.begin_call(caller);
    }

    fn caller(&self) -> Caller {
        self.ipc.caller().clone()
    }
}

impl Sandboxed for HostState {
    fn sandbox(&mut self) -> SandboxView<'_> {
        SandboxView { sandbox: &mut self.sandbox, table: &mut self.table }
    }
}
