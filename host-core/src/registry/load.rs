//! From a directory to plugins that serve.
//!
//! One plugin that fails does not stop the others: it is refused, with what depends on it.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use futures::future::join_all;
use plugin_contract::{Manifest, PluginId};
use semver::Version;
use tokio::time::Instant;

use super::{Loaded, Refused, Registry, Shelf};
use crate::plugin::{Ask, hand_over, later};
use crate::{
    CoreError, Description, Found, Node, Operation, Plugin, PluginState, StoreData, Terms,
    discover, read_artifact, start_plan,
};

/// Something on its way to the shelf.
struct Candidate<T: 'static> {
    path: PathBuf,
    description: Arc<Description>,
    terms: Terms<T>,
}

impl<T: StoreData> Registry<T> {
    /// Loads the plugins of a directory, or the one plugin that the directory or file is; of a directory,
    /// all or only one and, step by step, what it depends on.
    ///
    /// Each is started after all that it depends on, and serves as soon as it has started. What is there
    /// already in the same version stays, and its twin is refused. Some can be loaded while others are.
    ///
    /// # Errors
    /// `core/unreadable` if the directory cannot be listed; `core/retired` if the registry shuts down.
    pub async fn load(&self, path: &Path, only: Option<&PluginId>) -> Result<Loaded<T>, CoreError> {
        let (candidates, mut refused) = {
            let (shelf, path, only) = (self.shelf.clone(), path.to_owned(), only.cloned());
            blocking(move || shelf.candidates(&path, only.as_ref())).await?
        };
        let registered = self.register(candidates, &mut refused);
        for plugin in &registered {
            self.shelf.changed(plugin.name());
        }
        // What a plugin wants to be told of events is known once it has started.
        let lazy = self.shelf.settings.lazy;
        let now = |plugin: &&Arc<Plugin<T>>| !lazy || plugin.offers(Operation::SupportedEvents);
        let starting: Vec<_> = registered.iter().filter(now).collect();
        if !starting.is_empty() {
            let starts = starting.iter().map(|plugin| plugin.start(Ask::Need));
            for (plugin, result) in starting.iter().zip(join_all(starts).await) {
                if let Err(error) = result {
                    refused.push(Refused { path: plugin.path().to_owned(), error });
                }
            }
        }
        if self.shelf.closing.load(Ordering::Acquire) {
            // What came too late for the shutdown is shut down here.
            let unloading = registered.iter().map(|plugin| plugin.unload(Instant::now()));
            join_all(unloading).await;
        }
        Ok(Loaded { registered, refused })
    }

    /// Registers what depends on nothing that is missing.
    fn register(
        &self,
        candidates: Vec<Candidate<T>>,
        refused: &mut Vec<Refused>,
    ) -> Vec<Arc<Plugin<T>>> {
        let there = self.all();
        // What is there already comes after the candidates: it satisfies them, and is not started again.
        let manifests: Vec<&Manifest> =
            (candidates.iter().map(|candidate| &candidate.description.manifest))
                .chain(there.iter().map(|plugin| &plugin.description().manifest))
                .collect();
        let nodes: Vec<Node<'_>> = manifests.iter().map(|manifest| Node::of(manifest)).collect();
        let plan = start_plan(&nodes);
        let mut candidates: Vec<Option<Candidate<T>>> = candidates.into_iter().map(Some).collect();
        for (at, error) in plan.refused {
            if let Some(candidate) = candidates.get_mut(at).and_then(Option::take) {
                refused.push(Refused { path: candidate.path, error: Arc::new(error) });
            }
        }
        let mut registered = Vec::new();
        for at in plan.order {
            let Some(candidate) = candidates.get_mut(at).and_then(Option::take) else { continue };
            let Candidate { path, description, terms } = candidate;
            let plugin = Plugin::new(description, path, terms, &self.shelf);
            match self.shelf.add(&plugin) {
                Ok(()) => registered.push(plugin),
                // Another load was faster.
                Err(first) => refused.push(Refused {
                    path: plugin.path().to_owned(),
                    error: Arc::new(duplicate(&plugin, &first)),
                }),
            }
        }
        registered
    }

