//! One revision in the place of another, and one beside another.
//!
//! What comes new is started off the shelf, where nobody can call it: [`Registry::prepare`]. It then takes
//! the place of a plugin that is there ([`Registry::replace`]) or stands beside its other versions
//! ([`Registry::install`]). Whoever changes their mind [discards](Newcomer::discard) it.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use plugin_contract::{Manifest, PluginId};
use semver::Version;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    Registry,
    load::{blocking, duplicate},
};
use crate::{
    CoreError, Found, Node, Plugin, PluginState, StoreData,
    plugin::{Ask, hand_over, later},
    read_artifact, start_plan,
};

/// What a plugin is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To answer calls.
    Serve,
    /// To be compared with what answers them, on terms that let it change nothing.
    Shadow,
}

/// A plugin that was started and is not among the others yet.
pub struct Newcomer<T: 'static> {
    plugin: Arc<Plugin<T>>,
}

impl<T: StoreData> Newcomer<T> {
    /// The plugin. It can be called; nobody else finds it.
    pub fn plugin(&self) -> &Arc<Plugin<T>> {
        &self.plugin
    }

    /// Shuts it down, once its calls have ended or at `deadline`.
    pub async fn discard(self, deadline: Instant) {
        self.plugin.unload(deadline).await;
    }
}

/// A plugin in the place of another, whose calls may still be under way.
pub struct Replaced<T: 'static> {
    /// What serves now.
    pub plugin: Arc<Plugin<T>>,
    drain: JoinHandle<u32>,
}

impl<T> Replaced<T> {
    /// Waits for the calls of the old one, which go on whether or not anybody waits. Returns the number of those
    /// that had not ended at the deadline.
    pub async fn drained(self) -> u32 {
        // The runtime goes down, and all calls with it.
        self.drain.await.unwrap_or_default()
    }
}

impl<T: StoreData> Registry<T> {
    /// Decides on what was found, compiles and starts it, apart from all others: whether it could serve.
    ///
    /// # Errors
    /// Those of admitting and starting a plugin.
    pub async fn prepare(&self, found: Found, purpose: Purpose) -> Result<Newcomer<T>, CoreError> {
        let path = found.path;
        let description = found.artifact?.description;
        self.check_open(description.name())?;
        let (shelf, asked) = (self.shelf.clone(), description.clone());
        let terms = blocking(move || {
            let embedder = &shelf.embedder;
            let terms = match purpose {
                Purpose::Serve => embedder.terms(&asked),
                Purpose::Shadow => embedder.shadow_terms(&asked),
            };
            terms.map_err(CoreError::Denied)
        })
        .await?;
        let plugin = Plugin::new(description, path, terms, &self.shelf);
        plugin.start(Ask::Need).await.map_err(CoreError::Shared)?;
        Ok(Newcomer { plugin })
    }

    /// Whether a plugin with this manifest could be there, in the place of `old` or beside the others: what it
    /// needs is there, without a circle, and whoever needs the old one is served by the new one.
    ///
    /// # Errors
    /// `core/dependency`, `core/dependency-cycle`, `core/still-needed`.
    pub fn check_fits(
        &self,
        old: Option<&Arc<Plugin<T>>>,
        new: &Manifest,
    ) -> Result<(), CoreError> {
        match old {
            Some(old) => self.check_place(old, new),
            None => {
                let all = self.all();
                let others = all.iter().map(|plugin| Node::of(&plugin.description().manifest));
                let nodes: Vec<Node<'_>> = [Node::of(new)].into_iter().chain(others).collect();
                let refused = start_plan(&nodes).refused;
                match refused.into_iter().find(|(at, _)| *at == 0) {
                    Some((_, error)) => Err(error),
                    None => Ok(()),
                }
            }
        }
    }

