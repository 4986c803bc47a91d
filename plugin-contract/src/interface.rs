//! Names of WIT interfaces, as components import and export them.

use std::{fmt, str::FromStr};

use semver::Version;

/// `namespace:package/interface@version`, such as `toolsku:plugin-system/data-processor@1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    /// `namespace:package`.
    pub package: String,
    /// The interface inside the package.
    pub interface: String,
    /// The package's version, where it has one.
    pub version: Option<Version>,
}

impl InterfaceName {
    /// Whether a host that offers `self` can serve a guest built against `wanted`, as far as names
    /// tell: the same interface on the same compatibility track (`1.x`, or `0.3.x`). Whether the
    /// types fit as well, only linking can say.
    pub fn serves(&self, wanted: &InterfaceName) -> bool {
        self.package == wanted.package
            && self.interface == wanted.interface
            && match (&self.version, &wanted.version) {
                (Some(ours), Some(theirs)) => same_track(ours, theirs),
                (ours, theirs) => ours == theirs,
            }
    }
}

/// The rule by which the engine matches versions: prereleases and `0.0.x` only match themselves.
fn same_track(a: &Version, b: &Version) -> bool {
    if a == b {
        return true;
    }
    if !a.pre.is_empty() || !b.pre.is_empty() {
        return false;
    }
    match (a.major, a.minor) {
        (0, 0) => false,
        (0, minor) => b.major == 0 && b.minor == minor,
        (major, _) => b.major == major,
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.interface)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

/// A text that names no interface of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not of the form `namespace:package/interface@version`")]
pub struct InvalidInterfaceName;

impl FromStr for InterfaceName {
    type Err = InvalidInterfaceName;

    fn from_str(s: &str) -> Result<Self, InvalidInterfaceName> {
        let (path, version) = match s.split_once('@') {
            Some((path, version)) => {
                (path, Some(version.parse().map_err(|_| InvalidInterfaceName)?))
            }
            None => (s, None),
        };
        let (package, interface) = path.split_once('/').ok_or(InvalidInterfaceName)?;
        if !package.contains(':') || interface.is_empty() || interface.contains('/') {
            return Err(InvalidInterfaceName);
        }
        Ok(Self { package: package.to_owned(), interface: interface.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::InterfaceName;

    #[track_caller]
    fn check(offered: &str, wanted: &str, serves: bool) {
        let parse = |name: &str| name.parse::<InterfaceName>().unwrap();
        assert_eq!(parse(offered).serves(&parse(wanted)), serves, "{offered} for {wanted}");
    }

    #[test]
    fn versions_serve_within_their_track() {
        check("a:b/c@1.0.0", "a:b/c@1.0.0", true);
        check("a:b/c@1.2.0", "a:b/c@1.0.0", true);
        check("a:b/c@1.0.0", "a:b/c@1.9.0", true);
        check("a:b/c@0.2.6", "a:b/c@0.2.12", true);
        check("a:b/c", "a:b/c", true);
    }

    #[test]
    fn other_tracks_and_other_names_do_not_serve() {
        check("a:b/c@1.0.0", "a:b/c@2.0.0", false);
        check("a:b/c@0.2.0", "a:b/c@0.3.0", false);
        check("a:b/c@0.0.1", "a:b/c@0.0.2", false);
        check("a:b/c@1.0.0", "a:b/c@1.0.0-rc.1", false);
        check("a:b/c@1.0.0", "a:b/c", false);
        check("a:b/c@1.0.0", "a:b/d@1.0.0", false);
    }

    #[test]
    fn names_read_back_as_written() {
        for name in ["wasi:io/poll@0.2.6", "a:b/c"] {
            assert_eq!(name.parse::<InterfaceName>().unwrap().to_string(), name);
        }
        for bad in ["", "run", "a:b", "a/b", "a:b/c@x", "a:b/", "a:b/c/d"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad}");
        }
    }
}
