//! The items of a package, with what they say of themselves.

use std::collections::BTreeMap;

use host_deploy::compat::WitPackage;
use semver::Version;
use wit_parser::{Docs, Interface, Resolve, Stability, TypeDefKind, TypeOwner, World, WorldItem};

use super::error::WitError;

/// Each item by its name, `ns:package/interface.item.field`.
pub(super) struct Items {
    items: BTreeMap<String, Item>,
    version: Option<Version>,
}

struct Item {
    is_documented: bool,
    /// `None` for what has no date of its own, such as a field.
    since: Option<Since>,
}

#[derive(PartialEq, Eq)]
enum Since {
    Missing,
    Version(Version),
}

impl Items {
    pub(super) fn read(package: WitPackage<'_>) -> Self {
        let resolve = package.resolve;
        let package = &resolve.packages[package.id];
        let path = format!("{}:{}", package.name.namespace, package.name.name);
        let mut items = Self { items: BTreeMap::new(), version: package.name.version.clone() };
        items.add(path.clone(), Some(&package.docs), None);
        for (name, id) in &package.interfaces {
            items.interface(resolve, &format!("{path}/{name}"), &resolve.interfaces[*id]);
        }
        for (name, id) in &package.worlds {
            items.world(resolve, &format!("{path}/{name}"), &resolve.worlds[*id]);
        }
        items
    }

    /// `docs` is `None` for what needs no words of its own.
    fn add(&mut self, name: String, docs: Option<&Docs>, stability: Option<&Stability>) {
        let is_documented = docs
            .is_none_or(|docs| docs.contents.as_ref().is_some_and(|text| !text.trim().is_empty()));
        let since = stability.map(|stability| match stability {
            Stability::Stable { since, .. } => Since::Version(since.clone()),
            Stability::Unstable { .. } | Stability::Unknown => Since::Missing,
        });
        self.items.insert(name, Item { is_documented, since });
    }

    fn interface(&mut self, resolve: &Resolve, path: &str, interface: &Interface) {
        self.add(path.to_owned(), Some(&interface.docs), Some(&interface.stability));
        for (name, id) in &interface.types {
            self.type_(resolve, &format!("{path}.{name}"), *id);
        }
        for (name, function) in &interface.functions {
            // `[method]logger.log` cannot clash with anything, and says more than `logger.log`.
            let name = format!("{path}.{name}");
            self.add(name, Some(&function.docs), Some(&function.stability));
        }
    }

    fn type_(&mut self, resolve: &Resolve, path: &str, id: wit_parser::TypeId) {
        let def = &resolve.types[id];
        // What `use` brought here is described where it comes from.
        let is_used = matches!(def.kind, TypeDefKind::Type(wit_parser::Type::Id(target))
            if resolve.types[target].owner != def.owner
                && resolve.types[target].owner != TypeOwner::None);
        self.add(path.to_owned(), (!is_used).then_some(&def.docs), Some(&def.stability));
        let mut part = |name: &str, docs| self.add(format!("{path}.{name}"), Some(docs), None);
        match &def.kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().for_each(|field| part(&field.name, &field.docs));
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().for_each(|case| part(&case.name, &case.docs));
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().for_each(|case| part(&case.name, &case.docs));
            }
            TypeDefKind::Flags(flags) => {
                flags.flags.iter().for_each(|flag| part(&flag.name, &flag.docs));
            }
            _ => {}
        }
    }

    fn world(&mut self, resolve: &Resolve, path: &str, world: &World) {
        self.add(path.to_owned(), Some(&world.docs), Some(&world.stability));
        for (side, items) in [("import", &world.imports), ("export", &world.exports)] {
            for (key, item) in items {
                let name = resolve.name_world_key(key);
                let name = format!("{path} {side} {}", name.split('@').next().unwrap_or(&name));
                match item {
                    // An `include` across packages leaves its date behind; what it brings is dated
                    // where it is defined.
                    WorldItem::Interface { id, stability, .. } => {
                        let is_ours = resolve.interfaces[*id].package == world.package;
                        self.add(name, None, is_ours.then_some(stability));
                    }
                    WorldItem::Function(function) => {
                        self.add(name, Some(&function.docs), Some(&function.stability));
                    }
                    WorldItem::Type { id, .. } => self.type_(resolve, &name, *id),
                }
            }
        }
    }

    /// # Errors
    /// [`WitError::Undocumented`] with every item that lacks words or a date.
    pub(super) fn check_documented(&self) -> Result<(), WitError> {
        let mut items = Vec::new();
        for (name, item) in &self.items {
            if !item.is_documented {
                items.push(format!("`{name}` has no doc comment"));
            }
            if item.since == Some(Since::Missing) {
                items.push(format!("`{name}` has no `@since`"));
            }
        }
        if items.is_empty() { Ok(()) } else { Err(WitError::Undocumented { items }) }
    }

    /// Items of the release keep their date; what is new since is dated after it.
    ///
    /// # Errors
    /// [`WitError::WrongDate`].
    pub(super) fn check_dates(&self, released: &Items, release: &Version) -> Result<(), WitError> {
        let mut items = Vec::new();
        for (name, item) in &self.items {
            let Some(Since::Version(since)) = &item.since else { continue };
            match released.items.get(name).map(|item| &item.since) {
                Some(Some(Since::Version(was))) if was != since => {
                    items.push(format!("`{name}` was released as since {was}, and says {since}"));
                }
                Some(_) => {}
                None if since <= release => {
                    let now = self.version.as_ref().map_or_else(String::new, ToString::to_string);
                    items.push(format!("`{name}` is new in {now}, and says {since}"));
                }
                None => {}
            }
        }
        if items.is_empty() { Ok(()) } else { Err(WitError::WrongDate { items }) }
    }
}
