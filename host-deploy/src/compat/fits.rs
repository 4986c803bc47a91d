//! Whether a component can stand behind a world.

use std::fmt;

use plugin_contract::InterfaceName;
use wit_parser::{
    Function, IndexMap, InterfaceId, Resolve, TypeDefKind, TypeId, WorldItem, WorldKey,
};

use super::{WitWorld, interface_name, packages::plain, types::Types};

/// One place where a component does not fit its world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The item: `toolsku:plugin-system/data-processor@1.0.0.process`.
    pub item: String,
    /// What is wrong with it: "is not exported", "parameter `x` should be u32, is u64".
    pub why: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.item, self.why)
    }
}

/// Whether `component`, as decoded from its bytes, can stand behind `world`.
///
/// It has to export every function of every interface that the world exports, and may import only
/// what the world imports or `allowed` says yes to, all with equal types. More exports than the
/// world names are fine. Versions match on their compatibility track, as they do when linking.
///
/// # Errors
/// Every [`Mismatch`] found.
pub fn fits(
    world: WitWorld<'_>,
    component: WitWorld<'_>,
    allowed: impl Fn(&InterfaceName) -> bool,
) -> Result<(), Vec<Mismatch>> {
    let mut fitting = Fitting {
        wanted: world.resolve,
        found: component.resolve,
        types: Types::new(world.resolve, component.resolve, None, ("should be", "is")),
        mismatches: Vec::new(),
    };
    let (wanted, found) =
        (&world.resolve.worlds[world.id], &component.resolve.worlds[component.id]);
    fitting.exports(&wanted.exports, &found.exports);
    fitting.imports(&wanted.imports, &found.imports, allowed);
    if fitting.mismatches.is_empty() { Ok(()) } else { Err(fitting.mismatches) }
}

type Items = IndexMap<WorldKey, WorldItem>;

struct Fitting<'a> {
    wanted: &'a Resolve,
    found: &'a Resolve,
    types: Types<'a>,
    mismatches: Vec<Mismatch>,
}

impl<'a> Fitting<'a> {
    fn mismatch(&mut self, item: String, why: impl Into<String>) {
        self.mismatches.push(Mismatch { item, why: why.into() });
    }

    fn exports(&mut self, wanted: &'a Items, found: &'a Items) {
        for (key, item) in wanted {
            let name = self.wanted.name_world_key(key);
            let other = found.iter().find(|(other, _)| self.types.same_key(key, other));
            match (item, other.map(|(_, other)| other)) {
                (WorldItem::Type { .. }, _) => {}
                (_, None) => self.mismatch(name, "is not exported"),
                (
                    WorldItem::Interface { id: wanted, .. },
                    Some(WorldItem::Interface { id: found, .. }),
                ) => {
                    for (function, wanted) in &self.wanted.interfaces[*wanted].functions {
                        let item = format!("{name}.{}", plain(function));
                        match self.found.interfaces[*found].functions.get(function) {
                            Some(found) => self.function(item, wanted, found),
                            None => self.mismatch(item, "is not exported"),
                        }
                    }
                }
                (WorldItem::Function(wanted), Some(WorldItem::Function(found))) => {
                    self.function(name, wanted, found);
                }
                _ => self.mismatch(name, "is another kind of export than the world names"),
            }
        }
    }

    fn imports(
        &mut self,
        wanted: &'a Items,
        found: &'a Items,
        allowed: impl Fn(&InterfaceName) -> bool,
    ) {
        for (key, item) in found {
            let name = self.found.name_world_key(key);
            let offered = wanted.iter().find(|(other, _)| self.types.same_key(other, key));
            match (item, offered.map(|(_, offered)| offered)) {
                (WorldItem::Type { .. }, _) => {}
                (
                    WorldItem::Interface { id: found, .. },
                    Some(WorldItem::Interface { id: wanted, .. }),
                ) => {
                    for (function, found) in &self.found.interfaces[*found].functions {
                        let item = format!("{name}.{}", plain(function));
                        match self.wanted.interfaces[*wanted].functions.get(function) {
                            Some(wanted) => self.function(item, wanted, found),
                            None => {
                                self.mismatch(item, "is imported, and the world does not offer it");
                            }
                        }
                    }
                }
                (WorldItem::Function(found), Some(WorldItem::Function(wanted))) => {
                    self.function(name, wanted, found);
                }
                (WorldItem::Interface { id, .. }, None)
                    if interface_name(self.found, *id).is_some_and(|name| allowed(&name)) => {}
                (WorldItem::Interface { id, .. }, None) if self.is_types_only(*id) => {}
                (_, None) => self.mismatch(name, "is imported, and the world does not offer it"),
                _ => self.mismatch(name, "is another kind of import than the world offers"),
            }
        }
    }

    fn function(&mut self, item: String, wanted: &Function, found: &Function) {
        if let Some(why) = self.types.functions(wanted, found) {
            self.mismatch(item, why);
        }
    }

    /// Plain types ask the host for nothing; a resource has to come from somewhere.
    fn is_types_only(&self, id: InterfaceId) -> bool {
        let interface = &self.found.interfaces[id];
        let is_resource = |id: &TypeId| matches!(self.found.types[*id].kind, TypeDefKind::Resource);
        interface.functions.is_empty() && !interface.types.values().any(is_resource)
    }
}
