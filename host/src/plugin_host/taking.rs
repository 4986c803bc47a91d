//! What becomes of a file that changed: nothing, a new plugin, or a new revision in an old one's place.
//!
//! Not here: when to look at it (`watch`).

use std::{iter, path::Path, sync::Arc, time::Duration};

use host_core::{CoreError, Description, Found, PluginState, Replaced};
use plugin_contract::{Explain, PluginId};
use tokio::time::Instant;

use super::{PluginHost, Refused};
use crate::{HostError, blocking, chain, routes::HostPlugin, state::HostState};

/// What came of trying a file.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is what serves already, or none of the watcher's business.
    Unchanged,
    /// It serves now.
    Serves,
    /// It does not serve, and will not until it changes. What was tried, if it got as far as that.
    Refused(Option<Arc<Description>>),
    /// It does not serve. When other plugins change, it might.
    WaitsForOthers,
    /// It does not serve, for a reason that passes by itself.
    Later,
}

/// The same, and what was replaced, whose calls may still be under way.
pub(crate) struct Taken {
    pub(crate) outcome: Outcome,
    pub(crate) replaced: Option<Replaced<HostState>>,
}

impl From<Outcome> for Taken {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, replaced: None }
    }
}

impl PluginHost {
    /// Has what lies at `path` now serve, if it is another than what serves from there, or than what `failed`
    /// when it was tried last. If it cannot, what serves from there goes on, and the reason is told, once.
    pub(crate) async fn take(
        &self,
        path: &Path,
        failed: Option<Arc<Description>>,
        drain: Duration,
    ) -> Taken {
        match self.try_to_take(path, failed, drain).await {
            Ok(taken) => taken,
            Err(Untaken { error, old, description }) => {
                self.inner.tell_refused(path, old.as_ref(), error.clone());
                outcome_of(&error, description).into()
            }
        }
    }

    async fn try_to_take(
        &self,
        path: &Path,
        failed: Option<Arc<Description>>,
        drain: Duration,
    ) -> Result<Taken, Untaken> {
        let inner = &self.inner;
        let there = inner.plugin_at(path, None);
        if there.as_ref().is_some_and(|there| inner.manages(there.name())) {
            return Ok(Outcome::Unchanged.into());
        }
        let untaken = |error: CoreError, old: &Option<HostPlugin>| Untaken {
            error: Arc::new(error),
            old: old.clone(),
            description: None,
        };
        let found = inner.registry.read(path).await.map_err(|error| untaken(error, &there))?;
        // If not, nothing was compiled, and nothing will be.
        let artifact = found.artifact.map_err(|error| untaken(error, &there))?;
        let description = artifact.description.clone();
        let found = Found { path: found.path, artifact: Ok(artifact) };
        if inner.manages(description.name()) {
            // Its versions are the operator's to choose, and not those of whoever writes to a directory.
            return Ok(Outcome::Unchanged.into());
        }
        let old = match there {
            Some(there) => Some(there),
            None => inner.moved_to(path, &description).await,
        };
        if let Some(old) = &old {
            if *old.description() == *description && old.path() == path {
                inner.refused().remove(path);
                return Ok(Outcome::Unchanged.into());
            }
            if old.state() == PluginState::Unloaded {
                // What an operator has unloaded comes back when an operator says so, and then as it is now.
                return Ok(Outcome::Later.into());
            }
        }
        if failed.as_ref() == Some(&description) {
            // The same bytes, touched.
            return Ok(Outcome::Refused(failed).into());
        }
        match old {
            Some(old) => self.swap(old, found, description, drain).await,
            None => self.load_new(path, found, description).await,
        }
    }

    async fn swap(
        &self,
        old: HostPlugin,
        found: Found,
        description: Arc<Description>,
        drain: Duration,
    ) -> Result<Taken, Untaken> {
        let inner = &self.inner;
        let deadline = Instant::now() + drain;
        match inner.registry.reload_as(&old, found, deadline).await {
            Ok(replaced) => {
                inner.tell_taken("reloaded", &replaced.plugin);
                inner.refused().remove(replaced.plugin.path());
                Ok(Taken { outcome: Outcome::Serves, replaced: Some(replaced) })
            }
            // An operator was faster: next time it will be seen what there is now.
            Err(CoreError::Retired { .. }) => Ok(Outcome::Later.into()),
            Err(error) => Err(Untaken {
                error: Arc::new(error),
                old: Some(old),
                description: Some(description),
            }),
        }
    }

