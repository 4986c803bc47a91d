//! Plugin names.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::escape;

/// The name of a plugin: 1 to 64 lower-case ASCII letters, digits and single hyphens, starting with
/// a letter. Such a name is safe in paths, URLs, log lines and metric labels, and no two of them
/// look alike. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginId(Arc<str>);

impl PluginId {
    /// Longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Checks `name`.
    ///
    /// # Errors
    /// [`InvalidPluginId`] with the rule that was broken.
    pub fn new(name: &str) -> Result<Self, InvalidPluginId> {
        let broken = |rule| Err(InvalidPluginId { name: escape(name, 64), rule });
        if name.is_empty() || name.len() > Self::BYTES_MAX {
            return broken("must be 1 to 64 bytes long");
        }
        if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return broken("may hold only lower-case letters, digits and hyphens");
        }
        if !name.as_bytes()[0].is_ascii_lowercase() {
            return broken("must start with a letter");
        }
        if name.ends_with('-') || name.contains("--") {
            return broken("may hold single hyphens between words only");
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no plugin name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a plugin name: it {rule}")]
pub struct InvalidPluginId {
    name: String,
    rule: &'static str,
}

impl fmt::Display for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for PluginId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for PluginId {
    type Err = InvalidPluginId;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::new(s)
    }
}

impl TryFrom<String> for PluginId {
    type Error = InvalidPluginId;
    fn try_from(s: String) -> Result<Self, Self::Error> {
        Self::new(&s)
    }
}

impl From<PluginId> for String {
    fn from(id: PluginId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl Borrow<str> for PluginId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::PluginId;

    #[test]
    fn names_are_kebab_case() {
        for good in ["a", "image-processor", "v2-echo", &"a".repeat(64)] {
            assert_eq!(PluginId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn names_that_could_reach_outside_or_look_alike_are_refused() {
        let too_long = "a".repeat(65);
        for bad in
            ["", "../x", "a/b", "a\0", "A", "a_b", "-a", "a-", "a--b", "1a", "\u{430}", &too_long]
        {
            assert!(PluginId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refused_name_is_shown_without_control_characters() {
        let error = PluginId::new("\x1b[31mred\n").unwrap_err().to_string();
        assert_eq!(
            error,
            "`\\u{1b}[31mred\\n` is not a plugin name: it may hold only lower-case letters, digits and hyphens"
        );
    }
}
