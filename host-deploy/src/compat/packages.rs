//! Two versions of a package.

use std::collections::HashSet;

use wit_parser::{Function, IndexMap, Interface, InterfaceId, Resolve, WorldItem, WorldKey};

use super::{ChangeKind, Report, WitPackage, is_used, types::Types};

/// What changed between two versions of a package, seen by those who built against the old one.
///
/// Additive: a new type, interface or world; a function added to an interface that guests only
/// import; a world that offers one more import. Breaking: all else, because a host then asks a guest
/// for something it does not have, or the other way round, or types are no longer equal. A function
/// added to an interface that some world of the old package exports is breaking: guests that exist
/// do not export it, and hosts would ask for it.
pub fn compare(old: WitPackage<'_>, new: WitPackage<'_>) -> Report {
    let package = old.name();
    let mut report = Report::default();
    if package != new.name() {
        let why = format!("was {package}, now {}", new.name());
        report.push(package, ChangeKind::Changed, true, why);
        return report;
    }
    let types = Types::new(old.resolve, new.resolve, Some(package.clone()), ("was", "now"));
    let exported = exported_interfaces(old);
    let mut comparison = Comparison { old: old.resolve, new: new.resolve, types, report };

    let (old_package, new_package) = (&old.resolve.packages[old.id], &new.resolve.packages[new.id]);
    for (name, &old_id) in &old_package.interfaces {
        let item = format!("{package}/{name}");
        match new_package.interfaces.get(name) {
            Some(&new_id) => {
                comparison.interfaces(&item, old_id, new_id, exported.contains(&old_id));
            }
            None => comparison.removed(item, "interface"),
        }
    }
    for (name, &old_id) in &old_package.worlds {
        let item = format!("{package}/{name}");
        match new_package.worlds.get(name) {
            Some(&new_id) => {
                let (old, new) = (&old.resolve.worlds[old_id], &new.resolve.worlds[new_id]);
                comparison.world_items(&item, "import", &old.imports, &new.imports);
                comparison.world_items(&item, "export", &old.exports, &new.exports);
            }
            None => comparison.removed(item, "world"),
        }
    }
    for name in new_package.interfaces.keys() {
        if !old_package.interfaces.contains_key(name) {
            comparison.added(format!("{package}/{name}"), "interface");
        }
    }
    for name in new_package.worlds.keys() {
        if !old_package.worlds.contains_key(name) {
            comparison.added(format!("{package}/{name}"), "world");
        }
    }
    comparison.report
}

/// The interfaces that guests of some world of this package export.
fn exported_interfaces(package: WitPackage<'_>) -> HashSet<InterfaceId> {
    let worlds = package.resolve.packages[package.id].worlds.values();
    worlds
        .flat_map(|id| package.resolve.worlds[*id].exports.values())
        .filter_map(|item| match item {
            WorldItem::Interface { id, .. } => Some(*id),
            _ => None,
        })
        .collect()
}

/// The items of a world, on one side.
type Items = IndexMap<WorldKey, WorldItem>;

struct Comparison<'a> {
    old: &'a Resolve,
    new: &'a Resolve,
    types: Types<'a>,
    report: Report,
}

impl<'a> Comparison<'a> {
    fn added(&mut self, item: String, what: &str) {
        self.report.push(item, ChangeKind::Added, false, format!("new {what}"));
    }

    fn removed(&mut self, item: String, what: &str) {
        self.report.push(item, ChangeKind::Removed, true, format!("the {what} is gone"));
    }

    fn interfaces(&mut self, path: &str, old: InterfaceId, new: InterfaceId, exported: bool) {
        let (old, new): (&'a Interface, &'a Interface) =
            (&self.old.interfaces[old], &self.new.interfaces[new]);
        for (name, &old_id) in &old.types {
            let item = format!("{path}.{name}");
            match new.types.get(name) {
                None => self.removed(item, "type"),
                // Where the type was defined, its change is reported once.
                Some(&new_id) if is_used(self.old, old_id) && is_used(self.new, new_id) => {}
                Some(&new_id) => {
                    if let Some(why) = self.types.named(old_id, new_id) {
                        self.report.push(item, ChangeKind::Changed, true, why);
                    }
                }
            }
        }
        for (name, old_function) in &old.functions {
            let item = format!("{path}.{}", plain(name));
            match new.functions.get(name) {
                None => self.removed(item, "function"),
                Some(new_function) => self.functions(item, old_function, new_function),
            }
        }
        for name in new.types.keys().filter(|name| !old.types.contains_key(*name)) {
            self.added(format!("{path}.{name}"), "type");
        }
        for name in new.functions.keys().filter(|name| !old.functions.contains_key(*name)) {
            let item = format!("{path}.{}", plain(name));
            if exported {
                let why = "new function, which existing guests do not export".to_owned();
                self.report.push(item, ChangeKind::Added, true, why);
            } else {
                self.added(item, "function");
            }
        }
    }

    fn functions(&mut self, item: String, old: &Function, new: &Function) {
        if let Some(why) = self.types.functions(old, new) {
            self.report.push(item, ChangeKind::Changed, true, why);
        }
    }

    fn world_items(&mut self, path: &str, side: &'static str, old: &'a Items, new: &'a Items) {
        let key_of = |resolve: &Resolve, key: &WorldKey| {
            let name = resolve.name_world_key(key);
            format!("{path} {side} {}", name.split('@').next().unwrap_or(&name))
        };
        let mut met = HashSet::new();
        for (old_key, old_item) in old {
            let item = key_of(self.old, old_key);
            let found = new.iter().find(|(new_key, _)| self.types.same_key(old_key, new_key));
            let Some((new_key, new_item)) = found else {
                self.removed(item, side);
                continue;
            };
            met.insert(new_key);
            match (old_item, new_item) {
                // Interfaces of a package are compared once, as interfaces; those of other packages
                // have versions of their own.
                (WorldItem::Interface { .. }, WorldItem::Interface { .. })
                    if matches!(old_key, WorldKey::Interface(_)) => {}
                (
                    WorldItem::Interface { id: old_id, .. },
                    WorldItem::Interface { id: new_id, .. },
                ) => {
                    self.interfaces(&item, *old_id, *new_id, side == "export");
                }
                (WorldItem::Function(old), WorldItem::Function(new)) => {
                    self.functions(item, old, new);
                }
                (WorldItem::Type { id: old, .. }, WorldItem::Type { id: new, .. }) => {
                    if let Some(why) = self.types.named(*old, *new) {
                        self.report.push(item, ChangeKind::Changed, true, why);
                    }
                }
                _ => {
                    let why = "is another kind of item now".to_owned();
                    self.report.push(item, ChangeKind::Changed, true, why);
                }
            }
        }
        for (new_key, new_item) in new.iter().filter(|(key, _)| !met.contains(key)) {
            let item = key_of(self.new, new_key);
            if side == "export" {
                let why = "new export, which existing guests do not have".to_owned();
                self.report.push(item, ChangeKind::Added, true, why);
            } else {
                let what =
                    if matches!(new_item, WorldItem::Type { .. }) { "type" } else { "import" };
                self.added(item, what);
            }
        }
    }
}

/// `logger.log` for `[method]logger.log`, `logger` for `[constructor]logger`.
pub(super) fn plain(function: &str) -> &str {
    function.split_once(']').map_or(function, |(_, name)| name)
}
