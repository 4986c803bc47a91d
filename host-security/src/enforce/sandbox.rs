//! Everything that holds one plugin to its grant, put together.

use std::{path::PathBuf, sync::Arc};

use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, cli::StdoutStream};

use super::{
    Budget, HostMemory,
    fs::{self, FS_INTERFACES, FsCtx, FsShared, FsView, PluginFs},
    net::{self, NET_INTERFACES, NetCtx, NetData, NetShared, NetView, PluginNet},
    wasi::{self, WASI_INTERFACES},
};
use crate::{Auditor, Grant};

/// What the sandboxes of all plugins share. Cheap to clone.
#[derive(Clone)]
pub struct HostShares {
    /// Memory.
    pub memory: Arc<HostMemory>,
    /// Trees on disk.
    pub fs: FsShared,
    /// The network.
    pub net: Arc<NetShared>,
}

/// Holds the instances of one revision of a plugin to its grant. Cheap to clone.
///
/// This is the one place where a [`Grant`] becomes what a guest can reach.
#[derive(Clone)]
pub struct Confinement {
    grant: Arc<Grant>,
    shares: HostShares,
    fs: PluginFs,
    net: Arc<PluginNet>,
    auditor: Auditor,
}

impl Confinement {
    /// Holds the plugin to `grant`, and tells `auditor` what it is refused. Its private directory, if it
    /// may have one, is `data_dir` on the host. May block: paths of the host are looked up.
    pub fn new(
        grant: Grant,
        auditor: Auditor,
        shares: &HostShares,
        data_dir: Option<PathBuf>,
    ) -> Self {
        Self {
            fs: PluginFs::new(&grant, data_dir, &shares.fs, auditor.clone()),
            net: PluginNet::new(&grant, auditor.clone(), shares.net.clone()),
            shares: shares.clone(),
            grant: Arc::new(grant),
            auditor,
        }
    }

    /// What it is held to.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// Who is told.
    pub fn auditor(&self) -> &Auditor {
        &self.auditor
    }

    /// Its network, for requests that the host makes in its name.
    pub fn net(&self) -> &Arc<PluginNet> {
        &self.net
    }

    /// A sandbox for one more instance, whose output goes to these two streams.
    pub fn instance(
        &self,
        stdout: impl StdoutStream + 'static,
        stderr: impl StdoutStream + 'static,
    ) -> Sandbox {
        let net = NetCtx::new(&self.net);
        let limits = self.grant.limits();
        let auditor = self.auditor.clone();
        Sandbox {
            budget: Budget::new(limits, self.shares.memory.clone()).audited(auditor),
            wasi: wasi::wasi_ctx(&self.grant, &net, stdout, stderr),
            fs: self.fs.instance(),
            net,
            grant: self.grant.clone(),
        }
    }
}

/// Holds one instance to its grant: a part of the data of its store.
pub struct Sandbox {
    /// Its memory; the store's limiter.
    pub budget: Budget,
    wasi: WasiCtx,
    fs: FsCtx,
    net: NetCtx,
    grant: Arc<Grant>,
}

impl Sandbox {
    /// What it is held to.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }
}

/// [`Sandbox`] and the resources of the store.
pub struct SandboxView<'a> {
    /// The sandbox.
    pub sandbox: &'a mut Sandbox,
    /// The resources of the store, which may be shared with other interfaces.
    pub table: &'a mut ResourceTable,
}

/// Store data with a sandbox in it.
pub trait Sandboxed: Send + 'static {
    /// Where it is.
    fn sandbox(&mut self) -> SandboxView<'_>;
}

impl<'a> SandboxView<'a> {
    pub(super) fn wasi(self) -> (&'a mut WasiCtx, &'a mut ResourceTable) {
        (&mut self.sandbox.wasi, self.table)
    }
}

impl<T: Sandboxed> NetData for T {
    fn net(&mut self) -> NetView<'_> {
        let SandboxView { sandbox, table } = self.sandbox();
        NetView { ctx: &mut sandbox.net, wasi: &mut sandbox.wasi, table }
    }
}

/// All interfaces that [`add_to_linker`] adds, by package and name. None of them carries authority by being
/// there: what a guest asks of them is decided when it asks, so that what is refused can be audited.
pub fn interfaces() -> Vec<&'static str> {
    [&WASI_INTERFACES[..], &FS_INTERFACES, &NET_INTERFACES].concat()
}

/// Adds [`interfaces`] to `linker`.
///
/// # Errors
/// The engine's, if one of them is there already.
pub fn add_to_linker<T: Sandboxed>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    wasi::add_to_linker::<T>(linker)?;
    fs::add_to_linker::<T>(linker, |data| {
        let SandboxView { sandbox, table } = data.sandbox();
        FsView { ctx: &mut sandbox.fs, table }
    })?;
    net::add_to_linker::<T>(linker)
}
