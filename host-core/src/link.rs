//! Linking one plugin, and saying why it did not work.

use std::{borrow::Cow, sync::Arc};

use plugin_contract::{Extern, escape};
use wasmtime::component::{Component, Linker};

use crate::{
    CoreError, Description, Imports, Prepared, StoreData,
    contract::{Exports, foreign, plugin_api},
    runtime::Shared,
};

pub(crate) fn link<T: StoreData>(
    linker: &Linker<T>,
    plugin: &Arc<Description>,
    component: &Component,
    imports: &Imports,
    shared: &Arc<Shared<T>>,
) -> Result<Prepared<T>, CoreError> {
    let mut linker = Cow::Borrowed(linker);
    if let Some(inner) = &imports.plugin_api {
        plugin_api::link(linker.to_mut(), inner.clone()).map_err(CoreError::Engine)?;
    }
    for (name, peer) in &imports.interfaces {
        foreign::link(linker.to_mut(), plugin.name(), component, name, peer)?;
    }
    // Linking is the truth about fit; names and versions only explain a refusal.
    let mismatch = |problem: &str| {
        let (plugin, problem) = (plugin.name().clone(), problem.to_owned());
        |source| CoreError::ContractMismatch { plugin, problem, source: Some(source) }
    };
    let pre = linker
        .instantiate_pre(component)
        .map_err(mismatch("an import has another version or shape than what this host offers"))?;
    let exports = Exports::find(&pre, &plugin.info)
        .map_err(mismatch("an exported interface lacks a function"))?;
    Ok(Prepared::new(plugin.clone(), pre, exports, shared.clone()))
}

/// `offered` are the interfaces of the linkers, by package and name.
pub(crate) fn check_imports(
    plugin: &Description,
    offered: &[String],
    imports: &Imports,
) -> Result<(), CoreError> {
    let by_peer = |import: &Extern| imports.interfaces.iter().any(|(name, _)| *name == import.name);
    let is_offered = |import: &&Extern| match &import.interface {
        _ if by_peer(import) => true,
        Some(name) => {
            let path = format!("{}/{}", name.package, name.interface);
            offered.contains(&path) || (imports.plugin_api.is_some() && path == plugin_api::NAME)
        }
        None => false,
    };
    let unknown: Vec<String> = (plugin.info.imports.iter())
        .filter(|import| !is_offered(import))
        .map(|import| format!("`{}`", escape(&import.name, 200)))
        .take(20)
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(CoreError::UnknownImport { plugin: plugin.name().clone(), imports: unknown })
    }
}
