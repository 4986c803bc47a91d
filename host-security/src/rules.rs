//! What one plugin may reach: the rules that decide at each access.
//!
//! Something may be reached if the plugin asked for it, the operator allows it, and neither of them
//! denies it. A deny wins over every allow, however precise; the most precise deny explains.

mod address;
mod fs;
mod messages;
mod net;

pub use address::special_range;
pub use fs::{FsRules, Rights};
pub use messages::MessageRules;
pub use net::{Destination, NetRules};

/// Why something was refused, and what would allow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that decided, with where it stands: `host.toml: policy.deny.fs "read:/etc"`.
    pub rule: String,
    /// The line that would allow it, and in which file; `None` where none would.
    pub allow: Option<String>,
}

/// A rule, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed<P> {
    pub(crate) permission: P,
    /// `host.toml: plugins.NAME.allow.fs`.
    pub(crate) place: String,
}

impl<P: std::fmt::Display> Placed<P> {
    pub(crate) fn rule(&self) -> String {
        format!("{} \"{}\"", self.place, self.permission)
    }
}

/// Who has not said yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The plugin never asked.
    Request,
    /// The operator does not allow it.
    Allowance,
    /// Neither.
    Both,
}

impl Missing {
    fn of(asked: bool, allowed: bool) -> Option<Self> {
        match (asked, allowed) {
            (true, true) => None,
            (false, true) => Some(Self::Request),
            (true, false) => Some(Self::Allowance),
            (false, false) => Some(Self::Both),
        }
    }

    /// `kind` is `fs`, `net` or `messages`; `permission` what would have to be there.
    fn denial(self, plugin: &str, kind: &str, permission: &str) -> Denial {
        // Quoted: a guest chooses the path, and someone may copy the line.
        let asks = format!("plugin.toml: permissions.{kind} = [{permission:?}]");
        let allows = format!("host.toml: plugins.{plugin}.allow.{kind} = [{permission:?}]");
        let (rule, allow) = match self {
            Self::Request => (format!("plugin.toml: permissions.{kind} does not ask for it"), asks),
            Self::Allowance => (format!("host.toml: no allow.{kind} covers it"), allows),
            Self::Both => (
                format!("neither permissions.{kind} nor the host's allow.{kind} covers it"),
                format!("{asks} and {allows}"),
            ),
        };
        Denial { rule, allow: Some(allow) }
    }
}
