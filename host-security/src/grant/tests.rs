use crate::{Policy, Request, Rules};
use plugin_contract::{FsAccess, Manifest};

fn request(permissions: &str) -> Request {
    let manifest: Manifest = format!(
        "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n[permissions]\n{permissions}"
    )
    .parse()
    .unwrap();
    Request::from_manifest(&manifest)
}

fn policy(all: &str, own: &str) -> Policy {
    let rules = |text: &str| toml::from_str::<Rules>(text).unwrap();
    Policy { all: rules(all), plugins: [("a".parse().unwrap(), rules(own))].into() }
}

/// How each thing asked for was answered, amounts left out.
#[track_caller]
fn check(policy: &Policy, permissions: &str, expected: &[&str]) {
    let grant = policy.grant(&request(permissions));
    let answers: Vec<String> = grant.decisions()[4..].iter().map(ToString::to_string).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_grant_is_what_is_asked_and_allowed() {
    check(
        &policy("env = { TZ = \"UTC\", SECRET = \"x\" }", ""),
        "env = [\"TZ\", \"HOME\"]",
        &[
            "env TZ: granted by host.toml: policy.env",
            "env HOME: denied: host.toml: no env has a value for it; \
             host.toml: plugins.a.env.HOME = \"...\" would allow it",
        ],
    );
    check(
        &policy("allow.fs = [\"read:/data\"]", "deny.fs = [\"read:/data/private\"]"),
        "fs = [\"read:/data\", \"write:/data\"]",
        &[
            "fs read:/data: granted by host.toml: policy.allow.fs \"read:/data\"; \
             except host.toml: plugins.a.deny.fs \"read:/data/private\"",
            "fs write:/data: denied: host.toml: no allow.fs covers it; \
             host.toml: plugins.a.allow.fs = [\"write:/data\"] would allow it",
        ],
    );
    check(
        &policy("allow.net = [\"connect:*:443\"]", "deny.net = [\"connect:evil.com:*\"]"),
        "net = [\"connect:api.com:443\", \"connect:evil.com:443\", \"listen:*\"]",
        &[
            "net connect:api.com:443: granted by host.toml: policy.allow.net \"connect:*:443\"",
            "net connect:evil.com:443: denied: host.toml: plugins.a.deny.net \"connect:evil.com:*\"",
            "net listen:*:*: denied: host.toml: no allow.net covers it; \
             host.toml: plugins.a.allow.net = [\"listen:*:*\"] would allow it",
        ],
    );
}

#[test]
fn amounts_are_lowered_to_the_ceiling_and_never_raised() {
    let greedy = request("memory = \"8GB\"\ncpu-time = \"10m\"\nmax-instances = 1000");
    let grant = Policy::default().grant(&greedy);
    assert_eq!(grant.limits().memory_bytes, 256_000_000);
    assert_eq!((grant.limits().cpu_time.as_secs(), grant.limits().max_instances), (60, 32));

    let modest = request("memory = \"1MB\"\ncpu-time = \"1s\"\nmax-instances = 1");
    let limits = Policy::default().grant(&modest).limits().clone();
    assert_eq!(limits.memory_bytes, 1_000_000);
    assert_eq!((limits.cpu_time.as_secs(), limits.max_instances), (1, 1));

    let policy = policy("limits.memory = \"1MB\"", "limits.memory = \"2MB\"");
    let grant = policy.grant(&greedy);
    assert_eq!(grant.limits().memory_bytes, 2_000_000); // the plugin's own section comes first
    assert_eq!(
        grant.decisions()[0].to_string(),
        "memory 8GB: lowered to 2MB by host.toml: plugins.a.limits.memory"
    );
}

#[test]
fn nothing_grants_files_or_network_by_default() {
    let grant = Policy::default().grant(&request("fs = [\"read:/\"]\nnet = [\"connect:*\"]"));
    let denied = grant.decisions().iter().filter(|decision| !decision.is_granted()).count();
    assert_eq!((denied, grant.mounts().len()), (2, 0));
    assert!(grant.fs().check(&["etc", "passwd"], FsAccess::Read).is_err());
    assert!(grant.fs().check(&["plugin-data", "x"], FsAccess::ReadWrite).is_ok());
}

#[test]
fn what_is_granted_is_found_where_the_operator_put_it() {
    let grant = policy(
        "paths = { \"/data\" = \"/srv/all\", \"/data/big\" = \"/mnt/big\" }",
        "allow.fs = [\"read:/data\", \"read-write:/tmp/x\"]\npaths = { \"/data\" = \"/srv/a\" }",
    )
    .grant(&request("fs = [\"read:/data\", \"read-write:/tmp/x/y\"]"));
    let mounts: Vec<String> = (grant.mounts().iter())
        .map(|mount| format!("{} = {}", mount.guest, mount.host.display()))
        .collect();
    assert_eq!(mounts, ["/data = /srv/a", "/data/big = /srv/a/big", "/tmp/x/y = /tmp/x/y"]);
}
