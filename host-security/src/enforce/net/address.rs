//! The check before an address is used, and what is told of it.

use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::Ordering,
};

use plugin_contract::{NetAccess, NetPermission, NetTarget};
use wasmtime_wasi::sockets::SocketAddrUse;

use super::{PluginNet, StoreNet, target::Target};
use crate::{
    Denial, Destination,
    audit::{EnforcementAction, ViolationType},
};

/// Messages of strangers that are told of, for each store: what others send to a guest is not its doing,
/// and shall not crowd out of the log what is.
const STRANGERS_MAX: u32 = 16;

impl PluginNet {
    /// Whether the plugin may, without telling anyone.
    pub(super) fn decide(
        &self,
        access: NetAccess,
        names: &[String],
        to: SocketAddr,
    ) -> Result<(), Denial> {
        self.rules.check(access, Destination { names, address: to.ip(), port: to.port() })
    }

    /// Notes a use, by name if one led there.
    pub(super) fn used(&self, access: NetAccess, names: &[String], to: SocketAddr) {
        let address = to.ip().to_canonical();
        let by_address = NetTarget::Range(address, if address.is_ipv4() { 32 } else { 128 });
        let target = names.first().and_then(|name| name.parse().ok()).unwrap_or(by_address);
        let port = (to.port() != 0).then_some(to.port());
        self.auditor.used_address(&NetPermission { access, target, port }.to_string());
    }

    /// Tells of a refusal.
    pub(super) fn refused(
        &self,
        operation: &str,
        names: &[String],
        to: SocketAddr,
        denial: &Denial,
    ) {
        let resource = match names.first() {
            Some(name) => format!("{name}:{} ({})", to.port(), to.ip()),
            None => to.to_string(),
        };
        self.auditor.denied(ViolationType::NetAccessDenied, operation, &resource, denial);
    }

    /// Tells of a name that is not resolved.
    pub(super) fn refused_name(&self, name: &str, denial: &Denial) {
        self.auditor.denied(ViolationType::NetAccessDenied, "lookup", name, denial);
    }

    /// Tells of an HTTP request that was refused before its host had an address.
    pub(super) fn refused_request(&self, target: &Target, denial: &Denial) {
        let denied = ViolationType::NetAccessDenied;
        self.auditor.denied(denied, "http", &target.authority(), denial);
    }

    /// Tells of a limit that was reached, named with its value as in `limits.sockets = 16`.
    pub(super) fn exceeded(&self, operation: &str, resource: &str, limit: &str) {
        let denied = EnforcementAction::Denied;
        self.auditor.exceeded(ViolationType::LimitExceeded, denied, operation, resource, limit);
    }

    /// Decides, and tells of either answer.
    fn check(&self, access: NetAccess, operation: &str, names: &[String], to: SocketAddr) -> bool {
        match self.decide(access, names, to) {
            Ok(()) => {
                self.used(access, names, to);
                true
            }
            Err(denial) => {
                self.refused(operation, names, to, &denial);
                false
            }
        }
    }

    /// Whether a socket may be bound to any address and a port that the system chooses, which gives
    /// nothing by itself: `kinds` are what may come of it.
    pub(super) fn check_any_address(&self, kinds: &[NetAccess], to: SocketAddr) -> bool {
        if kinds.iter().any(|kind| self.rules.any(*kind)) {
            return true;
        }
        let words: Vec<&str> = kinds.iter().map(|kind| kind.word()).collect();
        let denial =
            Denial { rule: format!("nothing of {} is granted", words.join(" or ")), allow: None };
        self.refused("bind", &[], to, &denial);
        false
    }
}

impl StoreNet {
    /// Whether an address may be used so.
    ///
    /// | use         | address         | granted by                                                 |
    /// |-------------|-----------------|------------------------------------------------------------|
    /// | TCP bind    | any, port 0     | `connect` or `listen` of anything, see [`any_address`]     |
    /// | TCP bind    | any other       | `listen` of it                                             |
    /// | TCP listen  | the local one   | `listen` of it                                             |
    /// | TCP accept  | the remote one  | the `listen` that came before; it is not about who calls   |
    /// | TCP connect | the remote one  | `connect` to it                                            |
    /// | UDP bind    | with port 0     | `datagram` of anything: what is exchanged is checked again |
    /// | UDP bind    | any other       | `listen` of it: others can find a port that is known       |
    /// | datagrams   | the remote one  | `datagram` with it, both ways                              |
    pub(super) fn allows(&self, address: SocketAddr, purpose: SocketAddrUse) -> bool {
        let plugin = &self.plugin;
        let names = || self.names().of(address.ip());
        match purpose {
            // wasmtime asks this before each connect, too, where the guest did not bind. A bind that the
            // guest asked for was checked where it came in.
            SocketAddrUse::TcpBind if any_address(address) => true,
            SocketAddrUse::TcpBind => plugin.check(NetAccess::Listen, "bind", &[], address),
            SocketAddrUse::TcpListen => plugin.check(NetAccess::Listen, "listen", &[], address),
            SocketAddrUse::TcpAccept => true,
            SocketAddrUse::TcpConnect => {
                plugin.check(NetAccess::Connect, "connect", &names(), address)
            }
            SocketAddrUse::UdpBind if address.port() == 0 => {
                plugin.check_any_address(&[NetAccess::Datagram], address)
            }
            SocketAddrUse::UdpBind => plugin.check(NetAccess::Listen, "bind", &[], address),
            SocketAddrUse::UdpSend => plugin.check(NetAccess::Datagram, "send", &names(), address),
            SocketAddrUse::UdpReceive => {
                let names = names();
                let Err(denial) = plugin.decide(NetAccess::Datagram, &names, address) else {
                    return true;
                };
                if self.strangers.fetch_add(1, Ordering::Relaxed) < STRANGERS_MAX {
                    plugin.refused("receive", &names, address, &denial);
                }
                false
            }
        }
    }
}

/// `0.0.0.0:0` and `[::]:0`: wherever the system likes.
pub(super) fn any_address(address: SocketAddr) -> bool {
    let unspecified = match address.ip() {
        IpAddr::V4(address) => address.is_unspecified(),
        IpAddr::V6(address) => address.is_unspecified(),
    };
    unspecified && address.port() == 0
}