    /// Reads a plugin's file anew and has what is there now serve in its place. The old revision serves
    /// until the new one has started, and its calls may end until `deadline`; if anything goes wrong, it
    /// goes on as if nothing had been.
    ///
    /// If both export `state-transfer`, the new revision takes over the state of the old one. Calls wait
    /// meanwhile, for 5 s at most once those under way have ended, which may take one `timeout`; then the new
    /// revision answers them. A trap or a deadline while the old one gives up its state costs that state.
    ///
    /// # Errors
    /// Those of admitting and starting a plugin; `core/state-not-given` and its like, and as for all calls, if
    /// the state could not be handed over; `core/identity-mismatch` if another plugin lies there
    /// now; `core/not-loaded` if there is none of this name and version.
    pub async fn reload(
        &self,
        name: &PluginId,
        version: &Version,
        deadline: Instant,
    ) -> Result<Arc<Plugin<T>>, CoreError> {
        let old = self.open(name, version)?;
        let was = old.state();
        let candidate = {
            let (shelf, path) = (self.shelf.clone(), old.path().to_owned());
            blocking(move || shelf.candidate(path)).await?
        };
        let Candidate { path, description, terms } = candidate;
        if description.name() != name {
            return Err(CoreError::IdentityMismatch {
                plugin: name.clone(),
                version: version.clone(),
                says: description.name().to_string(),
            });
        }
        self.check_place(&old, &description.manifest)?;
        let new = Plugin::new(description, path, terms, &self.shelf);
        new.start(Ask::Need).await.map_err(CoreError::Shared)?;
        let unloaded = || was != PluginState::Unloaded && old.state() == PluginState::Unloaded;
        let swapped = match hand_over(&old, &new, later(Instant::now(), old.terms().timeout)).await
        {
            // Meanwhile, by an operator: that holds.
            Ok(_) if unloaded() => Err(CoreError::NotLoaded { plugin: name.clone() }),
            Ok(handed) => self.shelf.swap(&old, &new).map(|()| handed),
            Err(error) => Err(error),
        };
        let handed = match swapped {
            Ok(handed) => handed,
            Err(error) => {
                new.unload(deadline).await;
                return Err(error);
            }
        };
        self.shelf.changed(name);
        handed.commit();
        tracing::info!(plugin = %name, version = %new.version(), "a plugin was reloaded");
        old.retire(deadline).await;
        if self.shelf.closing.load(Ordering::Acquire) {
            new.unload(deadline).await;
        }
        Ok(new)
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

    /// Takes a plugin out of service, as [`Registry::unload`] does, and forgets it.
    ///
    /// # Errors
    /// As for [`Registry::unload`].
    pub async fn remove(
        &self,
        name: &PluginId,
        version: &Version,
        deadline: Instant,
    ) -> Result<u32, CoreError> {
        let plugin = self.known(name, version)?;
        let left = self.unload(name, version, deadline).await?;
        self.shelf.remove(&plugin);
        self.shelf.changed(name);
        Ok(left)
    }
}

impl<T: StoreData> Shelf<T> {
    /// Reads a directory and decides on each plugin in it, without compiling anything.
    fn candidates(
        &self,
        directory: &Path,
        only: Option<&PluginId>,
    ) -> Result<(Vec<Candidate<T>>, Vec<Refused>), CoreError> {
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for Found { path, artifact } in discover(directory, self.settings.admission.clone())? {
            match artifact {
                Ok(artifact) => found.push((path, artifact.description)),
                Err(error) => refused.push(Refused { path, error: Arc::new(error) }),
            }
        }
        if let Some(only) = only {
            retain_needed(&mut found, only);
        }
        let there = self.all();
        let mut first_of: HashMap<(PluginId, Version), PathBuf> = (there.iter())
            .map(|plugin| {
                ((plugin.name().clone(), plugin.version().clone()), plugin.path().to_owned())
            })
            .collect();
        let mut candidates = Vec::with_capacity(found.len());
        for (path, description) in found {
            let (plugin, version) = (description.name().clone(), description.version().clone());
            let decided = match first_of.get(&(plugin.clone(), version.clone())) {
                Some(first) => {
                    // The very plugin that is there.
                    let is_there = there.iter().any(|there| {
                        there.path() == path
                            && there.description().info.digest == description.info.digest
                    });
                    if *first == path && is_there {
                        continue;
                    }
                    Err(CoreError::Duplicate { plugin, version, first: first.clone() })
                }
                // Asked last: what may not run takes nobody's place.
                None => {
                    self.embedder.terms(&description).map_err(CoreError::Denied).inspect(|_| {
                        first_of.insert((plugin, version), path.clone());
                    })
                }
            };
            match decided {
                Ok(terms) => candidates.push(Candidate { path, description, terms }),
                Err(error) => refused.push(Refused { path, error: Arc::new(error) }),
            }
        }
        Ok((candidates, refused))
    }

    /// Reads one plugin anew.
    fn candidate(&self, path: PathBuf) -> Result<Candidate<T>, CoreError> {
        let description = read_artifact(&path, &self.settings.admission)?.description;
        let terms = self.embedder.terms(&description).map_err(CoreError::Denied)?;
        Ok(Candidate { path, description, terms })
    }
}

/// Keeps one plugin and, step by step, what it depends on.
fn retain_needed(found: &mut Vec<(PathBuf, Arc<Description>)>, only: &PluginId) {
    let mut needed = HashSet::from([only.clone()]);
    loop {
        let before = needed.len();
        for (_, description) in found.iter() {
            let manifest = &description.manifest;
            if needed.contains(&manifest.plugin.name) {
                needed.extend(manifest.dependencies.keys().cloned());
            }
        }
        if needed.len() == before {
            break;
        }
    }
    found.retain(|(_, description)| needed.contains(description.name()));
}

pub(super) fn duplicate<T: StoreData>(plugin: &Plugin<T>, first: &Plugin<T>) -> CoreError {
    CoreError::Duplicate {
        plugin: plugin.name().clone(),
        version: plugin.version().clone(),
        first: first.path().to_owned(),
    }
}

/// Runs what blocks (files) where that harms nobody.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, CoreError> + Send + 'static,
) -> Result<R, CoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(CoreError::Engine(error.into())),
    }
}
