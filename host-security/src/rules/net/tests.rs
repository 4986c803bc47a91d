use std::net::IpAddr;

use plugin_contract::{NetAccess, NetPermission, NetTarget};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
};

use super::{Destination, NetRules};
use crate::rules::Placed;

fn rules(asked: &[NetPermission], allowed: &[NetPermission], denied: &[NetPermission]) -> NetRules {
    let placed = |permissions: &[NetPermission], place: &str| {
        let place = |permission: &NetPermission| Placed {
            permission: permission.clone(),
            place: place.to_owned(),
        };
        permissions.iter().map(place).collect()
    };
    let plugin = "probe".parse().unwrap();
    NetRules::new(plugin, asked.to_vec(), placed(allowed, "allowed"), placed(denied, "denied"))
}

fn parsed(lines: &[&str]) -> Vec<NetPermission> {
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

/// What the same rules say when they are read slowly: addresses as texts of bits.
mod model {
    use super::*;

    /// Every range that a name and a `*` leave out.
    const SPECIAL: [&str; 27] = [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/64",
        "64:ff9b::/32",
        "100::/48",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ];

    /// `4` or `6`, and each bit. IPv4 within IPv6 is IPv4.
    pub(super) fn bits(address: IpAddr) -> String {
        match address.to_canonical() {
            IpAddr::V4(address) => format!("4{:032b}", address.to_bits()),
            IpAddr::V6(address) => format!("6{:0128b}", address.to_bits()),
        }
    }

    /// How the bits of all addresses of a range begin.
    fn prefix(base: IpAddr, length: u8) -> String {
        let all = match base {
            IpAddr::V4(address) => format!("4{:032b}", address.to_bits()),
            IpAddr::V6(address) => format!("6{:0128b}", address.to_bits()),
        };
        let mapped = format!("6{}{}", "0".repeat(80), "1".repeat(16));
        let prefix = &all[..1 + usize::from(length)];
        match prefix.strip_prefix(&mapped) {
            Some(rest) => format!("4{rest}"),
            None => prefix.to_owned(),
        }
    }

    fn special(address: IpAddr) -> Option<String> {
        let prefixes = SPECIAL.iter().map(|range| {
            let (base, length) = range.split_once('/').unwrap();
            prefix(base.parse().unwrap(), length.parse().unwrap())
        });
        prefixes.into_iter().find(|prefix| bits(address).starts_with(prefix))
    }

    fn covers(rule: &NetPermission, access: NetAccess, to: Destination<'_>) -> bool {
        let target = match &rule.target {
            NetTarget::Any => true,
            NetTarget::Name(name) => to.names.iter().any(|known| known == name),
            NetTarget::Range(base, length) => bits(to.address).starts_with(&prefix(*base, *length)),
        };
        let port = rule.port.is_none() || rule.port == Some(to.port);
        rule.access == access && target && port
    }

    /// Whether a rule reaches into a special range, if the address stands in one.
    fn reaches(rule: &NetPermission, address: IpAddr) -> bool {
        match (special(address), &rule.target) {
            (None, _) => true,
            (Some(range), NetTarget::Range(base, length)) => {
                prefix(*base, *length).starts_with(&range)
            }
            (Some(_), _) => false,
        }
    }

    pub(super) fn may(
        (asked, allowed, denied): (&[NetPermission], &[NetPermission], &[NetPermission]),
        access: NetAccess,
        to: Destination<'_>,
    ) -> bool {
        if denied.iter().any(|rule| covers(rule, access, to)) {
            return false;
        }
        let is_asked = asked.iter().any(|rule| covers(rule, access, to));
        let reaching = |rule: &NetPermission| reaches(rule, to.address);
        is_asked && allowed.iter().any(|rule| covers(rule, access, to) && reaching(rule))
    }
}

const ADDRESSES: [&str; 20] = [
    "93.184.216.34",
    "93.184.1.1",
    "8.8.8.8",
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "10.200.0.1",
    "11.0.0.1",
    "169.254.169.254",
    "192.168.1.1",
    "255.255.255.255",
    "::ffff:127.0.0.1",
    "::ffff:93.184.216.34",
    "::1",
    "fd00:ec2::254",
    "64:ff9b::7f00:1",
    "2606:4700::1111",
    "2606:4700:1::",
    "::",
];

const TARGETS: [&str; 26] = [
    "*",
    "a.test",
    "b.test",
    "93.184.216.34",
    "93.184.0.0/16",
    "0.0.0.0/0",
    "127.0.0.1",
    "127.0.0.0/8",
    "127.0.0.0/7",
    "126.0.0.0/7",
    "10.0.0.0/8",
    "10.0.0.0/7",
    "10.0.0.0/16",
    "10.128.0.0/9",
    "169.254.0.0/16",
    "169.254.169.254",
    "192.168.0.0/15",
    "[::1]",
    "[::/0]",
    "[::/64]",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.0/96]",
    "[::ffff:127.0.0.0/97]",
    "[fd00::/8]",
    "[fc00::/6]",
    "[2606:4700::/32]",
];

