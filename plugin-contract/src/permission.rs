//! The words of `[permissions]`: `read:/data`, `connect:api.example.com:443`.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{escape, quantity::as_text};

/// What is asked of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FsAccess {
    /// Look, list, read.
    Read,
    /// Create, write, rename, remove; not read.
    Write,
    /// Both.
    ReadWrite,
}

impl FsAccess {
    /// Whether reading is part of it.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether writing is part of it.
    pub const fn writes(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }

    /// As in the manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::ReadWrite => "read-write",
        }
    }
}

/// `read:`, `write:` or `read-write:` and an absolute path in the plugin's view.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FsPermission {
    /// What is asked.
    pub access: FsAccess,
    /// The path, component by component; empty for `/`.
    pub path: Vec<String>,
}

/// What is asked of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NetAccess {
    /// Open TCP connections to it; HTTP included.
    Connect,
    /// Accept TCP connections on it.
    Listen,
    /// Exchange UDP datagrams with it.
    Datagram,
}

impl NetAccess {
    /// As in the manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Datagram => "datagram",
        }
    }
}

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetTarget {
    /// `*`.
    Any,
    /// A name, in lower case, without a trailing dot.
    Name(String),
    /// One address, or with a prefix length a range of them.
    Range(IpAddr, u8),
}

/// `connect:`, `listen:` or `datagram:` and `host:port`, with `*` allowed in the place of either or both.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NetPermission {
    /// What is asked.
    pub access: NetAccess,
    /// Of which host.
    pub target: NetTarget,
    /// On which port; `None` for any.
    pub port: Option<u16>,
}

/// The name of an environment variable: letters, digits and `_`, at most 128.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnvName(String);

impl EnvName {
    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EnvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for EnvName {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        let rest = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if first && rest && name.len() <= 128 {
            Ok(Self(name.to_owned()))
        } else {
            Err("expected the name of an environment variable: letters, digits and `_`")
        }
    }
}

as_text!(FsPermission, NetPermission, EnvName);

impl FromStr for FsPermission {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected `read:`, `write:` or `read-write:` and an absolute path, as in \"read:/data\"";
        let (word, path) = text.split_once(':').ok_or(FORM)?;
        let access = match word {
            "read" => FsAccess::Read,
            "write" => FsAccess::Write,
            "read-write" => FsAccess::ReadWrite,
            _ => return Err(FORM),
        };
        let relative = path.strip_prefix('/').ok_or(FORM)?;
        // Rules are shown to whoever is to agree to them: one that does not look like what it is, is none.
        let is_plain = !path.contains('\\') && !path.contains('\t') && escape(path, 4096) == path;
        if path.len() > 4096 || !is_plain {
            return Err(
                "expected a path of at most 4096 bytes without backslash and control characters",
            );
        }
        // A single trailing slash says the same directory; anything cleverer is refused, so that a
        // rule reads the way it works.
        let relative = relative.strip_suffix('/').unwrap_or(relative);
        let path: Vec<String> = match relative {
            "" => Vec::new(),
            _ => relative.split('/').map(str::to_owned).collect(),
        };
        if path.iter().any(|part| matches!(part.as_str(), "" | "." | "..")) {
            return Err("expected a path without `.`, `..` and empty parts");
        }
        Ok(Self { access, path })
    }
}

impl FromStr for NetPermission {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected `connect:`, `listen:` or `datagram:` and `host:port`, as in \"connect:api.example.com:443\"";
        let (word, address) = text.split_once(':').ok_or(FORM)?;
        let access = match word {
            "connect" => NetAccess::Connect,
            "listen" => NetAccess::Listen,
            "datagram" => NetAccess::Datagram,
            _ => return Err(FORM),
        };
        if address == "*" {
            return Ok(Self { access, target: NetTarget::Any, port: None });
        }
        let (host, port) = address.rsplit_once(':').ok_or(FORM)?;
        let port = match port {
            "*" => None,
            // `parse` alone would take a sign.
            signed if signed.starts_with('+') => return Err(FORM),
            number => match number.parse() {
                Ok(0) | Err(_) => return Err("expected a port from 1 to 65535, or `*`"),
                Ok(port) => Some(port),
            },
        };
        Ok(Self { access, target: host.parse()?, port })
    }
}

