//! The state of one store, and how a linker finds it.

use std::sync::Arc;

use plugin_contract::{Caller, PluginId};
use wasmtime::component::{HasData, Linker, ResourceTable};

use crate::{
    ConfigStore, EventSource, GuestOutput, HttpFetch, LimitReached, LogLimits, PluginLog,
    bindings::toolsku::host_api::{host_services, messaging},
    channel::Sender,
    limit::LimitWatch,
    messaging::{MayReach, Post},
};

/// What one instance of a plugin knows of its host.
pub struct IpcCtx {
    pub(crate) plugin: PluginId,
    pub(crate) log: PluginLog,
    pub(crate) config: Option<Arc<dyn ConfigStore>>,
    pub(crate) events: Option<EventSource>,
    pub(crate) http: Option<Arc<dyn HttpFetch>>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) data_dir: DataDir,
    pub(crate) watch: LimitWatch,
    pub(crate) post: Option<Post>,
    /// Whom the current call is for.
    pub(crate) caller: Caller,
}

/// Where a guest has its private directory.
#[derive(Debug, Clone)]
pub(crate) enum DataDir {
    /// The host keeps none.
    NotAvailable,
    /// The guest was not granted one.
    Denied,
    /// Here, in its own view.
    At(String),
}

/// [`IpcCtx`] and the table of the store's resources, found together.
pub struct IpcView<'a> {
    /// The state of this crate.
    pub ctx: &'a mut IpcCtx,
    /// The resources of the store, which may be shared with other interfaces.
    pub table: &'a mut ResourceTable,
}

/// The interfaces that [`add_to_linker`] adds, by package and name.
pub const INTERFACES: [&str; 2] = ["toolsku:host-api/host-services", "toolsku:host-api/messaging"];

/// Adds `host-services` and `messaging` of `toolsku:host-api` to `linker`. `view` finds this crate's
/// state inside the store data.
///
/// # Errors
/// The engine's, if one of them is there already.
pub fn add_to_linker<T: Send + 'static>(
    linker: &mut Linker<T>,
    view: fn(&mut T) -> IpcView<'_>,
) -> wasmtime::Result<()> {
    host_services::add_to_linker::<T, HasIpc>(linker, view)?;
    messaging::add_to_linker::<T, HasIpc>(linker, view)
}

struct HasIpc;

impl HasData for HasIpc {
    type Data<'a> = IpcView<'a>;
}

impl IpcCtx {
    /// A context for an instance of `plugin` in `version`, without any service but logging.
    pub fn builder(plugin: PluginId, version: &str) -> IpcCtxBuilder {
        IpcCtxBuilder {
            ctx: IpcCtx {
                log: PluginLog::new(plugin.clone(), version, LogLimits::default()),
                plugin,
                config: None,
                events: None,
                http: None,
                env: Vec::new(),
                data_dir: DataDir::NotAvailable,
                watch: LimitWatch::default(),
                post: None,
                caller: Caller::default(),
            },
        }
    }

    /// Starts a call: what the guest says and asks for from here on is in the name of `caller`, and its
    /// share of log lines is whole again.
    pub fn begin_call(&mut self, caller: Caller) {
        self.log.begin_call(&caller);
        self.caller = caller;
    }

    /// Whom the current call is for.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Where the guest's standard output or error goes: `stream` names it in the log.
    pub fn output(&self, stream: &'static str) -> GuestOutput {
        GuestOutput::new(self.log.clone(), stream)
    }
}

/// Configures an [`IpcCtx`]; see [`IpcCtx::builder`].
pub struct IpcCtxBuilder {
    ctx: IpcCtx,
}

impl IpcCtxBuilder {
    /// How much the guest may say, in place of the defaults.
    #[must_use]
    pub fn log_limits(mut self, limits: LogLimits) -> Self {
        self.ctx.log = self.ctx.log.within(limits);
        self
    }

    /// Lets the guest keep configuration.
    #[must_use]
    pub fn config(mut self, store: Arc<dyn ConfigStore>) -> Self {
        self.ctx.config = Some(store);
        self
    }

    /// Takes the guest's events. All instances of a plugin emit from one source.
    #[must_use]
    pub fn events(mut self, events: EventSource) -> Self {
        self.ctx.events = Some(events);
        self
    }

    /// Sends the guest's HTTP requests. Whether it may, `http` decides for each.
    #[must_use]
    pub fn http(mut self, http: Arc<dyn HttpFetch>) -> Self {
        self.ctx.http = Some(http);
        self
    }

    /// Lets the guest send messages in the name of `sender`, to whom `may_reach` lets it.
    #[must_use]
    pub fn messages(mut self, sender: Sender, may_reach: MayReach) -> Self {
        self.ctx.post = Some(Post { sender, may_reach });
        self
    }

    /// Has `watch` told of every limit that the guest reaches. It must not block.
    #[must_use]
    pub fn watch_limits(mut self, watch: Arc<dyn Fn(&LimitReached) + Send + Sync>) -> Self {
        self.ctx.watch = LimitWatch::new(watch);
        self.ctx.log.watched(self.ctx.watch.clone());
        self
    }

    /// Where the guest finds its private directory, in its own view of the filesystem. That it is there is
    /// for whoever serves `wasi:filesystem` to see to.
    #[must_use]
    pub fn data_dir(mut self, path: &str) -> Self {
        self.ctx.data_dir = DataDir::At(path.to_owned());
        self
    }

    /// The guest was not granted a private directory, on a host that has them.
    #[must_use]
    pub fn no_data_dir(mut self) -> Self {
        self.ctx.data_dir = DataDir::Denied;
        self
    }

    /// The environment that the guest was granted.
    #[must_use]
    pub fn env(mut self, env: &[(String, String)]) -> Self {
        self.ctx.env = env.to_vec();
        self.ctx.env.sort();
        self
    }

    /// The context.
    #[must_use]
    pub fn build(self) -> IpcCtx {
        self.ctx
    }
}
