//! Whether two contracts fit each other, told from their structure.
//!
//! The component model has no subtyping: an item fits if its type is exactly equal, and what nobody
//! uses may differ. So a hash over a whole package refuses too much, and a version number promises
//! too much. [`compare`] looks at two versions of a package and names each item that changed;
//! [`compare_components`] does the same for two revisions of one plugin; [`fits`] asks whether a
//! built component can stand behind a world.
//!
//! ```
//! use host_deploy::compat::{Verdict, WitPackage, compare};
//! use wit_parser::Resolve;
//!
//! let (mut old, mut new) = (Resolve::default(), Resolve::default());
//! let a = old.push_source("a.wit", "package a:b@1.0.0; interface c { f: func(x: u32); }")?;
//! let b = new.push_source("b.wit", "package a:b@1.1.0; interface c { f: func(x: u64); }")?;
//! let report = compare(WitPackage::new(&old, a), WitPackage::new(&new, b));
//! assert_eq!(report.verdict(), Verdict::Breaking);
//! assert_eq!(
//!     report.changes[0].to_string(),
//!     "`a:b/c.f`: parameter `x` was u32, now u64 (breaking)"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: reading files or binaries (callers hand in a [`Resolve`]), and the last word, which
//! linking has.

use std::fmt;

use plugin_contract::InterfaceName;
use wit_parser::{InterfaceId, PackageId, Resolve, TypeDefKind, TypeOwner, WorldId};

mod fits;
mod packages;
mod types;
mod worlds;

pub use fits::{Mismatch, fits};
pub use packages::compare;
pub use worlds::compare_components;

/// One package of a resolved tree of WIT.
#[derive(Clone, Copy)]
pub struct WitPackage<'a> {
    /// Everything the package refers to.
    pub resolve: &'a Resolve,
    /// The package inside.
    pub id: PackageId,
}

impl<'a> WitPackage<'a> {
    /// The package `id` of `resolve`.
    pub fn new(resolve: &'a Resolve, id: PackageId) -> Self {
        Self { resolve, id }
    }

    /// `namespace:name`, without the version.
    fn name(&self) -> String {
        let name = &self.resolve.packages[self.id].name;
        format!("{}:{}", name.namespace, name.name)
    }
}

/// One world of a resolved tree of WIT, or what a decoded component imports and exports.
#[derive(Clone, Copy)]
pub struct WitWorld<'a> {
    /// Everything the world refers to.
    pub resolve: &'a Resolve,
    /// The world inside.
    pub id: WorldId,
}

impl<'a> WitWorld<'a> {
    /// The world `id` of `resolve`.
    pub fn new(resolve: &'a Resolve, id: WorldId) -> Self {
        Self { resolve, id }
    }
}

/// What [`compare`] found: nothing, if the two are the same to guests and hosts alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Each changed item, in the order of the old text and then of the new one.
    pub changes: Vec<Change>,
}

impl Report {
    /// The worst of the changes.
    pub fn verdict(&self) -> Verdict {
        match self.changes.iter().map(|change| change.breaking).max() {
            None => Verdict::Identical,
            Some(false) => Verdict::Additive,
            Some(true) => Verdict::Breaking,
        }
    }

    /// The changes that somebody built against the old text cannot live with.
    pub fn breaking(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.breaking)
    }

    fn push(&mut self, item: impl Into<String>, kind: ChangeKind, breaking: bool, why: String) {
        self.changes.push(Change { item: item.into(), kind, breaking, why });
    }
}

/// How much two contracts differ. Ordered: the worse, the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// No difference in structure; words may differ.
    Identical,
    /// Only more than before.
    Additive,
    /// Something built against the old one does not fit the new one.
    Breaking,
}

impl Verdict {
    /// `identical`, `additive` or `breaking`.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Identical => "identical",
            Verdict::Additive => "additive",
            Verdict::Breaking => "breaking",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One item that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The item: `toolsku:plugin-system/data-processor.process`.
    pub item: String,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Whether something built against the old text no longer fits.
    pub breaking: bool,
    /// The difference, and where it is not plain, why it breaks: "parameter `x` was u32, now u64".
    pub why: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = if self.breaking { "breaking" } else { "additive" };
        write!(f, "`{}`: {} ({weight})", self.item, self.why)
    }
}

/// What happened to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// Only in the new text.
    Added,
    /// Only in the old text.
    Removed,
    /// In both, with another type.
    Changed,
}

/// The name of an interface, if it has one outside of its world.
fn interface_name(resolve: &Resolve, id: InterfaceId) -> Option<InterfaceName> {
    resolve.id_of(id)?.parse().ok()
}

/// Whether `use` brought this type here from another interface.
fn is_used(resolve: &Resolve, id: wit_parser::TypeId) -> bool {
    let def = &resolve.types[id];
    let TypeDefKind::Type(wit_parser::Type::Id(target)) = def.kind else {
        return false;
    };
    let target = &resolve.types[target];
    target.owner != TypeOwner::None && target.owner != def.owner
}

#[cfg(test)]
mod tests;
