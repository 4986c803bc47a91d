//! Which paths.

use plugin_contract::{FsAccess, FsPermission, PluginId};

use super::{Denial, Missing, Placed};

/// What may be done at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Look, list, read.
    pub read: bool,
    /// Create, write, rename, remove.
    pub write: bool,
}

impl Rights {
    /// Whether all of `access` is among them.
    pub fn cover(self, access: FsAccess) -> bool {
        (self.read || !access.reads()) && (self.write || !access.writes())
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.read || self.write
    }

    /// Whether these are at least `other`.
    pub fn contain(self, other: Self) -> bool {
        (self.read || !other.read) && (self.write || !other.write)
    }

    fn of(access: FsAccess) -> Self {
        Self { read: access.reads(), write: access.writes() }
    }

    fn or(self, other: Self) -> Self {
        Self { read: self.read || other.read, write: self.write || other.write }
    }

    fn and(self, other: Self) -> Self {
        Self { read: self.read && other.read, write: self.write && other.write }
    }

    fn without(self, other: Self) -> Self {
        Self { read: self.read && !other.read, write: self.write && !other.write }
    }
}

/// Decides on paths in the plugin's view, component by component: `/data` says nothing of `/database`.
///
/// A path is given as its components, without `.` and `..`: whoever asks has resolved them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsRules {
    plugin: PluginId,
    asked: Vec<FsPermission>,
    allowed: Vec<Placed<FsPermission>>,
    denied: Vec<Placed<FsPermission>>,
}

impl FsRules {
    pub(crate) fn new(
        plugin: PluginId,
        asked: Vec<FsPermission>,
        allowed: Vec<Placed<FsPermission>>,
        denied: Vec<Placed<FsPermission>>,
    ) -> Self {
        Self { plugin, asked, allowed, denied }
    }

    /// What may be done at `path`.
    pub fn rights<S: AsRef<str>>(&self, path: &[S]) -> Rights {
        let asked = union(self.asked.iter(), path);
        let allowed = union(self.allowed.iter().map(|placed| &placed.permission), path);
        let denied = union(self.denied.iter().map(|placed| &placed.permission), path);
        asked.and(allowed).without(denied)
    }

    /// Whether all of `access` may be done at `path`.
    ///
    /// # Errors
    /// [`Denial`]: the most precise deny, or who has not said yes.
    pub fn check<S: AsRef<str>>(&self, path: &[S], access: FsAccess) -> Result<(), Denial> {
        if self.rights(path).cover(access) {
            return Ok(());
        }
        let wanted = Rights::of(access);
        let deny = (self.denied.iter())
            .filter(|deny| covers(&deny.permission, path))
            .filter(|deny| Rights::of(deny.permission.access).and(wanted).any())
            .max_by_key(|deny| deny.permission.path.len());
        if let Some(deny) = deny {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let asked = union(self.asked.iter(), path).cover(access);
        let allowed = self.allowed.iter().map(|placed| &placed.permission);
        let allowed = union(allowed, path).cover(access);
        let path: Vec<String> = path.iter().map(|part| part.as_ref().to_owned()).collect();
        let permission = FsPermission { access, path }.to_string();
        // `rights` has just said no, and no deny was the reason.
        let missing = Missing::of(asked, allowed).unwrap_or(Missing::Both);
        Err(missing.denial(self.plugin.as_str(), "fs", &permission))
    }

    /// Whether some rule is about a path strictly beneath this one: what is there cannot be moved as a
    /// whole, since its parts have rights of their own.
    pub fn has_rules_beneath<S: AsRef<str>>(&self, path: &[S]) -> bool {
        let placed = self.allowed.iter().chain(&self.denied).map(|placed| &placed.permission);
        self.asked.iter().chain(placed).any(|rule| {
            rule.path.len() > path.len()
                && path.iter().zip(&rule.path).all(|(a, b)| a.as_ref() == b)
        })
    }

    /// Where reachable trees begin: the paths that were asked for within what is allowed, and the other
    /// way round, without those that are within another.
    pub fn roots(&self) -> Vec<Vec<String>> {
        let mut roots: Vec<&Vec<String>> = Vec::new();
        for asked in &self.asked {
            for allowed in self.allowed.iter().map(|placed| &placed.permission) {
                if covers(asked, &allowed.path) {
                    roots.push(&allowed.path);
                } else if covers(allowed, &asked.path) {
                    roots.push(&asked.path);
                }
            }
        }
        roots.retain(|root| self.rights(root).any());
        roots.sort();
        roots.dedup();
        let outermost = |root: &&Vec<String>| {
            !roots.iter().any(|other| other.len() < root.len() && root.starts_with(other))
        };
        roots.iter().copied().filter(outermost).cloned().collect()
    }

    /// The paths that are denied, whatever else is allowed.
    pub fn denied(&self) -> impl Iterator<Item = &FsPermission> {
        self.denied.iter().map(|placed| &placed.permission)
    }

    /// How the answer to one thing asked for came about: the operator's rules that decide about it.
    pub(crate) fn explain(&self, asked: &FsPermission) -> Result<Vec<String>, Denial> {
        self.check(&asked.path, asked.access)?;
        let covering = self.allowed.iter().filter(|allow| covers(&allow.permission, &asked.path));
        Ok(covering.map(Placed::rule).collect())
    }

    /// The denies strictly within what was asked for.
    pub(crate) fn exceptions(&self, asked: &FsPermission) -> Vec<String> {
        let within = self.denied.iter().filter(|deny| {
            deny.permission.path.len() > asked.path.len() && covers(asked, &deny.permission.path)
        });
        within.map(Placed::rule).collect()
    }
}

/// What the rules that cover `path` give together.
fn union<'a, S: AsRef<str>>(rules: impl Iterator<Item = &'a FsPermission>, path: &[S]) -> Rights {
    rules
        .filter(|rule| covers(rule, path))
        .fold(Rights::default(), |rights, rule| rights.or(Rights::of(rule.access)))
}

/// Whether `path` is the rule's or beneath it.
fn covers<S: AsRef<str>>(rule: &FsPermission, path: &[S]) -> bool {
    rule.path.len() <= path.len() && rule.path.iter().zip(path).all(|(a, b)| a == b.as_ref())
}

#[cfg(test)]
mod tests;
