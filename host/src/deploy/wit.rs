//! What a component imports and exports, as text and to be compared.

use host_deploy::compat::{self, Report, WitWorld};
use plugin_contract::PluginId;
use wit_component::{DecodedWasm, OutputToString, WitPrinter};
use wit_parser::{Resolve, WorldId};

use crate::HostError;

/// The types of one component.
pub(super) struct Wit {
    resolve: Resolve,
    world: WorldId,
}

impl Wit {
    /// Reads a component that was admitted. Blocks.
    pub(super) fn of(plugin: &PluginId, component: &[u8]) -> Result<Self, HostError> {
        let unreadable = |error: String| HostError::Contract { plugin: plugin.clone(), error };
        match wit_component::decode(component) {
            Ok(DecodedWasm::Component(resolve, world)) => Ok(Self { resolve, world }),
            Ok(DecodedWasm::WitPackage(..)) => Err(unreadable("it holds types alone".to_owned())),
            Err(error) => Err(unreadable(plugin_contract::escape(&format!("{error:#}"), 1_000))),
        }
    }

    /// As text, for people.
    pub(super) fn text(&self) -> String {
        let Some(package) = self.resolve.worlds[self.world].package else { return String::new() };
        let nested: Vec<_> = self.resolve.packages.iter().map(|(id, _)| id).collect();
        let nested: Vec<_> = nested.into_iter().filter(|id| *id != package).collect();
        let mut printer = WitPrinter::new(OutputToString::default());
        match printer.print(&self.resolve, package, &nested) {
            Ok(()) => printer.output.to_string(),
            // What cannot be shown can be compared all the same.
            Err(_) => String::new(),
        }
    }

    /// What changed from `old` to this one, for those who call them.
    pub(super) fn compared_with(&self, old: &Self) -> Report {
        let old = WitWorld::new(&old.resolve, old.world);
        compat::compare_components(old, WitWorld::new(&self.resolve, self.world))
    }
}
