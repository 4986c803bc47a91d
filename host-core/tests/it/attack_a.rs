//! Throw-away attacks.
use std::{fs, sync::Arc, time::Duration};

use host_core::{BreakerConfig, Caller, CoreError, FunctionCall, JsonCall, PluginState, Terms};
use plugin_contract::Explain;
use tokio::time::Instant;

use crate::{Data, guests, registry::Shelf, text};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}
fn id(identity: &str) -> (plugin_contract::PluginId, semver::Version) {
    let (name, version) = identity.split_once(' ').unwrap();
    (name.parse().unwrap(), version.parse().unwrap())
}
fn fragile() -> String {
    guests::v1(
        "(if (result i32) (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120))
            (then unreachable) (else (call $echo (local.get $ptr) (local.get $len))))",
        "",
    )
}
fn touchy(terms: &mut Terms<Data>) {
    let mut breaker = BreakerConfig::default();
    breaker.window = 1;
    breaker.failures = 1;
    breaker.open_min = Duration::from_millis(1);
    breaker.open_max = Duration::from_millis(2);
    terms.breaker = breaker;
    terms.poison.entries_max = 0;
}
async fn break_it(shelf: &Shelf, identity: &str) {
    for _ in 0..3000 {
        let _ = shelf.ask(identity, "x").await;
        tokio::time::sleep(Duration::from_millis(4)).await;
        if shelf.get(identity).trouble().is_some() {
            println!("{identity} is down: {:?}", shelf.get(identity).state());
            return;
        }
    }
    panic!("{identity} does not go down");
}

#[tokio::test]
async fn attack_reload_self_dependency() {
    let shelf = Shelf::with(|_| {}, touchy);
    shelf.put("a 1.0.0", "", &fragile());
    shelf.load().await;
    shelf.put("a 1.0.0", "[dependencies]\na = \"^1\"\n", &fragile());
    let (name, version) = id("a 1.0.0");
    let r = shelf.registry.reload(&name, &version, soon()).await;
    println!("reload to a plugin that needs itself: {:?}", r.as_ref().map(|p| p.state()).map_err(|e| e.code()));
    if r.is_err() { return; }
    println!("unload: {:?}", shelf.registry.unload(&name, &version, soon()).await.map_err(|e| e.to_string()));
    break_it(&shelf, "a 1.0.0").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    println!("4 s later: {:?}", shelf.get("a 1.0.0").state());
    let call = tokio::time::timeout(Duration::from_secs(40), shelf.ask("a 1.0.0", "hello")).await;
    println!("a call (timeout of terms 30 s), after 40 s: {:?}", call.map(|r| r.map_err(|e| e.code())));
}

#[tokio::test]
async fn attack_reload_cycle() {
    let shelf = Shelf::with(|_| {}, touchy);
    shelf.put("a 1.0.0", "", &fragile());
    shelf.put("b 1.0.0", "[dependencies]\na = \"^1\"\n", &fragile());
    shelf.load().await;
    shelf.put("a 1.0.0", "[dependencies]\nb = \"^1\"\n", &fragile());
    let (name, version) = id("a 1.0.0");
    let r = shelf.registry.reload(&name, &version, soon()).await;
    println!("reload into a circle: {:?}", r.map(|p| p.state()).map_err(|e| e.code()));
    let (b, bv) = id("b 1.0.0");
    println!("unload a: {:?}", shelf.registry.unload(&name, &version, soon()).await.map_err(|e| e.to_string()));
    println!("unload b: {:?}", shelf.registry.unload(&b, &bv, soon()).await.map_err(|e| e.to_string()));
    tokio::join!(break_it(&shelf, "a 1.0.0"), break_it(&shelf, "b 1.0.0"));
    tokio::time::sleep(Duration::from_secs(6)).await;
    println!("later: a {:?} b {:?}", shelf.get("a 1.0.0").state(), shelf.get("b 1.0.0").state());
    let left = tokio::time::timeout(Duration::from_secs(5), shelf.registry.shutdown(soon())).await;
    println!("shutdown: {left:?}; a {:?} b {:?}", shelf.get("a 1.0.0").state(), shelf.get("b 1.0.0").state());
}

