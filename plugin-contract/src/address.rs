//! Who can be written to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{PluginId, quantity::as_text};

/// Where messages come from and go to: a plugin by its name, or something of the host's own as `@name`,
/// which no plugin can be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// A plugin, in whichever version serves.
    Plugin(PluginId),
    /// Something of the host's own.
    Host(PluginId),
}

impl Address {
    /// The plugin, if it is one.
    pub fn plugin(&self) -> Option<&PluginId> {
        match self {
            Self::Plugin(name) => Some(name),
            Self::Host(_) => None,
        }
    }
}

impl From<PluginId> for Address {
    fn from(name: PluginId) -> Self {
        Self::Plugin(name)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin(name) => write!(f, "{name}"),
            Self::Host(name) => write!(f, "@{name}"),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, of): (_, fn(PluginId) -> Self) = match text.strip_prefix('@') {
            Some(name) => (name, Self::Host),
            None => (text, Self::Plugin),
        };
        name.parse().map(of).map_err(|_| "expected the name of a plugin, or `@` and a name")
    }
}

/// `send:` and an [`Address`], or `*` for all of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MessagePermission {
    /// Whom messages may go to; `None` for anyone.
    pub target: Option<Address>,
}

impl MessagePermission {
    /// Whether messages to `target` are part of it.
    pub fn covers(&self, target: &Address) -> bool {
        self.target.as_ref().is_none_or(|own| own == target)
    }
}

impl fmt::Display for MessagePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Some(target) => write!(f, "send:{target}"),
            None => f.write_str("send:*"),
        }
    }
}

impl FromStr for MessagePermission {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str =
            "expected `send:` and the name of a plugin, `@` and a name of the host's, or `*`";
        let target = match text.strip_prefix("send:").ok_or(FORM)? {
            "*" => None,
            name => Some(name.parse().map_err(|_| FORM)?),
        };
        Ok(Self { target })
    }
}

as_text!(Address, MessagePermission);

#[cfg(test)]
mod tests {
    use super::{Address, MessagePermission};

    #[test]
    fn addresses_and_permissions_read_back_as_written() {
        for text in ["auditor", "@console"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            let permission = format!("send:{text}");
            assert_eq!(permission.parse::<MessagePermission>().unwrap().to_string(), permission);
        }
        assert_eq!("send:*".parse::<MessagePermission>().unwrap().to_string(), "send:*");
        for bad in ["", "@", "@@a", "A b", "../a", "*"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        for bad in ["", "auditor", "send:", "send:A", "receive:a", "send:@*"] {
            assert!(bad.parse::<MessagePermission>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plugin_is_not_something_of_the_host_under_the_same_name() {
        let covers = |permission: &str, target: &str| {
            permission.parse::<MessagePermission>().unwrap().covers(&target.parse().unwrap())
        };
        assert!(covers("send:a", "a") && covers("send:*", "@a") && covers("send:*", "a"));
        assert!(!covers("send:a", "@a") && !covers("send:@a", "a") && !covers("send:a", "b"));
    }
}