fn permissions() -> impl Strategy<Value = Vec<NetPermission>> {
    let access = select(vec!["connect", "listen", "datagram"]);
    let (target, port) = (select(TARGETS.to_vec()), select(vec!["*", "80", "443"]));
    let line = (access, target, port)
        .prop_map(|(access, target, port)| format!("{access}:{target}:{port}").parse().unwrap());
    proptest::collection::vec(line, 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_check_is_what_a_slow_reading_of_the_rules_says(
        asked in permissions(),
        mut allowed in permissions(),
        denied in permissions(),
        is_denied in proptest::bool::weighted(0.3),
        asked_too in any::<bool>(),
        address in select(ADDRESSES.to_vec()),
        names in subsequence(vec!["a.test".to_owned(), "b.test".to_owned()], 0..=2),
        port in select(vec![80_u16, 443, 8_080, 0]),
    ) {
        // Rules that were drawn apart seldom meet.
        if asked_too {
            allowed.extend(asked.iter().cloned());
        }
        let denied = if is_denied { denied } else { Vec::new() };
        let to = Destination { names: &names, address: address.parse().unwrap(), port };
        let rules = rules(&asked, &allowed, &denied);
        for access in [NetAccess::Connect, NetAccess::Listen, NetAccess::Datagram] {
            let expected = model::may((&asked, &allowed, &denied), access, to);
            let found = rules.check(access, to);
            prop_assert_eq!(found.is_ok(), expected, "{:?} {:?}: {:?}", access, to, found);
        }
    }

    #[test]
    fn the_line_that_would_allow_it_does(
        asked in permissions(),
        allowed in permissions(),
        address in select(ADDRESSES.to_vec()),
        names in subsequence(vec!["a.test".to_owned(), "b.test".to_owned()], 0..=2),
        port in select(vec![80_u16, 443, 8_080, 0]),
    ) {
        let to = Destination { names: &names, address: address.parse().unwrap(), port };
        let Err(denial) = rules(&asked, &allowed, &[]).check(NetAccess::Connect, to) else {
            return Ok(());
        };
        let line = denial.allow.expect("no deny decided, so a line would allow it");
        let permission = line.split('"').nth(1).unwrap().parse::<NetPermission>().unwrap();
        let (mut asked, mut allowed) = (asked, allowed);
        if line.contains("plugin.toml") {
            asked.push(permission.clone());
        }
        if line.contains("host.toml") {
            allowed.push(permission);
        }
        prop_assert!(rules(&asked, &allowed, &[]).check(NetAccess::Connect, to).is_ok(), "{}", line);
    }
}

#[track_caller]
fn check(allowed: &[&str], denied: &[&str], names: &[&str], to: &str, expected: Result<(), &str>) {
    let rules = rules(&parsed(&["connect:*"]), &parsed(allowed), &parsed(denied));
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let to: std::net::SocketAddr = to.parse().unwrap();
    let to = Destination { names: &names, address: to.ip(), port: to.port() };
    let found = rules.check(NetAccess::Connect, to).map_err(|denial| denial.rule);
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[test]
fn the_most_precise_deny_explains() {
    let allowed = ["connect:*"];
    let denied = ["connect:*:25", "connect:8.0.0.0/8:*", "connect:evil.test:*"];
    check(&allowed, &denied, &[], "1.1.1.1:443", Ok(()));
    check(&allowed, &denied, &[], "1.1.1.1:25", Err("denied \"connect:*:25\""));
    check(&allowed, &denied, &[], "8.8.8.8:25", Err("denied \"connect:8.0.0.0/8:*\""));
    check(&allowed, &denied, &["evil.test"], "8.8.8.8:25", Err("denied \"connect:evil.test:*\""));
}

#[test]
fn a_range_as_wide_as_all_addresses_reaches_no_special_one() {
    let loopback = "does not reach 127.0.0.0/8 (loopback)";
    for wide in ["connect:0.0.0.0/0:*", "connect:126.0.0.0/7:*", "connect:[::ffff:127.0.0.0/97]:*"]
    {
        let shown = wide.parse::<NetPermission>().unwrap();
        check(&[wide], &[], &[], "127.0.0.1:1", Err(&format!("allowed \"{shown}\" {loopback}")));
    }
    for narrow in
        ["connect:127.0.0.0/8:*", "connect:[::ffff:127.0.0.0/104]:*", "connect:127.0.0.1:1"]
    {
        check(&[narrow], &[], &[], "127.0.0.1:1", Ok(()));
    }
}

#[test]
fn a_name_is_resolved_if_a_rule_speaks_of_it() {
    let names = |asked: &[&str], allowed: &[&str], denied: &[&str], name: &str| {
        rules(&parsed(asked), &parsed(allowed), &parsed(denied)).check_name(name).is_ok()
    };
    let granted = ["connect:a.test:443"];
    assert!(names(&granted, &granted, &[], "a.test"));
    assert!(!names(&granted, &granted, &[], "b.test"));
    assert!(!names(&granted, &[], &[], "a.test") && !names(&[], &granted, &[], "a.test"));
    assert!(names(&granted, &["connect:*:443"], &[], "a.test"));
    // An address says nothing of names, and who listens needs none.
    assert!(!names(&granted, &["connect:93.184.216.34:*"], &[], "a.test"));
    assert!(!names(&["listen:*"], &["listen:*"], &[], "a.test"));
    // A deny of one port leaves the others.
    assert!(!names(&granted, &granted, &["connect:a.test:*"], "a.test"));
    assert!(names(&granted, &granted, &["connect:a.test:80"], "a.test"));
}
