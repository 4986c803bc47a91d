//! Files that nobody wrote on purpose: no panic, no hang, no growth, and an error that says what is wrong.
//!
//! Few cases of each kind here; `cargo xtask fuzz` runs the same with many. `harness` says how one that fails
//! is run again.

mod arguments;
mod drive;
mod guests;
pub(crate) mod harness;
pub(crate) mod mutate;

use std::{
    fs,
    path::{Path, PathBuf},
};

use host_core::{Admission, CacheSettings, CodeMetrics, CodeSettings, Imports, Runtime};
use plugin_contract::{Embedded, Manifest, World};

use crate::{Data, budget, dynamic::LEDGER, small, text};
use drive::{Host, checked};
use harness::run;
use mutate::{mutated, mutated_text};

/// Everything a manifest can say.
const MANIFEST: &str = r#"
[plugin]
name = "guest"
version = "0.1.0"
entrypoint = "guest.wasm"
world = "plugin-v1"
description = "Says \u00e9 \"what\u001b[31m\u202e\" it is."
host = ">=0.1, <2"
accepts = ["text/*", "image/png"]
isolation = "per-call"

[dependencies]
other-plugin = "^1.2.3-rc.1"

[config]
key = "value"

[permissions]
fs = ["read:/data", "read-write:/cache/x"]
net = ["connect:api.example.com:443", "listen:127.0.0.0/8:*", "datagram:*:53"]
env = ["HOME"]
memory = "64MiB"
cpu-time = "90s"
timeout = "30s"
max-instances = 3

[permissions.deny]
fs = ["write:/data/private"]
net = ["connect:[::1]:80"]
"#;

