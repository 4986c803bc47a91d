//! `plugin.toml`: what a plugin says of itself and asks for.

use std::{collections::BTreeMap, num::NonZeroU32, str::FromStr};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::{
    ByteSize, Dependency, EnvName, Explain, FsPermission, MessagePermission, NetPermission,
    PluginId, TimeSpan, World, escape,
};

/// A parsed `plugin.toml`. Unknown keys and words are refused, so a misspelt limit is no limit lost.
///
/// Parse it with [`str::parse`]; [`Manifest::to_toml`] writes the canonical form that is embedded in
/// components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// `[plugin]`: who this is.
    pub plugin: PluginSection,
    /// `[dependencies]`: plugins whose exports satisfy this one's imports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<PluginId, Dependency>,
    /// `[config]`: values handed to `plugin-api.initialize`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// `[permissions]`: what the plugin asks to be granted.
    #[serde(default)]
    pub permissions: Permissions,
}

/// `[plugin]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginSection {
    /// The plugin's name.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// The component, as a file name beside `plugin.toml`.
    pub entrypoint: String,
    /// The world it was built for. Left out, it is told from the exports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world: Option<World>,
    /// One sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The hosts it works with, as a requirement on the host's version. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<VersionReq>,
    /// The media types that `process` takes, such as `image/png` or `text/*`. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<String>,
    /// `shared` or `per-call`. Default: `shared`.
    #[serde(default, skip_serializing_if = "Isolation::is_shared")]
    pub isolation: Isolation,
}

/// Whether calls share instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// An instance takes one call after another. What a guest keeps in memory is there for the next.
    #[default]
    Shared,
    /// Each call has an instance of its own, dropped after it without a `shutdown`.
    PerCall,
}

impl Isolation {
    fn is_shared(&self) -> bool {
        *self == Self::Shared
    }
}

/// `[permissions]`, in the words of the manifest. `host-security` gives them their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Permissions {
    /// `read:`, `write:` or `read-write:` and a path.
    pub fs: Vec<FsPermission>,
    /// `connect:`, `listen:` or `datagram:` and `host:port`.
    pub net: Vec<NetPermission>,
    /// `send:` and whom messages may go to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessagePermission>,
    /// Names of environment variables.
    pub env: Vec<EnvName>,
    /// All linear memories of one instance together. Default `64MB`.
    pub memory: ByteSize,
    /// Time spent executing guest code, per entry into the plugin. Default `10s`.
    pub cpu_time: TimeSpan,
    /// Wall time per call. Default `30s`.
    pub timeout: TimeSpan,
    /// Instances at one time. Default 3.
    pub max_instances: NonZeroU32,
    /// `[permissions.deny]`: what is not to be granted, whatever the above says.
    pub deny: Deny,
}

/// `[permissions.deny]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deny {
    /// Like [`Permissions::fs`].
    pub fs: Vec<FsPermission>,
    /// Like [`Permissions::net`].
    pub net: Vec<NetPermission>,
    /// Like [`Permissions::messages`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessagePermission>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            fs: Vec::new(),
            net: Vec::new(),
            messages: Vec::new(),
            env: Vec::new(),
            memory: ByteSize::new(64_000_000),
            cpu_time: TimeSpan::from_millis(10_000),
            timeout: TimeSpan::from_millis(30_000),
            max_instances: const { NonZeroU32::new(3).expect("three is not zero") },
            deny: Deny::default(),
        }
    }
}

impl Manifest {
    /// Longest manifest, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
    /// Most entries in any one list or table of a manifest.
    pub const ENTRIES_MAX: usize = 256;