#[tokio::test]
async fn attack_shutdown_skips_unsatisfied() {
    let shelf = Shelf::new();
    let folder = shelf.put("a 1.0.0", "", &guests::echo());
    shelf.put("b 1.0.0", "[dependencies]\na = \"^1\"\n", &guests::echo());
    shelf.load().await;
    let toml = fs::read_to_string(folder.join("plugin.toml")).unwrap().replace("1.0.0", "2.0.0");
    fs::write(folder.join("plugin.toml"), toml).unwrap();
    let (name, version) = id("a 1.0.0");
    let r = shelf.registry.reload(&name, &version, soon()).await;
    println!("reload a as 2.0.0 though b needs ^1: {:?}", r.map(|p| p.state()).map_err(|e| e.code()));
    let left = shelf.registry.shutdown(soon()).await;
    println!("after shutdown ({left}): b {:?}, calls: {:?}", shelf.get("b 1.0.0").state(), shelf.ask("b 1.0.0", "hi").await.map_err(|e| e.code()));
}

#[tokio::test]
async fn attack_after_shutdown() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.load().await;
    shelf.registry.shutdown(soon()).await;
    let (name, version) = id("a 1.0.0");
    println!("load after: {:?}", shelf.registry.load(std::path::Path::new("/nonexistent"), None).await.err().map(|e| e.code()));
    println!("start after shutdown: {:?} {:?}", shelf.registry.start(&name, &version).await.map_err(|e| e.code()), shelf.get("a 1.0.0").state());
    shelf.registry.shutdown(soon()).await;
    println!("reload after shutdown: {:?} {:?}", shelf.registry.reload(&name, &version, soon()).await.map(|p| p.state()).map_err(|e| e.code()), shelf.ask("a 1.0.0", "x").await.map_err(|e| e.code()));
}

#[tokio::test]
async fn attack_unloaded_dependency_comes_back() {
    let shelf = Shelf::with(|_| {}, touchy);
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.put("b 1.0.0", "[dependencies]\na = \"^1\"\n", &fragile());
    shelf.load().await;
    break_it(&shelf, "b 1.0.0").await;
    let (name, version) = id("a 1.0.0");
    let r = shelf.registry.unload(&name, &version, soon()).await.map_err(|e| e.to_string());
    println!("operator unloads a: {r:?} -> {:?}", shelf.get("a 1.0.0").state());
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("3 s later: a {:?}, b {:?}", shelf.get("a 1.0.0").state(), shelf.get("b 1.0.0").state());
}

