//! The data in each store: one field for each library that keeps state there.

use host_core::{Caller, MemoryRefused, StoreData};
use host_ipc::{IpcCtx, IpcView};
use host_security::{
    Grant, Limits,
    enforce::{self, Budget, HostMemory, MemoryDenied},
};
use std::sync::Arc;
use wasmtime::{
    ResourceLimiter, Store,
    component::{Linker, ResourceTable},
};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

/// What the stores of this host hold.
pub(crate) struct HostState {
    budget: Budget,
    wasi: WasiCtx,
    ipc: IpcCtx,
    table: ResourceTable,
    limits: Limits,
    caller: Caller,
}

impl HostState {
    pub(crate) fn new(grant: &Grant, memory: Arc<HostMemory>, ipc: IpcCtx) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(grant.limits().handles as usize);
        Self {
            budget: Budget::new(grant.limits(), memory),
            wasi: enforce::wasi_ctx(grant, ipc.output("stdout"), ipc.output("stderr")),
            ipc,
            table,
            limits: grant.limits().clone(),
            caller: Caller::default(),
        }
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
        &mut self.budget
    }

    fn configure(store: &mut Store<Self>) {
        let limits = store.data().limits.clone();
        enforce::limit_store(store, &limits);
    }

    fn memory_refused(&self) -> Option<MemoryRefused> {
        self.budget.memory_denied().map(|denied| match denied {
            MemoryDenied::Share => MemoryRefused::Plugin,
            MemoryDenied::Host => MemoryRefused::Host,
        })
    }

    fn exit_status(error: &wasmtime::Error) -> Option<i32> {
        error.downcast_ref().map(|I32Exit(status)| *status)
    }

    fn begin_call(&mut self, caller: &Caller) {
        self.budget.begin_call();
        self.ipc.begin_call(&caller.request_id);
        self.caller = caller.clone();
    }

    fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