    /// Puts `new` beside the other versions. As a candidate it answers only who asks for this version, or is
    /// sent there: plugins that depend on its name are served by the others.
    ///
    /// # Errors
    /// `core/duplicate` if there is this version already; `core/retired`. `new` is shut down.
    pub async fn install(
        &self,
        new: Newcomer<T>,
        is_candidate: bool,
    ) -> Result<Arc<Plugin<T>>, CoreError> {
        let plugin = new.plugin;
        plugin.set_candidate(is_candidate);
        let added = self
            .check_open(plugin.name())
            .and_then(|()| self.shelf.add(&plugin).map_err(|first| duplicate(&plugin, &first)));
        if let Err(error) = added {
            plugin.unload(Instant::now()).await;
            return Err(error);
        }
        self.shelf.changed(plugin.name());
        Ok(plugin)
    }

    /// Has `new` serve in the place of `old`, in one step, and of whatever else there is of its version.
    /// `new` first makes as many instances as `old` has, so that its first calls wait for none.
    /// `commit` is run when nothing is left that could fail: if it fails, `old` goes on as if nothing had been.
    /// Calls under way on `old` may end until `deadline`.
    ///
    /// If both export `state-transfer`, the new one takes over the state of the old one. Calls wait
    /// meanwhile, for 5 s at most once those under way have ended, which may take one `timeout`, and for
    /// `commit`; then the new one answers them. A trap or a deadline while the old one gives up its state costs
    /// that state.
    ///
    /// # Errors
    /// `core/state-not-given` and its like, and as for all calls, if the state could not be handed over;
    /// `core/still-needed` and the like if `new` does not fit there; `core/not-loaded` if `old` was unloaded
    /// meanwhile; what `commit` says. `new` is shut down.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn replace<E: From<CoreError>>(
        &self,
        old: &Arc<Plugin<T>>,
        new: Newcomer<T>,
        deadline: Instant,
        commit: impl Future<Output = Result<(), E>>,
    ) -> Result<Replaced<T>, E> {
        let new = new.plugin;
        let was = old.state();
        // Meanwhile, by an operator: that holds.
        let was_unloaded = || was != PluginState::Unloaded && old.state() == PluginState::Unloaded;
        let replaced = async {
            self.check_place(old, &new.description().manifest)?;
            self.check_open(new.name())?;
            new.warm_like(old).await;
            let handed = hand_over(old, &new, later(Instant::now(), old.terms().timeout)).await?;
            if was_unloaded() {
                return Err(CoreError::NotLoaded { plugin: old.name().clone() }.into());
            }
            commit.await?;
            Ok(handed)
        };
        let handed = match replaced.await {
            Ok(handed) => handed,
            Err(error) => {
                new.unload(deadline).await;
                return Err(error);
            }
        };
        // Decided: from here on nothing may fail.
        let is_unloaded = was_unloaded();
        let twin = self.shelf.swap(old, &new).filter(|twin| !Arc::ptr_eq(twin, old));
        self.shelf.changed(new.name());
        handed.commit();
        tracing::info!(plugin = %new.name(), was = %old.version(), version = %new.version(), "a revision was replaced");
        let (draining, shelf, plugin) = (old.clone(), self.shelf.clone(), new.clone());
        let drain = tokio::spawn(async move {
            if is_unloaded {
                plugin.unload(deadline).await;
            }
            let twin = async {
                match twin {
                    Some(twin) => twin.retire(deadline).await,
                    None => 0,
                }
            };
            let (left, of_twin) = tokio::join!(draining.retire(deadline), twin);
            if shelf.closing.load(Ordering::Acquire) {
                plugin.unload(deadline).await;
            }
            left + of_twin
        });
        Ok(Replaced { plugin: new, drain })
    }

    /// Reads what lies at `path`, as loading it would.
    ///
    /// # Errors
    /// None of the file's own: those are in what was found.
    pub async fn read(&self, path: &Path) -> Result<Found, CoreError> {
        let (admission, path) = (self.shelf.settings.admission.clone(), path.to_owned());
        blocking(move || Ok(Found { artifact: read_artifact(&path, &admission), path })).await
    }

    /// Reads a plugin's file anew and has what is there now serve in its place, as [`Registry::replace`] does.
    ///
    /// # Errors
    /// Those of admitting and starting a plugin; `core/identity-mismatch` if another plugin lies there
    /// now; `core/not-loaded` if there is none of this name and version.
    pub async fn reload(
        &self,
        name: &PluginId,
        version: &Version,
        deadline: Instant,
    ) -> Result<Arc<Plugin<T>>, CoreError> {
        let old = self.open(name, version)?;
        let found = self.read(old.path()).await?;
        let replaced = self.reload_as(&old, found, deadline).await?;
        let plugin = replaced.plugin.clone();
        replaced.drained().await;
        Ok(plugin)
    }

    /// Has another revision of a plugin, as it was found, serve in its place: started first, then put there as
    /// [`Registry::replace`] does.
    ///
    /// # Errors
    /// As for [`Registry::reload`]; `core/retired` if another took its place meanwhile.
    pub async fn reload_as(
        &self,
        old: &Arc<Plugin<T>>,
        found: Found,
        deadline: Instant,
    ) -> Result<Replaced<T>, CoreError> {
        if let Ok(artifact) = &found.artifact {
            let description = &artifact.description;
            if description.name() != old.name() {
                return Err(CoreError::IdentityMismatch {
                    plugin: old.name().clone(),
                    version: old.version().clone(),
                    says: description.name().to_string(),
                });
            }
            // Before anything is compiled.
            self.check_place(old, &description.manifest)?;
            let twin = self.get(old.name(), description.version());
            if let Some(twin) = twin.filter(|twin| !Arc::ptr_eq(twin, old)) {
                return Err(CoreError::Duplicate {
                    plugin: old.name().clone(),
                    version: description.version().clone(),
                    first: twin.path().to_owned(),
                });
            }
        }
        let new = self.prepare(found, Purpose::Serve).await?;
        self.replace(old, new, deadline, async { Ok(()) }).await
    }

    fn check_open(&self, name: &PluginId) -> Result<(), CoreError> {
        match self.shelf.closing.load(Ordering::Acquire) {
            true => Err(CoreError::Retired { plugin: name.clone() }),
            false => Ok(()),
        }
    }

    /// Whether a plugin with this manifest could stand where `old` does: what it needs is there, without
    /// a circle, and whoever needs the old one is served by the new one.
    fn check_place(&self, old: &Arc<Plugin<T>>, new: &Manifest) -> Result<(), CoreError> {
        let all = self.all();
        let others: Vec<_> = all.iter().filter(|plugin| !Arc::ptr_eq(plugin, old)).collect();
        let plan = |manifest: &Manifest| {
            let others = others.iter().map(|plugin| Node::of(&plugin.description().manifest));
            let nodes: Vec<Node<'_>> = [Node::of(manifest)].into_iter().chain(others).collect();
            start_plan(&nodes).refused
        };
        let before = plan(&old.description().manifest);
        let mut after = plan(new);
        // Of a circle, one says so; the others only that what they need has failed.
        after.sort_by_key(|(at, error)| (!matches!(error, CoreError::DependencyCycle { .. }), *at));
        let mut orphans = Vec::new();
        for (at, error) in after {
            if matches!(error, CoreError::DependencyCycle { .. }) {
                return Err(error);
            }
            match at.checked_sub(1) {
                None => return Err(error),
                Some(other) if before.iter().all(|(was, _)| *was != at) => {
                    let other = others[other];
                    orphans.push(format!("`{}` {}", other.name(), other.version()));
                }
                Some(_) => {}
            }
        }
        match orphans.is_empty() {
            true => Ok(()),
            false => Err(CoreError::StillNeeded { plugin: old.name().clone(), by: orphans }),
        }
    }

    /// Forgets a plugin, at once: whoever found it is sent to those that are left. Its calls under way may end
    /// until `deadline`; who waits for the handle is told how many had not.
    ///
    /// # Errors
    /// `core/still-needed`, as for [`Registry::unload`]: it stays.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn remove(
        &self,
        plugin: &Arc<Plugin<T>>,
        deadline: Instant,
    ) -> Result<JoinHandle<u32>, CoreError> {
        let by = self.shelf.dependents(plugin);
        if !by.is_empty() {
            return Err(CoreError::StillNeeded { plugin: plugin.name().clone(), by });
        }
        // First, so that whoever is told that it is retired finds another.
        self.shelf.remove(plugin);
        self.shelf.changed(plugin.name());
        let plugin = plugin.clone();
        Ok(tokio::spawn(async move { plugin.retire(deadline).await }))
    }
}
