//! Addresses that a name or `*` never stands for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Ranges that are reached only where an operator grants them by address, and what they are.
const SPECIAL_V4: [(Ipv4Addr, u8, &str); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8, "this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "private"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "shared, of carriers and clouds"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, with metadata services"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "private"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments, with metadata services"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "documentation"),
    (Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "private"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarks"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "documentation"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "documentation"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "multicast"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "reserved, with broadcast"),
];

const fn v6(high: u16, second: u16) -> Ipv6Addr {
    Ipv6Addr::new(high, second, 0, 0, 0, 0, 0, 0)
}

const SPECIAL_V6: [(Ipv6Addr, u8, &str); 12] = [
    // Unspecified, loopback, and addresses of IPv4 in a spelling of old.
    (v6(0, 0), 64, "loopback, unspecified or an IPv4 address within"),
    (v6(0x64, 0xff9b), 32, "translated to IPv4"),
    (v6(0x100, 0), 48, "discarded"),
    (v6(0x2001, 0), 23, "protocol assignments, with Teredo"),
    (v6(0x2001, 0xdb8), 32, "documentation"),
    (v6(0x2002, 0), 16, "6to4"),
    (v6(0x3fff, 0), 20, "documentation"),
    (v6(0x5f00, 0), 16, "segment routing"),
    (v6(0xfc00, 0), 7, "private, with metadata services"),
    (v6(0xfe80, 0), 10, "link-local"),
    (v6(0xfec0, 0), 10, "site-local"),
    (v6(0xff00, 0), 8, "multicast"),
];

/// The range that an address stands in and that no name and no `*` reaches: its base, how many bits it
/// has, and what it is. `None` for addresses of the open internet. IPv4 addresses mapped into IPv6 are what
/// they map.
pub fn special_range(address: IpAddr) -> Option<(IpAddr, u8, &'static str)> {
    let address = address.to_canonical();
    let v4 = SPECIAL_V4.iter().map(|(base, bits, what)| (IpAddr::V4(*base), *bits, *what));
    let v6 = SPECIAL_V6.iter().map(|(base, bits, what)| (IpAddr::V6(*base), *bits, *what));
    v4.chain(v6).find(|(base, bits, _)| contains(*base, *bits, address))
}

/// Whether `address` has the first `bits` bits of `base`. Of one family: IPv4 in IPv6 is IPv4.
pub(super) fn contains(base: IpAddr, bits: u8, address: IpAddr) -> bool {
    // A range of mapped addresses is a range of IPv4 ones.
    let (base, bits) = match (base, base.to_canonical()) {
        (IpAddr::V6(_), mapped @ IpAddr::V4(_)) if bits >= 96 => (mapped, bits - 96),
        _ => (base, bits),
    };
    match (base, address.to_canonical()) {
        (IpAddr::V4(base), IpAddr::V4(address)) => {
            same_start(base.to_bits().into(), address.to_bits().into(), 128 - 32 + bits)
        }
        (IpAddr::V6(base), IpAddr::V6(address)) => {
            same_start(base.to_bits(), address.to_bits(), bits)
        }
        _ => false,
    }
}

fn same_start(a: u128, b: u128, bits: u8) -> bool {
    (a ^ b).checked_shr(128 - u32::from(bits.min(128))).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::{contains, special_range};

    #[test]
    fn every_spelling_of_an_inner_address_is_special() {
        for text in [
            "127.0.0.1",
            "127.255.0.3",
            "0.0.0.0",
            "10.1.2.3",
            "172.31.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "192.0.0.192",
            "100.100.100.200",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
        ] {
            assert!(special_range(text.parse().unwrap()).is_some(), "{text}");
        }
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(special_range(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn ranges_hold_what_starts_as_they_do() {
        let within = |base: &str, bits, address: &str| {
            contains(base.parse().unwrap(), bits, address.parse().unwrap())
        };
        assert!(within("10.0.0.0", 8, "10.255.0.1") && !within("10.0.0.0", 8, "11.0.0.0"));
        assert!(within("0.0.0.0", 0, "200.1.1.1") && !within("0.0.0.0", 0, "2606::1"));
        assert!(within("fd00::", 8, "fdff::1") && within("::", 0, "2606::1"));
        assert!(within("127.0.0.1", 32, "::ffff:127.0.0.1"));
        assert!(within("::ffff:10.0.0.0", 104, "10.9.9.9") && !within("::", 0, "10.9.9.9"));
    }
}
