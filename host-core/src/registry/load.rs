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
use crate::plugin::Ask;
use crate::{
    CoreError, Description, Found, Node, Operation, Plugin, StoreData, Terms, discover, start_plan,
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
        self.load_with(std::iter::empty(), Some(path), only, |_| true).await
    }

    /// The same, together with plugins that were found elsewhere; and of the directory, if there is one, only
    /// those that are `wanted`.
    ///
    /// # Errors
    /// As for [`Registry::load`].
    pub async fn load_with(
        &self,
        found: impl Iterator<Item = Found> + Send + 'static,
        directory: Option<&Path>,
        only: Option<&PluginId>,
        wanted: impl Fn(&Description) -> bool + Send + 'static,
    ) -> Result<Loaded<T>, CoreError> {
        let (shelf, directory) = (self.shelf.clone(), directory.map(Path::to_owned));
        let only = only.cloned();
        let (candidates, mut refused) = blocking(move || {
            let admission = shelf.settings.admission.clone();
            let there = directory.map(|directory| discover(&directory, admission)).transpose()?;
            let there = there.into_iter().flatten().filter(|found| match &found.artifact {
                Ok(artifact) => wanted(&artifact.description),
                Err(_) => true,
            });
            Ok(shelf.candidates(found.chain(there), only.as_ref()))
        })
        .await?;
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
}

impl<T: StoreData> Shelf<T> {
    /// Decides on each plugin that was found, without compiling anything.
    fn candidates(
        &self,
        all: impl Iterator<Item = Found>,
        only: Option<&PluginId>,
    ) -> (Vec<Candidate<T>>, Vec<Refused>) {
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        for Found { path, artifact } in all {
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
        (candidates, refused)
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
pub(super) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, CoreError> + Send + 'static,
) -> Result<R, CoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(CoreError::Engine(error.into())),
    }
}
