//! Two revisions of one plugin.

use wit_parser::{Resolve, WorldItem, WorldKey};

use super::{ChangeKind, Report, WitWorld, packages::plain, types::Types};

/// What changed between two components, seen by those who call them.
///
/// An export that is gone or has another type is breaking; one more is additive. An import that
/// came or went is additive: whether the host offers it, [`fits`](super::fits) and linking tell.
pub fn compare_components(old: WitWorld<'_>, new: WitWorld<'_>) -> Report {
    let mut types = Types::new(old.resolve, new.resolve, None, ("was", "now"));
    let mut report = Report::default();
    let (old_world, new_world) = (&old.resolve.worlds[old.id], &new.resolve.worlds[new.id]);

    for (key, item) in &old_world.exports {
        let name = old.resolve.name_world_key(key);
        let found = new_world.exports.iter().find(|(other, _)| types.same_key(key, other));
        match (item, found.map(|(_, item)| item)) {
            (_, None) => {
                report.push(name, ChangeKind::Removed, true, "the export is gone".to_owned());
            }
            (
                WorldItem::Interface { id: old_id, .. },
                Some(WorldItem::Interface { id: new_id, .. }),
            ) => {
                let old_functions = &old.resolve.interfaces[*old_id].functions;
                let new_functions = &new.resolve.interfaces[*new_id].functions;
                for (function, old_type) in old_functions {
                    let item = format!("{name}.{}", plain(function));
                    let Some(new_type) = new_functions.get(function) else {
                        let why = "the function is gone".to_owned();
                        report.push(item, ChangeKind::Removed, true, why);
                        continue;
                    };
                    if let Some(why) = types.functions(old_type, new_type) {
                        report.push(item, ChangeKind::Changed, true, why);
                    }
                }
                for function in new_functions.keys() {
                    if !old_functions.contains_key(function) {
                        let item = format!("{name}.{}", plain(function));
                        report.push(item, ChangeKind::Added, false, "new function".to_owned());
                    }
                }
            }
            (WorldItem::Function(old), Some(WorldItem::Function(new))) => {
                if let Some(why) = types.functions(old, new) {
                    report.push(name, ChangeKind::Changed, true, why);
                }
            }
            (WorldItem::Type { id: old, .. }, Some(WorldItem::Type { id: new, .. })) => {
                if let Some(why) = types.named(*old, *new) {
                    report.push(name, ChangeKind::Changed, true, why);
                }
            }
            _ => {
                let why = "is another kind of item now".to_owned();
                report.push(name, ChangeKind::Changed, true, why);
            }
        }
    }
    let mut came_or_went = |resolve: &Resolve, key: &WorldKey, kind, why: &str| {
        report.push(resolve.name_world_key(key), kind, false, why.to_owned());
    };
    for key in new_world.exports.keys() {
        if !old_world.exports.keys().any(|other| types.same_key(other, key)) {
            came_or_went(new.resolve, key, ChangeKind::Added, "new export");
        }
    }
    for key in old_world.imports.keys() {
        if !new_world.imports.keys().any(|other| types.same_key(key, other)) {
            came_or_went(old.resolve, key, ChangeKind::Removed, "no longer imported");
        }
    }
    for key in new_world.imports.keys() {
        if !old_world.imports.keys().any(|other| types.same_key(other, key)) {
            came_or_went(new.resolve, key, ChangeKind::Added, "new import");
        }
    }
    report
}
