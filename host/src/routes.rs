//! Which version answers calls that name none: for each plugin, a router.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dashmap::DashMap;
use host_core::{Plugin, PluginState};
use host_deploy::{Lease, Revision, Router};
use plugin_contract::PluginId;

use crate::{HostError, state::HostState};

pub(crate) type HostPlugin = Arc<Plugin<HostState>>;

/// How often a call looks again for who answers, if it was replaced at that very moment.
pub(crate) const ROUTES_MAX: usize = 5;

/// Has a call answered by the plugin that is found; if that is replaced between the two steps, by whoever
/// took its place. A macro, since no bound says that the future of a closure may be sent.
macro_rules! routed {
    ($find:expr, $found:ident => $call:expr) => {{
        let mut left = $crate::routes::ROUTES_MAX;
        loop {
            let $found = match $find {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            match $call {
                Err(::host_core::CoreError::Retired { .. }) if left > 0 => left -= 1,
                answer => break answer.map_err($crate::HostError::from),
            }
        }
    }};
}
pub(crate) use routed;

/// The routers of all plugins.
#[derive(Default)]
pub(crate) struct Routes {
    routers: DashMap<PluginId, Arc<Router<HostPlugin>>>,
    closed: AtomicBool,
}

impl Routes {
    /// The version of a plugin that answers now.
    pub(crate) fn route(&self, name: &PluginId) -> Option<Lease<HostPlugin>> {
        // The guard ends with this line: it is a lock.
        let router = self.routers.get(name).map(|router| router.value().clone());
        router?.route().ok()
    }

    /// The same, or why there is none.
    pub(crate) fn find(&self, name: &PluginId) -> Result<HostPlugin, HostError> {
        let found = self.route(name).map(|lease| (*lease).clone());
        found.ok_or_else(|| HostError::UnknownPlugin(name.clone().into()))
    }

    /// Sends calls to the newest version that takes them; if none does, to the newest, which says why.
    pub(crate) fn update(&self, name: &PluginId, versions: &[HostPlugin]) {
        let serves = |plugin: &&HostPlugin| {
            matches!(plugin.state(), PluginState::Serving | PluginState::Paused)
        };
        let may = |plugin: &&HostPlugin| {
            matches!(plugin.state(), PluginState::Registered | PluginState::Starting)
        };
        let newest = versions.iter().rev().find(serves);
        let newest = newest.or_else(|| versions.iter().rev().find(may)).or(versions.last());
        let Some(newest) = newest else {
            self.routers.remove(name);
            return;
        };
        let revision = Revision {
            plugin: name.clone(),
            version: newest.version().clone(),
            digest: newest.description().info.digest,
        };
        let new = || Arc::new(Router::new(revision.clone(), newest.clone()));
        let router = self.routers.entry(name.clone()).or_insert_with(new).value().clone();
        let same = router.route().is_ok_and(|lease| Arc::ptr_eq(&*lease, newest));
        // What drains is waited for where it was taken out of service.
        if !same && router.activate(revision, newest.clone()).is_err() {
            tracing::debug!(plugin = %name, "no route: the host shuts down");
        }
        if self.closed.load(Ordering::Acquire) {
            drop(router.close());
        }
    }

    /// Takes no further calls.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for router in &self.routers {
            drop(router.close());
        }
    }
}