/// Burns about `rounds` of CPU, then echoes.
fn slow(rounds: u64) -> String {
    guests::v1(
        &format!("(local $i i64) (local.set $i (i64.const {rounds}))
          (loop $l (local.set $i (i64.sub (local.get $i) (i64.const 1))) (br_if $l (i64.gt_u (local.get $i) (i64.const 0))))
          (call $echo (local.get $ptr) (local.get $len))"),
        "",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_waiting_poisons_the_innocent() {
    let shelf = Arc::new(Shelf::with(|_| {}, |terms| {
        terms.cpu_time = Duration::from_secs(5);
        terms.timeout = Duration::from_millis(1500);
        terms.pool.instances_max = 1;
    }));
    shelf.put("a 1.0.0", "", &slow(1_000_000_000));
    shelf.load().await;
    let t = std::time::Instant::now();
    println!("alone: {:?} in {:?}", shelf.ask("a 1.0.0", "hello").await, t.elapsed());
    for burst in 0..6 {
        let calls = (0..8).map(|_| { let shelf = shelf.clone(); tokio::spawn(async move { shelf.ask("a 1.0.0", "hello").await.map_err(|e| e.code()) }) });
        let ends: Vec<_> = futures::future::join_all(calls).await.into_iter().map(|r| r.unwrap()).collect();
        println!("burst {burst}: {ends:?} breaker {:?}", shelf.get("a 1.0.0").breaker());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    println!("idle again, same input: {:?}", shelf.ask("a 1.0.0", "hello").await.map_err(|e| e.to_string()));
    println!("idle again, other input: {:?}", shelf.ask("a 1.0.0", "hello2").await.map_err(|e| e.to_string()));
}

#[tokio::test]
async fn attack_invalid_arguments_close_the_breaker() {
    let shelf = Shelf::with(|_| {}, |terms| {
        terms.breaker.window = 4;
        terms.breaker.failures = 2;
        terms.breaker.open_min = Duration::from_millis(20);
        terms.breaker.open_max = Duration::from_millis(20);
        terms.poison.entries_max = 0;
    });
    shelf.put("a 1.0.0", "", &fragile());
    shelf.load().await;
    let plugin = shelf.get("a 1.0.0");
    let bad = FunctionCall::Json(JsonCall { function: "plugin-api-v1#process".into(), args: vec![1.into()] });
    for _ in 0..3 { let _ = shelf.ask("a 1.0.0", "x").await; }
    println!("tripped: {:?}", plugin.breaker());
    tokio::time::sleep(Duration::from_millis(50)).await;
    for _ in 0..3 {
        println!("{:?} -> {:?}", plugin.call(&Caller::default(), &bad).await.map(|_| ()).map_err(|e| e.code()), plugin.breaker());
    }
    // A stranger who keeps it from ever opening.
    for round in 0..20 {
        let _ = shelf.ask("a 1.0.0", "x").await;
        for _ in 0..4 { let _ = plugin.call(&Caller::default(), &bad).await; }
        if round == 19 { println!("20 traps, mixed with bad arguments: {:?}", plugin.breaker()); }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn attack_storm() {
    let shelf = Arc::new(Shelf::with(|settings| {
        settings.health.interval = Duration::from_millis(5);
        settings.health.backoff_min = Duration::from_millis(5);
        settings.health.backoff_max = Duration::from_millis(50);
    }, |terms| { terms.pool.instances_max = 3; terms.pool.idle_max = Duration::from_millis(20); terms.pool.calls_max = 7; terms.poison.entries_max = 0; }));
    shelf.put("a 1.0.0", "", &fragile());
    shelf.put("b 1.0.0", "[dependencies]\na = \"^1\"\n", &slow(200_000));
    shelf.load().await;
    let end = Instant::now() + Duration::from_secs(15);
    let mut tasks = Vec::new();
    for k in 0..24 {
        let shelf = shelf.clone();
        tasks.push(tokio::spawn(async move {
            let mut codes = std::collections::BTreeMap::<&str, u32>::new();
            while Instant::now() < end {
                let who = if fastrand::bool() { "a 1.0.0" } else { "b 1.0.0" };
                let (name, version) = id(who);
                let d = Instant::now() + Duration::from_millis(fastrand::u64(0..30));
                let what = if k < 16 { 0 } else { fastrand::u32(1..6) };
                let act = async {
                    match what {
                        1 => shelf.registry.start(&name, &version).await.err().map_or("start", |e| e.code()),
                        2 => shelf.registry.unload(&name, &version, d).await.err().map_or("unload", |e| e.code()),
                        3 => shelf.registry.reload(&name, &version, d).await.err().map_or("reload", |e| e.code()),
                        4 => { shelf.registry.check_health().await; "health" }
                        5 => { shelf.registry.runtime(); "-" }
                        _ => {
                            let input = if fastrand::u8(..) < 8 { "x".to_owned() } else { format!("hello{}", fastrand::u32(..)) };
                            match shelf.ask(who, &input).await { Ok(got) => { assert_eq!(got, input); "ok" } Err(e) => e.code() }
                        }
                    }
                };
                // Cancelled at any point, now and then.
                let code = if fastrand::u8(..) < 60 {
                    tokio::time::timeout(Duration::from_micros(fastrand::u64(0..3000)), act).await.unwrap_or("cancelled")
                } else {
                    tokio::time::timeout(Duration::from_secs(20), act).await.unwrap_or("HUNG")
                };
                *codes.entry(code).or_default() += 1;
                if code != "ok" { tokio::time::sleep(Duration::from_micros(300)).await } else { tokio::task::yield_now().await }
                if k >= 16 { tokio::time::sleep(Duration::from_millis(20)).await }
            }
            codes
        }));
    }
    let mut all = std::collections::BTreeMap::<&str, u32>::new();
    for task in tasks { for (code, n) in task.await.unwrap() { *all.entry(code).or_default() += n; } }
    println!("{all:#?}");
    for who in ["a 1.0.0", "b 1.0.0"] {
        let (name, version) = id(who);
        let r = tokio::time::timeout(Duration::from_secs(5), shelf.registry.start(&name, &version)).await;
        println!("{who}: start {:?} state {:?}", r.map(|r| r.map_err(|e| e.to_string())), shelf.get(who).state());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for who in ["a 1.0.0", "b 1.0.0"] {
        println!("{who}: {:?} {:?} {:?} ", shelf.get(who).state(), shelf.get(who).pool_status(), shelf.ask(who, "hello").await);
    }
    println!("{:?}", shelf.registry.runtime().engine_metrics());
    let _ = PluginState::ALL;
    let _: Option<CoreError> = None;
    let _ = text("x");
}

fn rss() -> u64 {
    let s = fs::read_to_string("/proc/self/status").unwrap();
    let f = |k: &str| s.lines().find(|l| l.starts_with(k)).unwrap().split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024;
    f("VmRSS").max(f("VmHWM"))
}

/// A function that answers with `items` lists, each the same `bytes` of memory.
fn bomb(items: u32, bytes: u32, inner: &str) -> String {
    format!(r#"(component
        (core module $m
            (memory (export "memory") 200)
            (func (export "f") (result i32) (local $i i32)
                (loop $l
                    (i32.store (i32.add (i32.const 64) (i32.mul (local.get $i) (i32.const 8))) (i32.const 1048576))
                    (i32.store (i32.add (i32.const 68) (i32.mul (local.get $i) (i32.const 8))) (i32.const {bytes}))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $l (i32.lt_u (local.get $i) (i32.const {items}))))
                (i32.store (i32.const 16) (i32.const 64))
                (i32.store (i32.const 20) (i32.const {items}))
                (i32.const 16)))
        (core instance $i (instantiate $m))
        (func $f (result (list {inner})) (canon lift (core func $i "f") (memory $i "memory")))
        (export "f" (func $f)))"#)
}

#[tokio::test]
async fn attack_result_bombs() {
    for (items, bytes, inner) in [(100_000, 1, "string"), (100_000, 0, "string"), (60, 4_000_000, "(list u8)"), (10, 12_000_000, "string"), (100_000, 100, "(list bool)"), (100_000, 40, "(list (tuple u8 u8 u8 u8))"), (100_000, 400, "(list (list u8))")] {
        let shelf = Shelf::with(|_| {}, |t| { t.cpu_time = Duration::from_secs(20); t.poison.entries_max = 0; t.data = Arc::new(|| Data::with_memory(64 << 20)); });
        shelf.put("a 1.0.0", "", &bomb(items, bytes, inner));
        let loaded = shelf.load().await;
        for r in &loaded.refused { println!("refused {}", r.error); }
        if loaded.registered.is_empty() { continue; }
        let before = rss();
        let t = std::time::Instant::now();
        let call = FunctionCall::Json(JsonCall { function: "f".into(), args: vec![] });
        let reply = shelf.get("a 1.0.0").call(&Caller::default(), &call).await;
        let got = reply.map(|r| { let mid = rss(); let j = r.into_json().map(|j| j.to_string().len()); (mid, j) }).map_err(|e| (e.code(), e.to_string().chars().take(100).collect::<String>()));
        println!("{items} x {bytes} {inner}: {got:?} in {:?}; MiB before {before} high {}", t.elapsed(), rss());
    }
}

#[tokio::test]
async fn attack_lazy_call_ignores_its_deadline() {
    let shelf = Arc::new(Shelf::with(|s| { s.lazy = true; s.starts_max = 1; }, |t| { t.timeout = Duration::from_millis(500); t.cpu_time = Duration::from_secs(5); }));
    let spin = guests::v1("unreachable", "(func $s (loop $l (br $l))) (start $s)");
    shelf.put("a 1.0.0", "", &guests::echo());
    for k in 0..10 { shelf.put(&format!("s{k} 1.0.0"), "", &spin); }
    shelf.load().await;
    let mut tasks = vec![];
    for k in 0..10 { let shelf = shelf.clone(); tasks.push(tokio::spawn(async move { let _ = shelf.ask(&format!("s{k} 1.0.0"), "x").await; })); }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let t = std::time::Instant::now();
    println!("a call with a timeout of 500 ms: {:?} after {:?}", shelf.ask("a 1.0.0", "hello").await.map_err(|e| e.code()), t.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_unload_while_starting() {
    let shelf = Arc::new(Shelf::with(|_| {}, |t| { t.cpu_time = Duration::from_secs(5); t.timeout = Duration::from_secs(5); }));
    // Starts for about half a second, then fails the first time is not possible: so it only starts slowly.
    let slow_start = guests::v1("(call $echo (local.get $ptr) (local.get $len))", "(func $s (local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 500000000))))) (start $s)");
    shelf.put("a 1.0.0", "", &slow_start);
    let (name, version) = id("a 1.0.0");
    let l = { let shelf = shelf.clone(); tokio::spawn(async move { shelf.load().await.refused.len() }) };
    tokio::time::sleep(Duration::from_millis(150)).await;
    println!("state {:?}", shelf.registry.get(&name, &version).map(|p| p.state()));
    let t = std::time::Instant::now();
    println!("unload {:?} in {:?}", shelf.registry.unload(&name, &version, soon()).await.map_err(|e| e.code()), t.elapsed());
    println!("metrics at once {:?}", shelf.registry.runtime().engine_metrics()[0].core_instances);
    let t = std::time::Instant::now();
    println!("start again {:?} in {:?} {:?}", shelf.registry.start(&name, &version).await.map_err(|e| e.code()), t.elapsed(), shelf.get("a 1.0.0").state());
    println!("load said refused {}", l.await.unwrap());
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{:?} {:?} {:?}", shelf.get("a 1.0.0").state(), shelf.get("a 1.0.0").pool_status(), shelf.registry.runtime().engine_metrics()[0]);
}