/// Guests of other kinds than those of other tests: one with a resource, one that needs the other engine, one
/// that imports, and one of parts.
const OTHERS: [&str; 4] = [
    r#"(component
        (core module $m (func (export "new") (result i32) (i32.const 3)) (func (export "end") (param i32)))
        (core instance $m (instantiate $m))
        (type $r' (resource (rep i32) (dtor (func $m "end"))))
        (export $r "r" (type $r'))
        (core func $new (canon resource.new $r'))
        (func (export "make") (result (own $r)) (canon lift (core func $m "new")))
        (func (export "take") (param "it" (own $r)) (canon lift (core func $m "end"))))"#,
    r#"(component
        (core module $m (memory (export "memory") 1)
            (func (export "go") (result i32) (i32.const 0))
            (func (export "back") (param i32 i32 i32) (result i32) (i32.const 0)))
        (core instance $m (instantiate $m))
        (type $s (stream u8)) (type $f (future string))
        (func (export "go") async (result u32)
            (canon lift (core func $m "go") async (callback (func $m "back")))))"#,
    r#"(component
        (core module $m (import "h" "f" (func $f (param i32))) (func (export "f") (param i32) (call $f (local.get 0))))
        (import "host:test/api@1.0.0" (instance $api (export "f" (func (param "a" u32)))))
        (core func $f (canon lower (func $api "f")))
        (core instance $m (instantiate $m (with "h" (instance (export "f" (func $f))))))
        (func (export "f") (param "a" u32) (canon lift (core func $m "f"))))"#,
    r#"(component
        (core module $m (func (export "f") (param i64 f64 f32 i32) (result i32) (local.get 3)))
        (component $c
            (import "m" (core module $m (export "f" (func (param i64 f64 f32 i32) (result i32)))))
            (core instance $i (instantiate $m))
            (func (export "f") (param "a" (tuple s64 f64 f32 char)) (result char)
                (canon lift (core func $i "f"))))
        (instance $c (instantiate $c (with "m" (core module $m))))
        (export "a:b/c@0.1.0" (instance $c)))"#,
];

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Real guests, one of them with its manifest inside.
fn real() -> Vec<Vec<u8>> {
    let mut guests = vec![binary(&crate::guests::echo()), binary(LEDGER)];
    guests.extend(OTHERS.map(binary));
    let mut whole = guests[0].clone();
    Embedded::new(World::PluginV1, crate::guests::manifest("guest", "")).append_to(&mut whole);
    guests.push(whole);
    guests
}

fn beside() -> Option<Manifest> {
    Some(crate::guests::manifest("guest", ""))
}

#[test]
fn random_components() {
    run("fuzz::random_components", 60, || {
        let (host, echo) = (Host::new(), binary(&crate::guests::echo()));
        move |rng| {
            let component = match rng.below(8) {
                0 => guests::random_component(rng),
                _ => guests::with_random_parts(rng, &echo),
            };
            component.map_or_else(Vec::new, |component| host.drive(rng, component, beside()))
        }
    });
}

#[test]
fn random_code() {
    run("fuzz::random_code", 60, || {
        let host = Host::new();
        let real = [binary(&crate::guests::echo()), binary(LEDGER)];
        move |rng| {
            let typed = match rng.below(4) {
                0 => rng.pick(&real).clone(),
                _ => binary(&guests::typed(rng)),
            };
            let random = guests::with_random_code(rng, &typed);
            random.map_or_else(Vec::new, |random| host.drive(rng, random, beside()))
        }
    });
}

#[test]
fn changed_components() {
    run("fuzz::changed_components", 150, || {
        let (host, real) = (Host::new(), real());
        move |rng| {
            let one = match rng.below(6) {
                0 => binary(&guests::typed(rng)),
                // Code that does something.
                1 => guests::with_random_code(rng, &real[1]).unwrap_or_default(),
                _ => rng.pick(&real).clone(),
            };
            let other = rng.pick(&real);
            let changed = mutated(rng, &one, other);
            let beside = if rng.once_in(8) { None } else { beside() };
            host.drive(rng, changed, beside)
        }
    });
}

#[test]
fn changed_manifests() {
    run("fuzz::changed_manifests", 2_000, || {
        let echo = binary(&crate::guests::echo());
        let plain = crate::guests::manifest("guest", "").to_toml();
        MANIFEST.parse::<Manifest>().unwrap();
        move |rng| {
            let changed = mutated_text(rng, MANIFEST, &plain);
            let manifest = match Manifest::from_bytes(changed.as_bytes()) {
                Ok(manifest) => manifest,
                Err(error) => return vec![checked(&error)],
            };
            // What was taken once is taken as it is written down.
            assert_eq!(manifest.to_toml().parse::<Manifest>().unwrap(), manifest, "{changed}");
            let mut whole = echo.clone();
            Embedded::new(World::PluginV1, manifest.clone()).append_to(&mut whole);
            let bytes = if rng.once_in(2) { whole } else { mutated(rng, &whole, &echo) };
            match host_core::admit(bytes, Some(manifest), &Admission::default()) {
                Ok(_) => vec!["ok"],
                Err(error) => vec![checked(&error)],
            }
        }
    });
}

#[test]
fn changed_code_files() {
    run("fuzz::changed_code_files", 20, || {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let directory = tempfile::tempdir().unwrap();
        executor.block_on(cached_echo(directory.path()));
        let other = binary(LEDGER);
        move |rng| {
            let file = code_file(directory.path());
            let good = fs::read(&file).unwrap();
            let changed = mutated(rng, &good, &other);
            fs::write(&file, &changed).unwrap();
            let metrics = executor.block_on(cached_echo(directory.path()));
            // Only what was written is run; what was not is written anew.
            let is_same = u64::from(changed == good);
            assert_eq!((metrics.hits_disk, metrics.compiled), (is_same, 1 - is_same));
            vec![if changed == good { "ok" } else { "rejected" }]
        }
    });
}

/// Has the echo answer, on a host with a cache in `directory`.
async fn cached_echo(directory: &Path) -> CodeMetrics {
    let mut settings = CodeSettings::default();
    settings.cache = Some(CacheSettings::new(directory));
    let host = Runtime::<Data>::builder(small()).code(settings).build().unwrap();
    let echo = crate::guests::admit_wat("guest", &crate::guests::echo()).unwrap();
    let prepared = host.prepare(&echo, &Imports::none()).await.unwrap();
    let mut instance = prepared.start(Data::new(), &[], &budget()).await.unwrap();
    let reply = instance.process(&mut text("hello"), &budget()).await.unwrap();
    assert_eq!(reply.output, b"hello");
    host.code_metrics()
}

/// The one file of code in a cache.
fn code_file(directory: &Path) -> PathBuf {
    let mut paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "code")).unwrap()
}
