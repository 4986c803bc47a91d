//! Makes one component of a plugin and those it is composed with: calls between them cost a fraction, and
//! they share one store, one grant and one set of limits.
//!
//! What is composed satisfies the imports that the host does not: nobody comes between a plugin and the
//! host's services, whatever it exports. It has started on its own before, so it imports nothing but what
//! the host offers.
//! Not here: whether the operator agrees ([`Embedder::terms`](crate::Embedder::terms)).

use std::{path::PathBuf, sync::Arc};

use plugin_contract::{ComponentInfo, Dependency, Link, PluginId, ReadLimits, escape};
use wac_graph::{CompositionGraph, EncodeOptions, types::Package};

use crate::{
    Artifact, CoreError, DependencyProblem, Description, Plugin, StoreData, peer, registry::Shelf,
};

/// A component that takes part.
pub(crate) struct Part {
    description: Arc<Description>,
    /// The folder or file it came from.
    path: PathBuf,
}

/// A plugin and those that go into it.
pub(crate) struct Composition {
    outer: Part,
    inner: Vec<Part>,
    /// For each import of the outer that one of them satisfies: its name, which of them, and the name of
    /// its export.
    joints: Vec<(String, usize, String)>,
    limits: ReadLimits,
}

impl Composition {
    /// What `plugin` is to be composed with; `None` if with nothing.
    ///
    /// # Errors
    /// `core/dependency-missing`; `core/contract-mismatch` if a dependency depends on others itself, or
    /// exports nothing that the plugin imports.
    pub(crate) fn of<T: StoreData>(
        plugin: &Plugin<T>,
        shelf: &Shelf<T>,
    ) -> Result<Option<Self>, CoreError> {
        let description = plugin.description();
        let composed =
            |(_, dependency): &(&PluginId, &Dependency)| dependency.link == Link::Composed;
        let dependencies: Vec<_> =
            description.manifest.dependencies.iter().filter(composed).collect();
        if dependencies.is_empty() {
            return Ok(None);
        }
        let mismatch = |problem: String| mismatch(plugin.name(), problem);
        let (mut inner, mut joints) = (Vec::new(), Vec::new());
        for (needs, Dependency { version, .. }) in dependencies {
            let found = shelf.find(needs, version).ok_or_else(|| CoreError::Dependency {
                plugin: plugin.name().clone(),
                needs: needs.clone(),
                wanted: version.clone(),
                problem: DependencyProblem::Missing,
            })?;
            if !found.description().manifest.dependencies.is_empty() {
                return Err(mismatch(format!(
                    "`{needs}` depends on others: only what depends on none can be composed"
                )));
            }
            let before = joints.len();
            for import in &description.info.imports {
                let Some(wanted) = &import.interface else { continue };
                if shelf.runtime.offers(wanted) {
                    continue;
                }
                if let Some(export) = peer::export(found.description(), wanted) {
                    joints.push((import.name.clone(), inner.len(), export.to_owned()));
                }
            }
            if joints.len() == before {
                return Err(mismatch(format!("`{needs}` exports nothing that it imports")));
            }
            inner.push(Part::of(&found));
        }
        let limits = shelf.settings.admission.limits.clone();
        Ok(Some(Self { outer: Part::of(plugin), inner, joints, limits }))
    }

    /// Puts them together. Blocks: reads the components anew.
    ///
    /// # Errors
    /// `core/unreadable`, `core/changed-on-disk`; `core/contract-mismatch` if they do not fit; those of
    /// [`ComponentInfo::read`], since the whole has the limits of one.
    pub(crate) fn make(self) -> Result<Artifact, CoreError> {
        let name = self.outer.description.name().clone();
        let outer = self.outer.read(&self.limits)?;
        let inner: Vec<Vec<u8>> =
            self.inner.iter().map(|part| part.read(&self.limits)).collect::<Result<_, _>>()?;
        let bytes = self.join(outer, inner).map_err(|problem| {
            let problem = escape(&problem, 500);
            mismatch(&name, format!("it cannot be composed with what it needs: {problem}"))
        })?;
        let info = ComponentInfo::read(&bytes, &self.limits)?;
        let description = Description { info, ..(*self.outer.description).clone() };
        Ok(Artifact { bytes: bytes.into(), description: Arc::new(description) })
    }

    fn join(&self, outer: Vec<u8>, inner: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
        let mut graph = CompositionGraph::new();
        let mut part = |name: &str, bytes: Vec<u8>| {
            let package = Package::from_bytes(name, None, bytes, graph.types_mut())
                .map_err(|error| format!("{error:#}"))?;
            let id = graph.register_package(package).map_err(|error| error.to_string())?;
            Ok::<_, String>(id)
        };
        // Named by their places: two may come from plugins of one name.
        let socket = part("plugin:outer", outer)?;
        let mut plugs = Vec::new();
        for (at, bytes) in inner.into_iter().enumerate() {
            plugs.push(part(&format!("plugin:inner-{at}"), bytes)?);
        }
        let socket = (socket, graph.instantiate(socket));
        let plugs: Vec<_> = plugs.into_iter().map(|plug| graph.instantiate(plug)).collect();
        for (import, at, export) in &self.joints {
            let export = graph
                .alias_instance_export(plugs[*at], export)
                .map_err(|error| error.to_string())?;
            graph
                .set_instantiation_argument(socket.1, import, export)
                .map_err(|error| error.to_string())?;
        }
        let exports = &graph.types()[graph[socket.0].ty()].exports;
        for name in exports.keys().cloned().collect::<Vec<_>>() {
            let export =
                graph.alias_instance_export(socket.1, &name).map_err(|error| error.to_string())?;
            graph.export(export, &name).map_err(|error| error.to_string())?;
        }
        graph.encode(EncodeOptions::default()).map_err(|error| error.to_string())
    }
}

impl Part {
    fn of<T: StoreData>(plugin: &Plugin<T>) -> Self {
        Self { description: plugin.shared_description(), path: plugin.path().to_owned() }
    }

    /// Its bytes, if they are still those that were admitted.
    fn read(&self, limits: &ReadLimits) -> Result<Vec<u8>, CoreError> {
        let entrypoint = &self.description.manifest.plugin.entrypoint;
        let bytes = crate::plugin::read(&self.path, entrypoint, limits.bytes_max)?;
        let (expected, found) = (self.description.info.digest, plugin_contract::Digest::of(&bytes));
        match expected == found {
            true => Ok(bytes),
            false => Err(CoreError::DigestChanged {
                plugin: self.description.name().clone(),
                expected,
                found,
            }),
        }
    }
}

fn mismatch(plugin: &PluginId, problem: String) -> CoreError {
    CoreError::ContractMismatch { plugin: plugin.clone(), problem, source: None }
}