    /// Parses the bytes of a file.
    ///
    /// # Errors
    /// [`ManifestError`], also where the bytes are not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => text.parse(),
            Err(error) => Err(ManifestError::Syntax {
                place: format!("byte {}", error.valid_up_to()),
                problem: "not UTF-8".to_owned(),
            }),
        }
    }

    /// The canonical text: the same manifest gives the same bytes.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("strings, integers and tables of them always have a TOML form")
    }

    /// Whether `process` takes inputs of this media type (lower case, without parameters).
    pub fn accepts(&self, media_type: &str) -> bool {
        let accepts = &self.plugin.accepts;
        accepts.is_empty()
            || accepts.iter().any(|pattern| match pattern.strip_suffix("/*") {
                Some(family) => media_type.split('/').next() == Some(family),
                None => pattern == media_type,
            })
    }

    fn check(self) -> Result<Self, ManifestError> {
        let refuse = |key: &str, problem: String| {
            Err(ManifestError::Value { place: key.to_owned(), problem })
        };
        let file = &self.plugin.entrypoint;
        let plain = |c: char| !c.is_control() && !matches!(c, '/' | '\\');
        let bare = file.chars().all(plain) && !file.starts_with('.');
        if !bare || file.len() > 128 || !file.ends_with(".wasm") {
            return refuse(
                "plugin.entrypoint",
                format!("{file:?} is not a plain file name ending in `.wasm`"),
            );
        }
        if self.plugin.description.as_ref().is_some_and(|text| text.len() > 1024) {
            return refuse("plugin.description", "longer than 1024 bytes".to_owned());
        }
        for accepted in &self.plugin.accepts {
            let well_formed = accepted.split('/').count() == 2
                && accepted.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
            if !well_formed {
                return refuse(
                    "plugin.accepts",
                    format!("{accepted:?} is not a media type in lower case, like `image/png`"),
                );
            }
        }
        let permissions = &self.permissions;
        let lengths = [
            ("plugin.accepts", self.plugin.accepts.len()),
            ("dependencies", self.dependencies.len()),
            ("config", self.config.len()),
            ("permissions.fs", permissions.fs.len()),
            ("permissions.net", permissions.net.len()),
            ("permissions.messages", permissions.messages.len()),
            ("permissions.env", permissions.env.len()),
            ("permissions.deny.fs", permissions.deny.fs.len()),
            ("permissions.deny.net", permissions.deny.net.len()),
            ("permissions.deny.messages", permissions.deny.messages.len()),
        ];
        if let Some((key, len)) = lengths.into_iter().find(|(_, len)| *len > Self::ENTRIES_MAX) {
            return refuse(key, format!("{len} entries, where {} are allowed", Self::ENTRIES_MAX));
        }
        Ok(self)
    }
}

impl FromStr for Manifest {
    type Err = ManifestError;

    fn from_str(text: &str) -> Result<Self, ManifestError> {
        if text.len() > Self::BYTES_MAX {
            return Err(ManifestError::TooLarge { bytes: text.len() });
        }
        if let Err(error) = text.parse::<toml::Table>() {
            return Err(ManifestError::Syntax {
                place: place(text, &error),
                problem: escape(error.message(), 500),
            });
        }
        let manifest: Manifest = toml::from_str(text).map_err(|error| {
            let (place, problem) = (place(text, &error), escape(error.message(), 500));
            if problem.starts_with("unknown field") {
                ManifestError::UnknownKey { place, problem }
            } else {
                ManifestError::Value { place, problem }
            }
        })?;
        manifest.check()
    }
}

/// `line 3: memroy = "64MB"`, for an error of the parser.
fn place(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return "the manifest as a whole".to_owned();
    };
    let number = before.matches('\n').count() + 1;
    let shown = escape(text.lines().nth(number - 1).unwrap_or_default().trim(), 80);
    format!("line {number} (`{shown}`)")
}

/// Why a text is no manifest. `place` names line and content, or the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Longer than [`Manifest::BYTES_MAX`].
    #[error("the manifest has {bytes} bytes, where {} are allowed", Manifest::BYTES_MAX)]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Not TOML.
    #[error("the manifest is not TOML, at {place}: {problem}")]
    Syntax {
        /// Where.
        place: String,
        /// What the parser expected.
        problem: String,
    },
    /// A key that this host does not know.
    #[error("the manifest has a key that means nothing, at {place}: {problem}")]
    UnknownKey {
        /// Where.
        place: String,
        /// The key, and those that exist.
        problem: String,
    },
    /// A key is missing, or has a value it cannot have.
    #[error("the manifest has a value that cannot be, at {place}: {problem}")]
    Value {
        /// Where.
        place: String,
        /// What is wrong.
        problem: String,
    },
}

impl Explain for ManifestError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "manifest/too-large",
            Self::Syntax { .. } => "manifest/syntax",
            Self::UnknownKey { .. } => "manifest/unknown-key",
            Self::Value { .. } => "manifest/invalid-value",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "shorten the manifest; lists of data belong into the plugin",
            Self::Syntax { .. } => "mend the line; `plugin.toml` is TOML 1.0",
            Self::UnknownKey { .. } => "remove the key, or correct its spelling",
            Self::Value { .. } => "give the key a value of the form that the message names",
        }
    }
}

#[cfg(test)]
mod tests;
