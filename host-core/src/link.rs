//! Compiling and linking one plugin, and saying why it did not work.

use std::{borrow::Cow, time::Duration};

use plugin_contract::{ComponentInfo, Extern, PluginId, escape};
use wasmtime::component::{Component, Linker};

use crate::{
    Artifact, CoreError, Imports, Prepared, StoreData,
    contract::{Exports, plugin_api},
};

/// `offered` are the interfaces in `linker`, by package and name.
pub(crate) fn prepare<T: StoreData>(
    linker: &Linker<T>,
    offered: &[String],
    tick: Duration,
    artifact: &Artifact,
    imports: &Imports,
) -> Result<Prepared<T>, CoreError> {
    let plugin = artifact.manifest.plugin.name.clone();
    // Compiling is the expensive part: refuse before it what cannot be linked after it.
    check_imports(&plugin, &artifact.info, offered, imports)?;

    let component = Component::from_binary(linker.engine(), &artifact.bytes)
        .map_err(|source| CoreError::Compile { plugin: plugin.clone(), source })?;
    let mut linker = Cow::Borrowed(linker);
    if let Some(inner) = &imports.plugin_api {
        plugin_api::link(linker.to_mut(), inner.clone()).map_err(CoreError::Engine)?;
    }
    // Linking is the truth about fit; names and versions only explain a refusal.
    let mismatch = |problem: &str| {
        let (plugin, problem) = (plugin.clone(), problem.to_owned());
        |source| CoreError::ContractMismatch { plugin, problem, source: Some(source) }
    };
    let pre = linker
        .instantiate_pre(&component)
        .map_err(mismatch("an import has another version or shape than what this host offers"))?;
    let exports = Exports::find(&pre, &artifact.info)
        .map_err(mismatch("an exported interface lacks a function"))?;
    Ok(Prepared::new(artifact, pre, exports, tick))
}

fn check_imports(
    plugin: &PluginId,
    info: &ComponentInfo,
    offered: &[String],
    imports: &Imports,
) -> Result<(), CoreError> {
    let is_offered = |import: &&Extern| match &import.interface {
        Some(name) => {
            let path = format!("{}/{}", name.package, name.interface);
            offered.contains(&path) || (imports.plugin_api.is_some() && path == plugin_api::NAME)
        }
        None => false,
    };
    let unknown: Vec<String> = info
        .imports
        .iter()
        .filter(|import| !is_offered(import))
        .map(|import| format!("`{}`", escape(&import.name, 200)))
        .take(20)
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(CoreError::UnknownImport { plugin: plugin.clone(), imports: unknown })
    }
}
