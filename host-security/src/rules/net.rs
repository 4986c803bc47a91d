//! Which addresses.

use std::net::IpAddr;

use plugin_contract::{NetAccess, NetPermission, NetTarget, PluginId};

use super::{
    Denial, Missing, Placed,
    address::{contains, special_range},
};

/// Where something is to go, or come from: the resolved address, and the names it was asked for by.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    /// The names that led to the address, in lower case, without a trailing dot.
    pub names: &'a [String],
    /// The address that will be used, and no other.
    pub address: IpAddr,
    /// The port; for a socket that listens, its own.
    pub port: u16,
}

/// Decides on addresses: after names were resolved, before anything is connected.
///
/// Loopback, private, link-local, metadata and translated ranges ([`special_range`]) are reached only if
/// the *operator* allows them by an address, or by a range that lies within. No name and no `*` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetRules {
    plugin: PluginId,
    asked: Vec<NetPermission>,
    allowed: Vec<Placed<NetPermission>>,
    denied: Vec<Placed<NetPermission>>,
}

impl NetRules {
    pub(crate) fn new(
        plugin: PluginId,
        asked: Vec<NetPermission>,
        allowed: Vec<Placed<NetPermission>>,
        denied: Vec<Placed<NetPermission>>,
    ) -> Self {
        Self { plugin, asked, allowed, denied }
    }

