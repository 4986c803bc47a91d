//! What many plugins cost: 10,000 that are registered and not loaded, and a second start with 50.
//!
//! `cargo xtask bench` runs it with the others. The plugins are made here: each echoes text, and brings as much
//! code of its own as a small plugin does, so that no two compile to the same.
//!
//! What was found: of a registered plugin, its manifest, imports and exports, the numbers of its metrics and
//! its route stay, and what holds it to its grant: about 7 KB. Listing is mostly writing the JSON. A second start reads, hashes and checks
//! each component, and loads its code from the cache; the rest of the time is instances that start.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../host-core/tests/it/guests.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod guests;

use std::{
    fmt::Write,
    fs,
    hint::black_box,
    path::Path,
    time::{Duration, Instant},
};

use host::{
    CacheSettings, CodeSettings, PluginHost, PluginRef, ProcessCall,
    documents::{Detail, ListDocument},
};
use tempfile::TempDir;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        registered(10_000).await;
        second_start(50).await;
    });
}

/// An echo with `functions` functions of its own.
fn component(seed: usize, functions: usize) -> Vec<u8> {
    let mut extra = String::new();
    for at in 0..functions {
        write!(extra, "(func $f{at} (export \"f{at}\") (param i32 i32) (result i32) (local i32)")
            .unwrap();
        for step in 0..40 {
            let constant = seed * 7919 + at * 31 + step;
            write!(
                extra,
                "(local.set 2 (i32.xor (i32.mul (local.get 0) (i32.const {constant}))
                    (i32.rotl (local.get 2) (local.get 1))))
                 (if (i32.lt_u (local.get 2) (i32.const {constant})) (then
                    (i32.store offset=64 (i32.and (local.get 2) (i32.const 1023)) (local.get 0))))"
            )
            .unwrap();
        }
        extra.push_str("(local.get 2))");
    }
    let body = "(call $echo (local.get $ptr) (local.get $len))";
    wat::parse_str(guests::v1(body, &extra)).unwrap()
}

fn put(directory: &Path, name: &str, component: &[u8]) {
    let folder = directory.join(name);
    fs::create_dir_all(&folder).unwrap();
    let manifest = guests::manifest(name, "").to_toml();
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), component).unwrap();
}

async fn registered(count: usize) {
    let directory = TempDir::new().unwrap();
    for at in 0..count {
        put(directory.path(), &format!("plugin-{at:05}"), &component(at, 0));
    }
    let before = resident_kib();
    let start = Instant::now();
    let many = PluginHost::builder().plugins(directory.path()).lazy(true).build().await.unwrap();
    let loading = start.elapsed();
    assert!(many.refused().is_empty());
    let grown = resident_kib() - before;
    println!("{count} plugins registered, none loaded");
    println!("  registering        {:>10.1} ms", ms(loading));
    println!(
        "  memory             {:>10.1} MB, {} bytes each",
        grown as f64 / 1e3,
        grown * 1_024 / count as u64
    );
    println!("  listing            {:>10.1} ms", ms(fastest(|| drop(black_box(many.plugins())))));
    let json = || serde_json::to_string(&ListDocument::of(&many, Detail::Public)).unwrap();
    println!("  listing as JSON    {:>10.1} ms", ms(fastest(|| drop(black_box(json())))));

    let one = TempDir::new().unwrap();
    put(one.path(), "plugin-00000", &component(0, 0));
    let one_host = PluginHost::builder().plugins(one.path()).build().await.unwrap();
    let (one, many) = (call(&one_host).await, call(&many).await);
    let ratio = many.as_secs_f64() / one.as_secs_f64();
    println!(
        "  a call beside them {:>10.3} us, {ratio:.2} x that of a host with one plugin",
        ms(many) * 1e3
    );
}

/// The median of calls to the first plugin.
async fn call(host: &PluginHost) -> Duration {
    let plugin: PluginRef = "plugin-00000".parse().unwrap();
    let mut times = Vec::new();
    for _ in 0..20_000 {
        let call = ProcessCall::new(vec![b'x'; 64], "text/plain");
        let start = Instant::now();
        black_box(host.process(&plugin, call).await.unwrap());
        times.push(start.elapsed());
    }
    times.sort();
    times[times.len() / 2]
}

async fn second_start(count: usize) {
    let directory = TempDir::new().unwrap();
    let mut bytes = 0;
    for at in 0..count {
        let component = component(at, 150);
        bytes += component.len();
        put(&directory.path().join("plugins"), &format!("plugin-{at:02}"), &component);
    }
    let start = async || {
        let mut code = CodeSettings::default();
        code.cache = Some(CacheSettings::new(directory.path().join("code")));
        let began = Instant::now();
        let host = PluginHost::builder()
            .plugins(directory.path().join("plugins"))
            .code(code)
            .build()
            .await
            .unwrap();
        let took = began.elapsed();
        assert_eq!((host.plugins().len(), host.refused().len()), (count, 0));
        host.shutdown(Duration::from_secs(5)).await;
        took
    };
    let (first, second) = (start().await, start().await);
    println!("a start with {count} plugins of {} KB each", bytes / count / 1_000);
    println!("  first              {:>10.1} ms", ms(first));
    let ratio = first.as_secs_f64() / second.as_secs_f64();
    println!("  second             {:>10.1} ms, {ratio:.1} x faster", ms(second));
}

fn fastest(mut work: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    (0..10).map(time).min().unwrap()
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
