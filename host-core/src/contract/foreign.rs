//! Interfaces that this host knows nothing of, between two plugins: one imports what the other exports.
//!
//! Values are passed on as they are, from one store to the other. Resources, streams and futures belong
//! to their store, and do not cross.

use std::sync::Arc;

use async_trait::async_trait;
use plugin_contract::{PluginId, escape};
use wasmtime::component::{Component, Linker, Val, types::ComponentItem};

use crate::{Caller, CoreError, StoreData, dynamic};

/// An interface of another plugin, as one that imports it sees it.
#[async_trait]
pub trait ForeignInterface: Send + Sync + 'static {
    /// Calls one of its functions. Whoever calls is held to the types at the boundary to either side.
    async fn call(
        &self,
        caller: &Caller,
        function: &str,
        args: &[Val],
    ) -> Result<Vec<Val>, CoreError>;
}

/// Satisfies the import `name` of `component` with `peer`.
///
/// # Errors
/// `core/contract-mismatch` if something in it cannot cross from one store to another.
pub(crate) fn link<T: StoreData>(
    linker: &mut Linker<T>,
    plugin: &PluginId,
    component: &Component,
    name: &str,
    peer: &Arc<dyn ForeignInterface>,
) -> Result<(), CoreError> {
    let mismatch = |problem: String| CoreError::ContractMismatch {
        plugin: plugin.clone(),
        problem,
        source: None,
    };
    let shown = escape(name, 200);
    let ty = component.component_type();
    let import = ty.imports(component.engine()).find(|(found, _)| *found == name);
    let Some(ComponentItem::ComponentInstance(interface)) = import.map(|(_, import)| import.ty)
    else {
        return Err(mismatch(format!("its import `{shown}` is no interface")));
    };
    let mut instance = linker.instance(name).map_err(CoreError::Engine)?;
    for (function, export) in interface.exports(component.engine()) {
        let crosses = |what: &str| {
            let function = escape(function, 200);
            format!(
                "`{function}` of `{shown}` is or passes {what}, which cannot cross to another plugin"
            )
        };
        let ty = match export.ty {
            ComponentItem::ComponentFunc(ty) => ty,
            // The names of types carry nothing.
            ComponentItem::Type(_) => continue,
            ComponentItem::Resource(_) => return Err(mismatch(crosses("a resource"))),
            _ => return Err(mismatch(crosses("something else than values"))),
        };
        if let Some(what) = dynamic::foreign(&ty) {
            return Err(mismatch(crosses(what)));
        }
        let (peer, called) = (peer.clone(), function.to_owned());
        let linked = instance.func_new_async(function, move |store, _, args, results| {
            let (peer, called) = (peer.clone(), called.clone());
            let caller = store.data().caller();
            Box::new(async move {
                // Whatever went wrong there, the interface has no words for it here.
                let answer =
                    peer.call(&caller, &called, args).await.map_err(wasmtime::Error::new)?;
                for (result, value) in results.iter_mut().zip(answer) {
                    *result = value;
                }
                Ok(())
            })
        });
        linked.map_err(CoreError::Engine)?;
    }
    Ok(())
}