impl FromStr for NetTarget {
    type Err = &'static str;

    fn from_str(host: &str) -> Result<Self, Self::Err> {
        if host == "*" {
            return Ok(Self::Any);
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let (address, prefix) = match bare.unwrap_or(host).split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (bare.unwrap_or(host), None),
        };
        if let Ok(address) = address.parse::<IpAddr>() {
            if address.is_ipv6() != bare.is_some() {
                return Err(
                    "expected IPv6 addresses in brackets, as in \"[::1]:80\", and only those",
                );
            }
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix = match prefix {
                None => bits,
                Some(prefix) => prefix
                    .parse()
                    .ok()
                    .filter(|prefix| *prefix <= bits)
                    .ok_or("expected a prefix length that fits the address")?,
            };
            return Ok(Self::Range(address, prefix));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A last label of digits would be an address in a spelling of its own (`127.1`, `0x7f.1`).
        let numeric =
            |label: &str| label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
        let last = host.rsplit('.').next().unwrap_or_default();
        if prefix.is_some() || host.len() > 253 || !host.split('.').all(label) || numeric(last) {
            return Err(
                "expected a host name, an IP address, an address range or `*` before the port",
            );
        }
        Ok(Self::Name(host.to_ascii_lowercase()))
    }
}

impl fmt::Display for FsPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:/{}", self.access.word(), self.path.join("/"))
    }
}

impl fmt::Display for NetPermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.access.word())?;
        match &self.target {
            NetTarget::Any => f.write_str("*")?,
            NetTarget::Name(name) => f.write_str(name)?,
            NetTarget::Range(address @ IpAddr::V4(_), 32) => write!(f, "{address}")?,
            NetTarget::Range(address @ IpAddr::V4(_), prefix) => write!(f, "{address}/{prefix}")?,
            NetTarget::Range(address, 128) => write!(f, "[{address}]")?,
            NetTarget::Range(address, prefix) => write!(f, "[{address}/{prefix}]")?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => f.write_str(":*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FsPermission, NetPermission};

    #[test]
    fn permissions_read_back_as_written() {
        for text in ["read:/", "read:/data/images", "write:/tmp/cache", "read-write:/a"] {
            assert_eq!(text.parse::<FsPermission>().unwrap().to_string(), text);
        }
        for text in [
            "connect:api.example.com:443",
            "connect:127.0.0.1:*",
            "connect:10.0.0.0/8:80",
            "connect:[::1]:80",
            "datagram:[fd00::/8]:53",
            "listen:*:*",
        ] {
            assert_eq!(text.parse::<NetPermission>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn spellings_of_one_meaning_are_one_permission() {
        let fs = |text: &str| text.parse::<FsPermission>().unwrap();
        assert_eq!(fs("read:/data/"), fs("read:/data"));
        let net = |text: &str| text.parse::<NetPermission>().unwrap();
        assert_eq!(net("listen:*"), net("listen:*:*"));
        assert_eq!(net("connect:API.Example.com:443"), net("connect:api.example.com:443"));
    }

    #[test]
    fn unknown_words_and_clever_paths_are_refused() {
        for bad in [
            "",
            "read",
            "read:",
            "read:data",
            "exec:/bin",
            "READ:/data",
            "read:/data/../etc",
            "read:/./a",
            "read:/a//b",
            "read:/a\0",
            "read:/a\tb",
            "read:/a\n",
            "read:/\u{1b}[2K\rread:/b",
            "read:/\u{202e}b",
            "read:/a\\b",
        ] {
            assert!(bad.parse::<FsPermission>().is_err(), "{bad:?}");
        }
        for bad in [
            "",
            "connect",
            "connect:",
            "connect:host",
            "dial:host:1",
            "connect:host:0",
            "connect:host:65536",
            "connect:host:+1",
            "connect:127.1:80",
            "connect:0x7f.1:80",
            "connect:2130706433:80",
            "connect:::1:80",
            "connect:[1.2.3.4]:80",
            "connect:a..b:1",
            "connect:10.0.0.0/33:80",
            "connect:user@host:80",
            "connect:host/8:80",
            "connect:host.:80",
        ] {
            assert!(bad.parse::<NetPermission>().is_err(), "{bad:?}");
        }
    }
}