    /// Whether the plugin may do this there.
    ///
    /// # Errors
    /// [`Denial`]: the most precise deny, who has not said yes, or the special range.
    pub fn check(&self, access: NetAccess, to: Destination<'_>) -> Result<(), Denial> {
        let covers = |rule: &NetPermission| {
            rule.access == access
                && rule.port.is_none_or(|port| port == to.port)
                && target_covers(&rule.target, to)
        };
        let deny = self.denied.iter().filter(|deny| covers(&deny.permission));
        if let Some(deny) = deny.max_by_key(|deny| precision(&deny.permission)) {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let asked = self.asked.iter().any(covers);
        let special = special_range(to.address);
        let mut by_name = None;
        let allowed = self.allowed.iter().any(|allow| {
            let covered = covers(&allow.permission);
            let reaches = special.is_none_or(|range| is_within(&allow.permission.target, range));
            if covered && !reaches {
                by_name = Some(allow);
            }
            covered && reaches
        });
        let Some(missing) = Missing::of(asked, allowed) else { return Ok(()) };
        let address = to.address.to_canonical();
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // A socket on a port of the system's choice: only a rule for every port can speak of it.
        let port = (to.port != 0).then_some(to.port);
        let by_address = NetTarget::Range(address, bits);
        if let (Some(allow), Some((base, bits, what))) = (by_name, special) {
            let permission = NetPermission { access, target: by_address, port }.to_string();
            let denial = missing.denial(self.plugin.as_str(), "net", &permission);
            let rule = format!("{} does not reach {base}/{bits} ({what})", allow.rule());
            return Err(Denial { rule, ..denial });
        }
        let target = match (special, to.names.first()) {
            (None, Some(name)) => name.parse().unwrap_or(by_address),
            _ => by_address,
        };
        let permission = NetPermission { access, target, port }.to_string();
        Err(missing.denial(self.plugin.as_str(), "net", &permission))
    }

    /// Whether the plugin may have this name resolved: some rule must be about it, or about all names.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn check_name(&self, name: &str) -> Result<(), Denial> {
        let covers = |rule: &NetPermission| match &rule.target {
            _ if rule.access == NetAccess::Listen => false,
            NetTarget::Any => true,
            NetTarget::Name(named) => named == name,
            NetTarget::Range(..) => false,
        };
        let denies = |rule: &NetPermission| covers(rule) && rule.port.is_none();
        if let Some(deny) = self.denied.iter().find(|deny| denies(&deny.permission)) {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let asked = self.asked.iter().any(covers);
        let allowed = self.allowed.iter().any(|allow| covers(&allow.permission));
        match Missing::of(asked, allowed) {
            None => Ok(()),
            Some(missing) => {
                Err(missing.denial(self.plugin.as_str(), "net", &format!("connect:{name}:*")))
            }
        }
    }

    /// Whether anything of this kind may be reached at all.
    pub fn any(&self, access: NetAccess) -> bool {
        self.asked.iter().any(|rule| rule.access == access)
            && self.allowed.iter().any(|allow| allow.permission.access == access)
    }

    /// How one thing asked for stands: the operator's rules that cover all of it, or why none does. An
    /// allowance of a part of it is told as such.
    pub(crate) fn explain(&self, asked: &NetPermission) -> Result<Vec<String>, Denial> {
        let within = |rule: &NetPermission| {
            rule.access == asked.access
                && (rule.port.is_none() || rule.port == asked.port)
                && is_part(&asked.target, &rule.target)
        };
        if let Some(deny) = self.denied.iter().find(|deny| within(&deny.permission)) {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let overlaps = |rule: &NetPermission| {
            rule.access == asked.access
                && (rule.port.is_none() || asked.port.is_none() || rule.port == asked.port)
                && (is_part(&asked.target, &rule.target)
                    || is_part(&rule.target, &asked.target)
                    || matches!(
                        (&asked.target, &rule.target),
                        (NetTarget::Name(_), NetTarget::Range(..))
                    ))
        };
        let covering: Vec<_> =
            self.allowed.iter().filter(|allow| overlaps(&allow.permission)).collect();
        if covering.is_empty() {
            return Err(Missing::Allowance.denial(self.plugin.as_str(), "net", &asked.to_string()));
        }
        Ok(covering.into_iter().map(Placed::rule).collect())
    }

    /// The denies that cut something out of what was asked for.
    pub(crate) fn exceptions(&self, asked: &NetPermission) -> Vec<String> {
        let cuts = self.denied.iter().filter(|deny| {
            let rule = &deny.permission;
            rule.access == asked.access
                && (rule.port.is_none() || asked.port.is_none() || rule.port == asked.port)
                && (is_part(&rule.target, &asked.target)
                    || matches!(
                        (&asked.target, &rule.target),
                        (NetTarget::Name(_), NetTarget::Range(..))
                    ))
        });
        cuts.map(Placed::rule).collect()
    }
}

fn target_covers(target: &NetTarget, to: Destination<'_>) -> bool {
    match target {
        NetTarget::Any => true,
        NetTarget::Name(name) => to.names.contains(name),
        NetTarget::Range(base, bits) => contains(*base, *bits, to.address),
    }
}

/// Whether a rule's target lies within a special range, and so was written with it in mind.
fn is_within(target: &NetTarget, (base, bits, _): (IpAddr, u8, &str)) -> bool {
    match target {
        NetTarget::Range(address, own) => {
            // A range of mapped addresses is as wide as the one of IPv4 that it maps.
            let canonical = address.to_canonical();
            let mapped = address.is_ipv6() && canonical.is_ipv4() && *own >= 96;
            let (address, own) = if mapped { (canonical, own - 96) } else { (*address, *own) };
            let full = if address.is_ipv4() { 32 } else { 128 };
            own == full || (own >= bits && contains(base, bits, address))
        }
        NetTarget::Any | NetTarget::Name(_) => false,
    }
}

/// Whether all that `part` names is named by `whole`.
fn is_part(part: &NetTarget, whole: &NetTarget) -> bool {
    match (part, whole) {
        (_, NetTarget::Any) => true,
        (NetTarget::Name(a), NetTarget::Name(b)) => a == b,
        (NetTarget::Range(a, inner), NetTarget::Range(b, outer)) => {
            inner >= outer && contains(*b, *outer, *a)
        }
        _ => false,
    }
}

fn precision(rule: &NetPermission) -> (u8, bool) {
    let target = match rule.target {
        NetTarget::Any => 0,
        NetTarget::Range(_, bits) => bits.saturating_add(1),
        NetTarget::Name(_) => u8::MAX,
    };
    (target, rule.port.is_some())
}

#[cfg(test)]
mod tests;
