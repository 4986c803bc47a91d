//! How callers name a plugin.

use std::{fmt, str::FromStr};

use host_deploy::verdict::Arm;
use plugin_contract::{InvalidPluginId, PluginId};
use semver::Version;

/// A plugin, `name`, or one version of it, `name@1.2.3`. Without a version, whichever serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PluginRef {
    /// The plugin.
    pub name: PluginId,
    /// The version, if it must be a certain one.
    pub version: Option<Version>,
    /// Which side of a canary is to answer, if there is one: for those who test it. Default: what the request's
    /// id decides. It is no part of the text.
    pub side: Option<Arm>,
}

impl PluginRef {
    /// The same, answered by this side of a canary, if there is one.
    #[must_use]
    pub fn on(mut self, side: Option<Arm>) -> Self {
        self.side = side;
        self
    }
}

impl From<PluginId> for PluginRef {
    fn from(name: PluginId) -> Self {
        Self { name, version: None, side: None }
    }
}

impl fmt::Display for PluginRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => fmt::Display::fmt(&self.name, f),
        }
    }
}

/// A text that names no plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPluginRef {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidPluginId),
    /// The version is none.
    #[error("after `@` comes a version like 1.2.3")]
    Version,
}

impl FromStr for PluginRef {
    type Err = InvalidPluginRef;

    fn from_str(text: &str) -> Result<Self, InvalidPluginRef> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => {
                (name, Some(version.parse().map_err(|_| InvalidPluginRef::Version)?))
            }
            None => (text, None),
        };
        Ok(Self { name: name.parse()?, version, side: None })
    }
}

#[cfg(test)]
mod tests {
    use super::PluginRef;

    #[test]
    fn references_read_back_as_written() {
        for text in ["a", "image-processor@0.1.0", "a@1.0.0-rc.1"] {
            assert_eq!(text.parse::<PluginRef>().unwrap().to_string(), text);
        }
        for bad in ["", "@1.0.0", "a@", "a@1", "../a", "a@b@1.0.0"] {
            assert!(bad.parse::<PluginRef>().is_err(), "{bad}");
        }
    }
}