    async fn load_new(
        &self,
        path: &Path,
        found: Found,
        description: Arc<Description>,
    ) -> Result<Taken, Untaken> {
        let refused = match self.load_found(iter::once(found), None, None).await {
            Ok(refused) => refused,
            Err(HostError::Core(error)) => {
                return Err(Untaken { error: Arc::new(error), old: None, description: None });
            }
            // The host shuts down.
            Err(_) => return Ok(Outcome::Unchanged.into()),
        };
        match refused.into_iter().next().map(|refused| refused.error.code()) {
            None => {
                let (name, version) = (description.name(), description.version());
                if let Some(plugin) = self.inner.registry.get(name, version) {
                    self.inner.tell_taken("loaded", &plugin);
                }
                Ok(Outcome::Serves.into())
            }
            Some(code) => {
                // It was told to the audit log, and is among the refused.
                let path = path.display();
                tracing::warn!(%path, code, "the watcher found a plugin that does not serve");
                Ok(match waits_for_others(code) {
                    true => Outcome::WaitsForOthers,
                    false => Outcome::Refused(Some(description)),
                }
                .into())
            }
        }
    }

    /// Tells that nothing lies at `path` any more. What serves from there goes on: a file that is gone is more
    /// often an accident, or half of a move, than a wish.
    pub(crate) fn tell_gone(&self, path: &Path) {
        self.inner.refused().remove(path);
        if let Some(plugin) = self.inner.plugin_at(path, None)
            && plugin.state() != PluginState::Unloaded
        {
            let (plugin, path) = (plugin.name(), path.display());
            tracing::warn!(%plugin, %path, "the file of a plugin is gone: the plugin serves on");
        }
    }
}

/// Why something does not serve, and what serves in its stead.
struct Untaken {
    error: Arc<CoreError>,
    old: Option<HostPlugin>,
    description: Option<Arc<Description>>,
}

/// When it is worth another try.
fn outcome_of(error: &CoreError, description: Option<Arc<Description>>) -> Outcome {
    if waits_for_others(error.code()) {
        Outcome::WaitsForOthers
    } else if error.may_pass() && !error.is_breakage() {
        Outcome::Later
    } else {
        Outcome::Refused(description)
    }
}

/// Whether it is about other plugins that there are, or are not.
fn waits_for_others(code: &str) -> bool {
    code.starts_with("core/dependency-")
        || matches!(code, "core/still-needed" | "core/duplicate-plugin")
}

impl super::Inner {
    fn manages(&self, name: &PluginId) -> bool {
        self.deployments.as_ref().is_some_and(|deployments| deployments.manages(name))
    }

    /// The plugin that came from `path`.
    fn plugin_at(&self, path: &Path, name: Option<&PluginId>) -> Option<HostPlugin> {
        let all = name.map_or_else(|| self.registry.all(), |name| self.registry.versions(name));
        all.into_iter().find(|plugin| plugin.path() == path)
    }

    /// The plugin of the same directory whose file was renamed to `path`, if that is what happened.
    async fn moved_to(&self, path: &Path, now: &Description) -> Option<HostPlugin> {
        let mut others = self.registry.versions(now.name());
        others.retain(|other| other.path().parent() == path.parent());
        if others.is_empty() {
            return None;
        }
        let gone = move || {
            let is_gone = |other: &HostPlugin| other.path().symlink_metadata().is_err();
            Ok(others.into_iter().find(is_gone))
        };
        blocking(gone).await.ok().flatten()
    }

    fn tell_taken(&self, what: &str, plugin: &HostPlugin) {
        let (name, version) = (plugin.name(), plugin.version().to_string());
        self.terms.audit.done(name.as_str(), &version, what, "by the watcher");
        let path = plugin.path().display();
        tracing::info!(plugin = %name, version, %path, what, "the watcher took a file that is new");
    }

    fn tell_refused(&self, path: &Path, old: Option<&HostPlugin>, error: Arc<CoreError>) {
        let error = HostError::from(CoreError::Shared(error));
        let (code, cause) = (error.code(), chain(&error));
        let refused = Refused { path: path.to_owned(), error, state: PluginState::Failed };
        let said = refused.error.to_string();
        let before = self.refused().insert(path.to_owned(), Arc::new(refused));
        if before.is_some_and(|old| old.error.code() == code && old.error.to_string() == said) {
            return;
        }
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (name, version) = match old {
            Some(old) => (old.name().as_str(), old.version().to_string()),
            None => (file.as_str(), String::new()),
        };
        let detail = format!("by the watcher: {code}: {}", path.display());
        self.terms.audit.done(name, &version, "refused", &detail);
        let serves = old.map(|old| old.version().to_string()).unwrap_or_default();
        let path = path.display();
        tracing::warn!(%path, code, cause, serves, "the watcher found a file that is not taken");
    }
}
