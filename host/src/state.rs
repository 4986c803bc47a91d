//! The data in each store: one field for each library that keeps state there.

use host_core::StoreData;
use host_ipc::{IpcCtx, IpcView};
use host_security::{
    Grant,
    enforce::{self, Budget, HostMemory},
};
use std::sync::Arc;
use wasmtime::{
    ResourceLimiter,
    component::{Linker, ResourceTable},
};
use wasmtime_wasi::{I32Exit, WasiCtx, WasiCtxView, WasiView};

/// What the stores of this host hold.
pub(crate) struct HostState {
    budget: Budget,
    wasi: WasiCtx,
    ipc: IpcCtx,
    table: ResourceTable,
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

    fn memory_denied(&self) -> bool {
        self.budget.memory_denied()
    }

    fn exit_status(error: &wasmtime::Error) -> Option<i32> {
        error.downcast_ref().map(|I32Exit(status)| *status)
    }

    fn begin_call(&mut self, request_id: &Arc<str>) {
        self.ipc.begin_call(request_id.clone());
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
