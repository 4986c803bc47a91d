//! Which version answers calls that name none: for each plugin, a router.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use arc_swap::ArcSwapOption;
use dashmap::DashMap;
use host_core::{CoreError, FunctionReply, Plugin, PluginState, ProcessCall, StreamReply};
use host_deploy::{
    Key, Revision, Router, Split,
    verdict::{Arm, Outcome},
};
use plugin_contract::PluginId;
use semver::Version;

use crate::{
    Answered, HostError,
    deploy::{Mirror, Mirrored, Trial},
    state::HostState,
};

pub(crate) type HostPlugin = Arc<Plugin<HostState>>;

/// How often a call looks again for who answers, if it was replaced at that very moment.
pub(crate) const ROUTES_MAX: usize = 5;

/// Has a call answered by the plugin that is found; if that is replaced between the two steps, by whoever
/// took its place. What becomes of it is told to the canary's trial, if there is one. A macro, since no
/// bound says that the future of a closure may be sent.
macro_rules! routed {
    ($find:expr, $found:ident => $call:expr) => {{
        let mut left = $crate::routes::ROUTES_MAX;
        loop {
            let $found = match $find {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let watch = $found.watch();
            match $call {
                Err(::host_core::CoreError::Retired { .. }) if left > 0 => {
                    left -= 1;
                    if let Some(watch) = watch {
                        watch.forget();
                    }
                }
                answer => {
                    if let Some(watch) = watch {
                        watch.tell(&answer);
                    }
                    break answer.map_err($crate::HostError::from);
                }
            }
        }
    }};
}
pub(crate) use routed;

/// The plugin that is to answer a call.
pub(crate) struct Found {
    plugin: HostPlugin,
    trial: Option<(Arc<Trial>, Arm)>,
    mirror: Option<Arc<Mirror>>,
}

impl Found {
    /// Watches a call that begins now, if it is one by which a canary is judged.
    pub(crate) fn watch(&self) -> Option<Watch> {
        let (trial, arm) = self.trial.clone()?;
        Some(Watch { trial: Some(trial), arm, since: Instant::now() })
    }

    /// The call, if it is to be made once more on a version that is tried.
    pub(crate) fn mirrored(&self, call: &ProcessCall) -> Option<Mirrored> {
        self.mirror.as_ref()?.take(call)
    }

    pub(crate) fn into_plugin(self) -> HostPlugin {
        self.plugin
    }
}

impl From<HostPlugin> for Found {
    fn from(plugin: HostPlugin) -> Self {
        Self { plugin, trial: None, mirror: None }
    }
}

impl Deref for Found {
    type Target = HostPlugin;
    fn deref(&self) -> &HostPlugin {
        &self.plugin
    }
}

/// A call that says something of a canary. Dropped before it is told how the call ended, the caller has
/// gone, or the plugin does not take such calls: of a canary that hangs, nobody would hear otherwise.
pub(crate) struct Watch {
    trial: Option<Arc<Trial>>,
    arm: Arm,
    since: Instant,
}

impl Watch {
    /// How it ended. Every error counts: both sides get the same mix of calls.
    pub(crate) fn tell<R: Answer>(mut self, answer: &Result<R, CoreError>) {
        self.end(answer.as_ref().map_or(true, Answer::is_degraded));
    }

    /// Somebody else answers the call.
    pub(crate) fn forget(mut self) {
        self.trial = None;
    }

    fn end(&mut self, failed: bool) {
        if let Some(trial) = self.trial.take() {
            trial.observe(self.arm, Outcome { failed, latency: self.since.elapsed() });
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// What a call is answered with.
pub(crate) trait Answer {
    /// Whether somebody else answered in the plugin's place, since it was out of order.
    fn is_degraded(&self) -> bool {
        false
    }
}

impl Answer for Answered {
    fn is_degraded(&self) -> bool {
        self.reply.degraded.is_some()
    }
}

impl Answer for bool {}
impl Answer for () {}
impl Answer for FunctionReply {}
impl Answer for StreamReply {}
impl Answer for Option<Vec<u8>> {}

/// What was decided of a plugin whose versions are deployed; of all others, the newest that serves answers.
#[derive(Clone)]
pub(crate) struct Directive {
    /// The version that answers.
    pub(crate) active: Version,
    /// The canary, and who goes to it.
    pub(crate) canary: Option<(Version, Split)>,
}

/// The routers of all plugins.
#[derive(Default)]
pub(crate) struct Routes {
    routes: DashMap<PluginId, Arc<Route>>,
    directives: DashMap<PluginId, Directive>,
    closed: AtomicBool,
}

struct Route {
    router: Router<HostPlugin>,
    /// What the canary is judged by.
    trial: ArcSwapOption<Trial>,
    /// What makes calls once more.
    mirror: ArcSwapOption<Mirror>,
}

impl Routes {
    /// The plugin that is to answer a call.
    pub(crate) fn find(&self, name: &PluginId, key: Key<'_>) -> Result<Found, HostError> {
        // The guard ends with this line: it is a lock.
        let route = self.routes.get(name).map(|route| route.value().clone());
        let unknown = || HostError::UnknownPlugin(name.clone().into());
        let route = route.ok_or_else(unknown)?;
        let mut lease = route.router.route(key).map_err(|_| unknown())?;
        if lease.counted_arm() == Some(Arm::Canary)
            && route.trial.load().as_ref().is_some_and(|trial| trial.is_out())
        {
            let stable = Key { pin: Some(Arm::Stable), ..key };
            lease = route.router.route(stable).map_err(|_| unknown())?;
        }
        let trial = lease.counted_arm().and_then(|arm| Some((route.trial.load_full()?, arm)));
        let trial = trial.filter(|(trial, _)| trial.is_first(key.id));
        Ok(Found { plugin: (*lease).clone(), trial, mirror: route.mirror.load_full() })
    }

    /// The plugin that serves, whatever canary is beside it.
    pub(crate) fn stable(&self, name: &PluginId) -> Option<HostPlugin> {
        let key = Key { pin: Some(Arm::Stable), ..Key::default() };
        self.find(name, key).ok().map(Found::into_plugin)
    }

    /// Says which versions answer from the next [update](Routes::update) on; `None`: the newest that serves.
    pub(crate) fn direct(&self, name: &PluginId, directive: Option<Directive>) {
        match directive {
            Some(directive) => drop(self.directives.insert(name.clone(), directive)),
            None => drop(self.directives.remove(name)),
        }
    }

    /// Judges the canary by what `trial` is told.
    pub(crate) fn judge(&self, name: &PluginId, trial: Option<Arc<Trial>>) {
        if let Some(route) = self.routes.get(name) {
            route.trial.store(trial);
        }
    }

    /// Has calls made once more by `mirror`.
    pub(crate) fn mirror(&self, name: &PluginId, mirror: Option<Arc<Mirror>>) {
        if let Some(route) = self.routes.get(name) {
            route.mirror.store(mirror);
        }
    }

    /// Sends calls to the versions that were decided on, or to the newest version that takes them; if none
    /// does, to the newest, which says why.
    pub(crate) fn update(&self, name: &PluginId, versions: &[HostPlugin]) {
        let directive = self.directives.get(name).map(|directive| directive.value().clone());
        let of = |version: &Version| versions.iter().find(|plugin| plugin.version() == version);
        let active = directive.as_ref().and_then(|directive| of(&directive.active));
        let Some(stable) = active.or_else(|| newest(versions)) else {
            self.routes.remove(name);
            return;
        };
        let new = || {
            let router = Router::new(revision(stable), stable.clone());
            let (trial, mirror) = (ArcSwapOption::empty(), ArcSwapOption::empty());
            Arc::new(Route { router, trial, mirror })
        };
        let route = self.routes.entry(name.clone()).or_insert_with(new).value().clone();
        let canary = directive.and_then(|directive| directive.canary);
        let canary = canary.and_then(|(version, split)| Some((of(&version)?, split)));
        route.lead(stable, canary);
        if self.closed.load(Ordering::Acquire) {
            drop(route.router.close());
        }
    }

    /// Takes no further calls.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for route in &self.routes {
            drop(route.router.close());
        }
    }
}

impl Route {
    /// Has `stable` serve and `canary` beside it, in the fewest steps. What drains is waited for where it
    /// is taken out of service.
    fn lead(&self, stable: &HostPlugin, canary: Option<(&HostPlugin, Split)>) {
        if self.is(Arm::Canary, stable) {
            drop(self.router.promote());
        } else if !self.is(Arm::Stable, stable) {
            // Closed: the host shuts down, and nobody calls.
            drop(self.router.activate(revision(stable), stable.clone()));
        }
        match canary {
            None => drop(self.router.withdraw()),
            Some((canary, split)) if self.is(Arm::Canary, canary) => {
                self.router.set_split(split);
            }
            Some((canary, split)) => {
                drop(self.router.set_canary(revision(canary), canary.clone(), split));
            }
        }
    }

    /// Whether `plugin` is on this side.
    fn is(&self, arm: Arm, plugin: &HostPlugin) -> bool {
        let there = match arm {
            Arm::Stable => self.router.revision().is_some(),
            Arm::Canary => self.router.canary().is_some(),
        };
        let key = Key { pin: Some(arm), ..Key::default() };
        there && self.router.route(key).is_ok_and(|lease| Arc::ptr_eq(&*lease, plugin))
    }
}

fn newest(versions: &[HostPlugin]) -> Option<&HostPlugin> {
    let serves = |plugin: &&HostPlugin| {
        matches!(plugin.state(), PluginState::Serving | PluginState::Paused)
            && !plugin.is_candidate()
    };
    let may = |plugin: &&HostPlugin| {
        matches!(plugin.state(), PluginState::Registered | PluginState::Starting)
    };
    let newest = versions.iter().rev().find(serves);
    newest.or_else(|| versions.iter().rev().find(may)).or(versions.last())
}

fn revision(plugin: &HostPlugin) -> Revision {
    Revision {
        plugin: plugin.name().clone(),
        version: plugin.version().clone(),
        digest: plugin.description().info.digest,
    }
}
