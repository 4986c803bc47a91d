//! What the operator allows.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use plugin_contract::{
    ByteSize, EnvName, FsAccess, FsPermission, MessagePermission, NetPermission, PluginId, TimeSpan,
};
use serde::Deserialize;

use crate::Request;

/// The operator's side of every grant: what holds for all plugins, and for one by name. The default
/// grants no authority and moderate amounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// `[policy]`: for every plugin.
    pub all: Rules,
    /// `[plugins.NAME]`: for one. Its allowances add to those of all, its denies too; its ceilings and
    /// paths come before those of all.
    pub plugins: BTreeMap<PluginId, Rules>,
}

impl Policy {
    /// `request`, and all that this policy allows the plugin besides: what it could get at most. For
    /// finding out what it needs.
    pub fn widest(&self, request: &Request) -> Request {
        let mut widest = request.clone();
        for rules in [Some(&self.all), self.plugins.get(&request.plugin)].into_iter().flatten() {
            widest.fs.extend(rules.allow.fs.iter().cloned());
            widest.net.extend(rules.allow.net.iter().cloned());
            widest.messages.extend(rules.allow.messages.iter().cloned());
            widest.env.extend(rules.env.keys().cloned());
        }
        widest
    }
}

/// What the operator says, of one plugin or of all.
///
/// ```
/// let rules: host_security::Rules = toml::from_str(r#"
///     allow.fs = ["read:/data", "read-write:/cache"]
///     allow.net = ["connect:api.example.com:443"]
///     deny.fs = ["read-write:/data/private"]
///     env = { TZ = "UTC" }
///     paths = { "/data" = "/srv/pictures" }
///     limits = { memory = "32MB", data-size = "1GB" }
/// "#)?;
/// assert_eq!(rules.allow.fs.len(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rules {
    /// What may be granted to who asks for it.
    pub allow: Authority,
    /// What is never granted, whatever else says so.
    pub deny: Authority,
    /// Environment variables for who asks for them, with their values.
    pub env: BTreeMap<EnvName, String>,
    /// Where paths of the plugin's view are on the host. A path that no entry covers is the host's of
    /// the same name.
    pub paths: BTreeMap<GuestPath, PathBuf>,
    /// How much.
    pub limits: Ceilings,
}

/// Files, addresses and other plugins, in the words of `plugin.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authority {
    /// `read:`, `write:` or `read-write:` and a path of the plugin's view.
    pub fs: Vec<FsPermission>,
    /// `connect:`, `listen:` or `datagram:` and `host:port`.
    pub net: Vec<NetPermission>,
    /// `send:` and the name of a plugin, `@` and a name of the host's, or `*`.
    pub messages: Vec<MessagePermission>,
}

/// The most that plugins get. What is left out is as by default; see [`Limits`](crate::Limits) for units
/// and what happens at a limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Ceilings {
    /// Highest `memory`. Default 256 MB.
    pub memory: Option<ByteSize>,
    /// Highest `cpu-time`. Default 60 s.
    pub cpu_time: Option<TimeSpan>,
    /// Highest `timeout`. Default 120 s.
    pub timeout: Option<TimeSpan>,
    /// Highest `max-instances`. Default 32.
    pub max_instances: Option<u32>,
    /// Open files of an instance.
    pub open_files: Option<u32>,
    /// Open sockets of an instance.
    pub sockets: Option<u32>,
    /// Bytes in the private data directory.
    pub data_size: Option<ByteSize>,
    /// Entries in the private data directory; 0 for none at all: the plugin has no such directory.
    pub data_files: Option<u64>,
    /// Bytes in each tree that may be written.
    pub write_size: Option<ByteSize>,
    /// Entries in each tree that may be written.
    pub write_files: Option<u64>,
    /// Bytes of the body of an HTTP request or answer.
    pub http_size: Option<ByteSize>,
}

/// An absolute path in the plugin's view.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct GuestPath(Vec<String>);

impl GuestPath {
    /// Its components; none for `/`.
    pub fn parts(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for GuestPath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // One grammar for paths: that of permissions.
        let permission: FsPermission = format!("{}:{text}", FsAccess::Read.word()).parse()?;
        Ok(Self(permission.path))
    }
}

impl TryFrom<String> for GuestPath {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Vec<String>> for GuestPath {
    fn from(parts: Vec<String>) -> Self {
        Self(parts)
    }
}

impl fmt::Display for GuestPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0.join("/"))
    }
}
