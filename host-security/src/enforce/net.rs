//! The network of one store: sockets, names and HTTP, under one policy.
//!
//! Three doors lead out, and all of them ask [`NetRules`] about the address that will be used:
//! `wasi:sockets` through a check before each bind, listen, connect and datagram; `wasi:http` and the
//! host's own HTTP client through [`PluginNet::fetch`] and its like, which dial only what was checked.
//! Names are resolved only if they were granted; what a name leads to is checked all the same.
//!
//! [`NetShared`] is of the host, [`PluginNet`] of a plugin, [`NetCtx`] of a store.
//! Not here: which addresses are granted (`rules`), and what becomes of a refusal (`audit`).
//!
//! [`NetRules`]: crate::NetRules

mod address;
mod client;
mod door;
mod lookup;
mod names;
mod outgoing;
mod resolve;
mod sockets;
mod target;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU32},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{
    StoreContextMut,
    component::{HasData, Linker, Resource, ResourceTable},
};
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    p2::bindings::sockets as wasi_sockets,
    sockets::{WasiSockets, WasiSocketsCtxView},
};
use wasmtime_wasi_http::{WasiHttp, WasiHttpCtx, WasiHttpCtxView, p2::bindings::http as wasi_http};

pub use client::NetSetupError;
pub use door::{HttpRefused, HttpRequest, HttpResponse, Stage};
pub use resolve::{Resolver, SystemResolver};

use crate::{Auditor, Grant, Limits, NetRules};
use names::Names;
use outgoing::Outgoing;

/// The interfaces that [`add_to_linker`] adds, by package and name.
pub const NET_INTERFACES: [&str; 9] = [
    "wasi:sockets/network",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
    "wasi:http/types",
    "wasi:http/outgoing-handler",
];

/// HTTP requests of one plugin at a time. The next one waits, within its deadline.
const REQUESTS_MAX: usize = 8;
/// Names that one plugin has resolved at a time. The next one waits, within its deadline.
const LOOKUPS_OF_PLUGIN_MAX: usize = 4;
/// Names resolved at a time, of all plugins: each takes a thread while it lasts.
const LOOKUPS_OF_HOST_MAX: usize = 32;
/// Lookups that a store may have begun and not finished.
const LOOKUPS_OF_STORE_MAX: usize = 8;
/// Longest time for one exchange by [`PluginNet::fetch`], redirects and all.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// Memory for the header fields of one message in `wasi:http`.
const FIELDS_BYTES_MAX: usize = 64 << 10;
/// Longest method of a request in `wasi:http`.
const METHOD_BYTES_MAX: usize = 64;
/// Longest authority of a request in `wasi:http`.
const AUTHORITY_BYTES_MAX: usize = 1 << 10;
/// As the engine links it.
const HTTP_TYPES: &str = "wasi:http/types@0.2.12";

/// What an operator can set about the network of all plugins.
pub struct NetSettings {
    /// Certificates of authorities to trust besides the public ones, each file as DER or PEM.
    pub extra_roots: Vec<Vec<u8>>,
    /// Open sockets of all plugins together; one more is refused: `new-socket-limit`. Default 1,024.
    pub sockets_max: u32,
    /// How names are resolved. Default: as the host does.
    pub resolver: Arc<dyn Resolver>,
}

impl Default for NetSettings {
    fn default() -> Self {
        Self { extra_roots: Vec::new(), sockets_max: 1_024, resolver: Arc::new(SystemResolver) }
    }
}

/// What all plugins of a host share of the network: whom TLS trusts, how names are resolved, and how
/// many sockets there are. Connections are shared by nobody.
pub struct NetShared {
    tls: rustls::ClientConfig,
    resolver: Arc<dyn Resolver>,
    lookups: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    sockets_max: u32,
}

impl NetShared {
    /// Makes ready what is shared.
    ///
    /// # Errors
    /// [`NetSetupError`]: a certificate that is none.
    pub fn new(settings: NetSettings) -> Result<Arc<Self>, NetSetupError> {
        let sockets_max = settings.sockets_max;
        // More permits than a semaphore can hold are as good as no bound.
        let permits = usize::try_from(sockets_max).unwrap_or(usize::MAX);
        Ok(Arc::new(Self {
            tls: client::tls(&settings.extra_roots)?,
            resolver: settings.resolver,
            lookups: Arc::new(Semaphore::new(LOOKUPS_OF_HOST_MAX)),
            sockets: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            sockets_max,
        }))
    }
}

/// The network of one revision of a plugin, for all of its stores.
pub struct PluginNet {
    rules: Arc<NetRules>,
    limits: Limits,
    auditor: Auditor,
    shared: Arc<NetShared>,
    requests: Arc<Semaphore>,
    lookups: Arc<Semaphore>,
}

impl PluginNet {
    /// What `grant` gives. What is refused, used or exceeded is told to `auditor`.
    pub fn new(grant: &Grant, auditor: Auditor, shared: Arc<NetShared>) -> Arc<Self> {
        Arc::new(Self {
            rules: grant.net().clone(),
            limits: grant.limits().clone(),
            auditor,
            shared,
            requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
            lookups: Arc::new(Semaphore::new(LOOKUPS_OF_PLUGIN_MAX)),
        })
    }

    /// Longest time for one exchange: 30 s, or the plugin's `timeout` if that is less.
    fn fetch_max(&self) -> Duration {
        self.limits.timeout.min(FETCH_MAX)
    }
}

