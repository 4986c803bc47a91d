//! Which names led a guest to which addresses, and how names are spelled.

use std::{collections::VecDeque, net::IpAddr};

/// Addresses that are remembered. The one that was resolved longest ago is forgotten first.
const ADDRESSES_MAX: usize = 256;
/// Names that are remembered of an address. The oldest is forgotten first.
const NAMES_MAX: usize = 8;
/// Longest text that is looked at as a name, in bytes. Names on the wire have at most 253.
const TEXT_BYTES_MAX: usize = 1 << 10;

/// What one store has resolved. A connection to an address is judged by the names that led there.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The latest is last.
    seen: VecDeque<(IpAddr, Vec<String>)>,
}

impl Names {
    pub(super) fn remember(&mut self, name: &str, addresses: &[IpAddr]) {
        for address in addresses.iter().map(IpAddr::to_canonical) {
            let known = self.seen.iter().position(|(seen, _)| *seen == address);
            let mut names = match known.and_then(|at| self.seen.remove(at)) {
                Some((_, names)) => names,
                None => Vec::new(),
            };
            names.retain(|known| known != name);
            if names.len() >= NAMES_MAX {
                names.remove(0);
            }
            names.push(name.to_owned());
            if self.seen.len() >= ADDRESSES_MAX {
                self.seen.pop_front();
            }
            self.seen.push_back((address, names));
        }
    }

    pub(super) fn of(&self, address: IpAddr) -> Vec<String> {
        let address = address.to_canonical();
        let found = self.seen.iter().find(|(seen, _)| *seen == address);
        found.map(|(_, names)| names.clone()).unwrap_or_default()
    }
}

/// What a host is given as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// A name, in lower case, in ASCII, without a trailing dot.
    Name(String),
    /// An address, in whatever spelling it came.
    Address(IpAddr),
}

impl Host {
    /// Reads a name or an address: `127.1` and `0x7f000001` are addresses, `Bücher.example.` is a name.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        // IPv6 without the brackets of a URL.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Address(address));
        }
        match url::Host::parse(text).ok()? {
            url::Host::Ipv4(address) => Some(Self::Address(address.into())),
            url::Host::Ipv6(address) => Some(Self::Address(address.into())),
            url::Host::Domain(name) => Self::name(&name),
        }
    }

    /// One trailing dot says that a name is whole, which ours always are.
    pub(super) fn name(name: &str) -> Option<Self> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
        (labels && name.len() <= 253).then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::{ADDRESSES_MAX, Host, NAMES_MAX, Names};
    use std::net::{IpAddr, Ipv4Addr};

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let host = Host::parse(text).map(|host| match host {
            Host::Name(name) => name,
            Host::Address(address) => format!("<{address}>"),
        });
        assert_eq!(host.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn spellings_of_one_name_are_one_name() {
        check("api.example.com", Some("api.example.com"));
        check("API.Example.COM.", Some("api.example.com"));
        check("Bücher.example", Some("xn--bcher-kva.example"));
        check("api。example。com", Some("api.example.com"));
        for none in ["", ".", "a..b", "a..", "user@host", "host:80", "a b", "a\0b", "a/b"] {
            check(none, None);
        }
        check(&"a".repeat(64), None);
        check(&"a.".repeat(600), None);
    }

    #[test]
    fn spellings_of_an_address_are_that_address() {
        for text in ["127.0.0.1", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.0.0.1."] {
            check(text, Some("<127.0.0.1>"));
        }
        check("[::1]", Some("<::1>"));
        check("::1", Some("<::1>"));
        check("::ffff:127.0.0.1", Some("<::ffff:127.0.0.1>"));
        check("256.256.256.256", None);
    }

    fn address(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into()
    }

    #[test]
    fn names_are_known_by_address_in_any_form() {
        let mut names = Names::default();
        names.remember("a.test", &["::ffff:10.0.0.1".parse().unwrap()]);
        names.remember("b.test", &["10.0.0.1".parse().unwrap()]);
        names.remember("a.test", &["10.0.0.1".parse().unwrap()]);
        assert_eq!(names.of("10.0.0.1".parse().unwrap()), ["b.test", "a.test"]);
        assert!(names.of("10.0.0.2".parse().unwrap()).is_empty());
    }

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut names = Names::default();
        for n in 0..=ADDRESSES_MAX {
            names.remember("a.test", &[address(n)]);
        }
        assert!(names.of(address(0)).is_empty());
        assert_eq!(names.of(address(1)), ["a.test"]);
        for n in 0..=NAMES_MAX {
            names.remember(&format!("n{n}.test"), &[address(1)]);
        }
        assert_eq!(names.of(address(1)).len(), NAMES_MAX);
        assert_eq!(names.of(address(1)).first().unwrap(), "n1.test");
        // Resolved again, so it is now the latest.
        names.remember("a.test", &[address(ADDRESSES_MAX + 1)]);
        assert!(names.of(address(2)).is_empty() && !names.of(address(1)).is_empty());
    }
}