/// The network of one store.
pub struct NetCtx {
    store: Arc<StoreNet>,
    /// A permit of the host for each open socket, by its place in the table of resources.
    open: HashMap<u32, OwnedSemaphorePermit>,
    http: WasiHttpCtx,
    hooks: Outgoing,
}

/// What the check of addresses and the lookups of a store share.
struct StoreNet {
    plugin: Arc<PluginNet>,
    names: Mutex<Names>,
    lookups: Arc<Semaphore>,
    /// How many messages of strangers were told of.
    strangers: AtomicU32,
}

impl NetCtx {
    /// A network without sockets and without remembered names.
    pub fn new(plugin: &Arc<PluginNet>) -> Self {
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            store: Arc::new(StoreNet {
                plugin: plugin.clone(),
                names: Mutex::default(),
                lookups: Arc::new(Semaphore::new(LOOKUPS_OF_STORE_MAX)),
                strangers: AtomicU32::new(0),
            }),
            open: HashMap::new(),
            http,
            hooks: Outgoing::new(plugin.clone()),
        }
    }
}

impl StoreNet {
    fn names(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets a guest try: whether it may is decided for each address, so that every refusal names one.
///
/// Names are not resolved by wasmtime's implementation at all; [`add_to_linker`] links another.
pub(super) fn configure(builder: &mut WasiCtxBuilder, ctx: &NetCtx) {
    let store = ctx.store.clone();
    builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(false).socket_addr_check(
        move |address: SocketAddr, purpose| {
            let allowed = store.allows(address, purpose);
            Box::pin(std::future::ready(allowed))
        },
    );
}

/// [`NetCtx`], and what else of a store sockets and HTTP need.
pub struct NetView<'a> {
    /// The network of the store.
    pub ctx: &'a mut NetCtx,
    /// The store's WASI context, which has the settings of sockets.
    pub wasi: &'a mut WasiCtx,
    /// The resources of the store.
    pub table: &'a mut ResourceTable,
}

/// Store data with a network in it.
pub trait NetData: Send + 'static {
    /// Where it is.
    fn net(&mut self) -> NetView<'_>;
}

impl<'a> NetView<'a> {
    fn sockets(&mut self) -> WasiSocketsCtxView<'_> {
        WasiSocketsCtxView { ctx: self.wasi.sockets(), table: self.table }
    }

    fn into_sockets(self) -> WasiSocketsCtxView<'a> {
        WasiSocketsCtxView { ctx: self.wasi.sockets(), table: self.table }
    }

    fn into_http(self) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { hooks: &mut self.ctx.hooks, table: self.table, ctx: &mut self.ctx.http }
    }
}

struct HasNet;

impl HasData for HasNet {
    type Data<'a> = NetView<'a>;
}

/// Adds [`NET_INTERFACES`] to `linker`.
///
/// # Errors
/// The engine's, if one of them is there already.
pub fn add_to_linker<T: NetData>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    let l = linker;
    // Only what is bounded or decided by us is ours; the rest is wasmtime's.
    let unstable = wasi_sockets::network::LinkOptions::default();
    wasi_sockets::network::add_to_linker::<T, HasNet>(l, &unstable, T::net)?;
    wasi_sockets::instance_network::add_to_linker::<T, WasiSockets>(l, |t| t.net().into_sockets())?;
    wasi_sockets::ip_name_lookup::add_to_linker::<T, HasNet>(l, T::net)?;
    wasi_sockets::tcp::add_to_linker::<T, HasNet>(l, T::net)?;
    wasi_sockets::tcp_create_socket::add_to_linker::<T, HasNet>(l, T::net)?;
    wasi_sockets::udp::add_to_linker::<T, HasNet>(l, T::net)?;
    wasi_sockets::udp_create_socket::add_to_linker::<T, HasNet>(l, T::net)?;
    let unstable = wasi_http::types::LinkOptions::default();
    wasi_http::types::add_to_linker::<T, WasiHttp>(l, &unstable, |t| t.net().into_http())?;
    bound_requests(l)?;
    wasi_http::outgoing_handler::add_to_linker::<T, WasiHttp>(l, |t| t.net().into_http())
}

/// Wasmtime keeps what a guest says of a request, however long it is: 32 MiB with each of its handles.
fn bound_requests<T: NetData>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    use wasi_http::types::{HostOutgoingRequest, Method, OutgoingRequest};
    linker.allow_shadowing(true);
    let mut types = linker.instance(HTTP_TYPES)?;
    types.func_wrap(
        "[method]outgoing-request.set-method",
        |mut cx: StoreContextMut<'_, T>, (this, method): (Resource<OutgoingRequest>, Method)| {
            let is_long = matches!(&method, Method::Other(name) if name.len() > METHOD_BYTES_MAX);
            let set = || cx.data_mut().net().into_http().set_method(this, method);
            Ok((if is_long { Err(()) } else { set()? },))
        },
    )?;
    type Authority = Option<String>;
    types.func_wrap(
        "[method]outgoing-request.set-authority",
        |mut cx: StoreContextMut<'_, T>, (this, name): (Resource<OutgoingRequest>, Authority)| {
            let is_long = name.as_ref().is_some_and(|name| name.len() > AUTHORITY_BYTES_MAX);
            let set = || cx.data_mut().net().into_http().set_authority(this, name);
            Ok((if is_long { Err(()) } else { set()? },))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests;
