//! Plugins in a directory, from registration to the end.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use host_core::{
    Caller, CoreError, Description, Embedder, FunctionCall, Loaded, OnFailure, Plugin, PluginState,
    Registry, RegistrySettings, Terms,
};
use plugin_contract::{Explain, Isolation, PluginId};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{Data, Heard, guests, runtime, text};

/// Everything goes, on terms that a test may change.
struct Anything(Box<ChangeTerms>);

type ChangeTerms = dyn Fn(&mut Terms<Data>) + Send + Sync;

impl Embedder<Data> for Anything {
    fn terms(&self, _: &Description) -> Result<Terms<Data>, Box<dyn Explain + Send + Sync>> {
        let mut terms = Terms::new(Data::new);
        terms.cpu_time = Duration::from_millis(200);
        self.0(&mut terms);
        Ok(terms)
    }
}

pub(crate) struct Shelf {
    directory: TempDir,
    pub(crate) registry: Registry<Data>,
}

impl Shelf {
    pub(crate) fn new() -> Self {
        Self::with(|_| {}, |_| {})
    }

    pub(crate) fn with(
        settings: impl FnOnce(&mut RegistrySettings),
        terms: impl Fn(&mut Terms<Data>) + Send + Sync + 'static,
    ) -> Self {
        let mut chosen = RegistrySettings::default();
        settings(&mut chosen);
        let embedder = Arc::new(Anything(Box::new(terms)));
        let registry = Registry::new(runtime(), embedder, chosen);
        Self { directory: TempDir::new().unwrap(), registry }
    }

    /// Writes a plugin: `name version`, more lines of its manifest, and its component.
    pub(crate) fn put(&self, identity: &str, manifest: &str, wat: &str) -> PathBuf {
        let (name, version) = identity.split_once(' ').unwrap();
        let folder = self.directory.path().join(identity.replace(' ', "-"));
        fs::create_dir_all(&folder).unwrap();
        let head = format!("name = \"{name}\"\nversion = \"{version}\"\nentrypoint = \"p.wasm\"\n");
        fs::write(folder.join("plugin.toml"), format!("[plugin]\n{head}{manifest}")).unwrap();
        fs::write(folder.join("p.wasm"), wat::parse_str(wat).unwrap()).unwrap();
        folder
    }

    pub(crate) async fn load(&self) -> Loaded<Data> {
        self.registry.load(self.directory.path(), None).await.unwrap()
    }

    pub(crate) fn get(&self, identity: &str) -> Arc<Plugin<Data>> {
        let (name, version) = named(identity);
        self.registry.get(&name, &version).unwrap()
    }

    pub(crate) async fn ask(&self, identity: &str, input: &str) -> Result<String, CoreError> {
        let reply = self.get(identity).process(&mut text(input)).await?;
        Ok(String::from_utf8(reply.output).unwrap())
    }
}

pub(crate) fn named(identity: &str) -> (PluginId, semver::Version) {
    let (name, version) = identity.split_once(' ').unwrap();
    (name.parse().unwrap(), version.parse().unwrap())
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// A guest that answers with `answer`, so that versions can be told apart.
fn says(answer: &str) -> String {
    let data = format!("(data (i32.const 512) \"{answer}\")");
    guests::v1(&format!("(call $echo (i32.const 512) (i32.const {}))", answer.len()), &data)
}

/// Traps on the input `x`, answers others with themselves.
fn fragile() -> String {
    guests::v1(
        "(if (result i32) (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120))
            (then unreachable) (else (call $echo (local.get $ptr) (local.get $len))))",
        "",
    )
}

#[tokio::test]
async fn one_of_fifty_that_fails_leaves_forty_nine() {
    let shelf = Shelf::new();
    for at in 0..50 {
        let spin = guests::v1("unreachable", "(func $s unreachable) (start $s)");
        let wat = if at == 17 { spin } else { guests::echo() };
        shelf.put(&format!("p{at} 1.0.0"), "", &wat);
    }
    let loaded = shelf.load().await;
    assert_eq!(loaded.refused.len(), 1);
    assert_eq!(loaded.refused[0].error.code(), "core/trap-unreachable");
    let serving =
        loaded.registered.iter().filter(|plugin| plugin.state() == PluginState::Serving).count();
    assert_eq!(serving, 49);
    assert_eq!(shelf.ask("p16 1.0.0", "hello").await.unwrap(), "hello");
    let error = shelf.ask("p17 1.0.0", "hello").await.unwrap_err();
    assert_eq!(error.code(), "core/plugin-recovering");
    assert!(error.retry_after().is_some());
}

#[tokio::test]
async fn start_functions_that_loop_hold_up_nobody_but_themselves() {
    let shelf = Shelf::with(|_| {}, |terms| terms.cpu_time = Duration::from_millis(200));
    let spin = guests::v1("unreachable", "(func $s (loop $l (br $l))) (start $s)");
    for at in 0..4 {
        shelf.put(&format!("spin{at} 1.0.0"), "", &spin);
    }
    shelf.put("z-good 1.0.0", "", &guests::echo());
    let before = std::time::Instant::now();
    let loaded = shelf.load().await;
    assert_eq!(loaded.refused.len(), 4);
    assert!(loaded.refused.iter().all(|r| r.error.code() == "security/cpu-time-exceeded"));
    assert!(before.elapsed() < Duration::from_secs(20), "started one after the other");
    assert_eq!(shelf.ask("z-good 1.0.0", "hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn versions_of_one_name_stand_side_by_side_and_twins_do_not() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &says("one"));
    shelf.put("a 2.0.0", "", &says("two"));
    assert!(shelf.load().await.refused.is_empty());
    assert_eq!(shelf.ask("a 1.0.0", "?").await.unwrap(), "one");
    assert_eq!(shelf.ask("a 2.0.0", "?").await.unwrap(), "two");
    let again = shelf.load().await;
    assert!(again.registered.is_empty() && again.refused.is_empty(), "they are there");
    let twin = shelf.put("twin 1.0.0", "", &says("three"));
    let manifest = fs::read_to_string(twin.join("plugin.toml")).unwrap();
    fs::write(twin.join("plugin.toml"), manifest.replace("\"twin\"", "\"a\"")).unwrap();
    let twins = shelf.load().await;
    assert!(twins.registered.is_empty());
    assert_eq!(twins.refused[0].error.code(), "core/duplicate-plugin");
}

#[tokio::test]
async fn what_is_needed_is_unloaded_last() {
    let shelf = Shelf::new();
    shelf.put("base 1.0.0", "", &guests::echo());
    shelf.put("top 1.0.0", "[dependencies]\nbase = \"^1\"\n", &guests::echo());
    shelf.put("lost 1.0.0", "[dependencies]\nnobody = \"^1\"\n", &guests::echo());
    let loaded = shelf.load().await;
    assert_eq!(loaded.refused[0].error.code(), "core/dependency-missing");

    let (base, version) = named("base 1.0.0");
    let error = shelf.registry.unload(&base, &version, soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "`base` is needed by `top` 1.0.0");
    let (top, _) = named("top 1.0.0");
    shelf.registry.unload(&top, &version, soon()).await.unwrap();
    shelf.registry.unload(&base, &version, soon()).await.unwrap();
    assert_eq!(shelf.ask("top 1.0.0", "x").await.unwrap_err().code(), "core/not-loaded");

    // Loading what needs the other brings both back.
    shelf.registry.start(&top, &version).await.unwrap();
    assert_eq!(shelf.ask("base 1.0.0", "x").await.unwrap(), "x");
    assert_eq!(shelf.registry.shutdown(soon()).await, 0);
}

#[tokio::test]
async fn a_reload_takes_what_is_there_now_and_a_bad_file_changes_nothing() {
    let shelf = Shelf::new();
    let folder = shelf.put("a 1.0.0", "", &says("old"));
    shelf.load().await;
    let (name, version) = named("a 1.0.0");

    fs::write(folder.join("p.wasm"), b"\0asm and no more").unwrap();
    let error = shelf.registry.reload(&name, &version, soon()).await.map(drop).unwrap_err();
    assert_eq!(error.code(), "core/not-a-component");
    let trap = guests::v1("unreachable", "(func $s unreachable) (start $s)");
    fs::write(folder.join("p.wasm"), wat::parse_str(trap).unwrap()).unwrap();
    let error = shelf.registry.reload(&name, &version, soon()).await.map(drop).unwrap_err();
    assert_eq!(error.code(), "core/trap-unreachable");
    assert_eq!(shelf.ask("a 1.0.0", "?").await.unwrap(), "old");

    shelf.put("a 1.0.0", "", &says("new"));
    shelf.registry.reload(&name, &version, soon()).await.unwrap();
    assert_eq!(shelf.ask("a 1.0.0", "?").await.unwrap(), "new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_plugins_are_reloaded() {
    let shelf = Arc::new(Shelf::new());
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.load().await;
    let (name, version) = named("a 1.0.0");
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let shelf = shelf.clone();
            tokio::spawn(async move {
                for _ in 0..500 {
                    // Whoever holds a revision that was replaced looks for the one that serves.
                    loop {
                        match shelf.ask("a 1.0.0", "hello").await {
                            Err(CoreError::Retired { .. }) => {}
                            answer => break assert_eq!(answer.unwrap(), "hello"),
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..10 {
        shelf.registry.reload(&name, &version, soon()).await.unwrap();
    }
    for caller in callers {
        caller.await.unwrap();
    }
}

#[tokio::test]
async fn a_lazy_plugin_starts_with_its_first_call() {
    let shelf = Shelf::with(|settings| settings.lazy = true, |_| {});
    shelf.put("a 1.0.0", "[dependencies]\nb = \"^1\"\n", &guests::echo());
    shelf.put("b 1.0.0", "", &guests::echo());
    shelf.load().await;
    assert_eq!(shelf.get("a 1.0.0").state(), PluginState::Registered);
    let (one, two) = tokio::join!(shelf.ask("a 1.0.0", "x"), shelf.ask("a 1.0.0", "y"));
    assert_eq!((one.unwrap(), two.unwrap()), ("x".to_owned(), "y".to_owned()));
    assert_eq!(shelf.get("b 1.0.0").state(), PluginState::Serving, "what it needs, too");
}

#[tokio::test]
async fn a_component_that_changed_on_disk_since_it_was_admitted_is_refused() {
    let shelf = Shelf::with(|settings| settings.lazy = true, |_| {});
    let folder = shelf.put("a 1.0.0", "", &says("seen"));
    shelf.load().await;
    fs::write(folder.join("p.wasm"), wat::parse_str(says("other")).unwrap()).unwrap();
    let error = shelf.ask("a 1.0.0", "?").await.unwrap_err();
    assert_eq!(error.code(), "core/changed-on-disk");
}

#[tokio::test]
async fn an_input_that_kills_is_refused_fast_and_others_are_not() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &fragile());
    shelf.load().await;
    for _ in 0..3 {
        assert_eq!(shelf.ask("a 1.0.0", "x").await.unwrap_err().code(), "core/trap-unreachable");
    }
    assert_eq!(shelf.ask("a 1.0.0", "x").await.unwrap_err().code(), "core/poison-input");
    assert_eq!(shelf.ask("a 1.0.0", "xy").await.unwrap_err().code(), "core/trap-unreachable");
    assert_eq!(shelf.ask("a 1.0.0", "y").await.unwrap(), "y");
    let metrics = shelf.get("a 1.0.0").metrics();
    assert_eq!(metrics.calls, 6);
    assert_eq!(metrics.errors, [("core/trap-unreachable", 4), ("core/poison-input", 1)]);
}

#[tokio::test]
async fn a_revision_that_breaks_again_and_again_is_left_alone_and_tried_again() {
    let shelf = Shelf::with(
        |_| {},
        |terms| {
            terms.breaker.open_min = Duration::from_secs(2);
            terms.breaker.open_max = Duration::from_secs(2);
            terms.breaker.probes = 1;
        },
    );
    shelf.put("a 1.0.0", "", &fragile());
    shelf.load().await;
    for at in 0..20 {
        let error = shelf.ask("a 1.0.0", &format!("x{at}")).await.unwrap_err();
        assert_eq!(error.code(), "core/trap-unreachable");
    }
    let error = shelf.ask("a 1.0.0", "good").await.unwrap_err();
    assert_eq!(error.code(), "core/circuit-open");
    assert!(error.retry_after().is_some());
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(shelf.ask("a 1.0.0", "good").await.unwrap(), "good", "the probe");
    assert_eq!(shelf.ask("a 1.0.0", "good").await.unwrap(), "good");
}

#[tokio::test]
async fn a_plugin_that_never_starts_ends_in_quarantine() {
    let shelf = Shelf::with(
        |settings| {
            settings.health.backoff_min = Duration::from_millis(1);
            settings.health.backoff_max = Duration::from_millis(1);
            settings.health.failures_max = 2;
        },
        |_| {},
    );
    shelf.put("a 1.0.0", "", &guests::v1("unreachable", "(func $s unreachable) (start $s)"));
    let loaded = shelf.load().await;
    assert_eq!(loaded.refused.len(), 1);
    let plugin = shelf.get("a 1.0.0");
    while plugin.state() != PluginState::Quarantined {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let error = shelf.ask("a 1.0.0", "x").await.unwrap_err();
    assert_eq!(error.code(), "core/plugin-quarantined");
    assert_eq!(plugin.trouble().unwrap().code(), "core/trap-unreachable");
}

#[tokio::test]
async fn a_plugin_whose_breaker_opens_again_and_again_is_taken_down_and_ends_in_quarantine() {
    let shelf = Shelf::with(
        |settings| {
            settings.health.interval = Duration::from_millis(100);
            settings.health.backoff_min = Duration::from_millis(1);
            settings.health.failures_max = 2;
            settings.health.quarantine = Duration::MAX;
        },
        |terms| {
            terms.breaker.window = 2;
            terms.breaker.failures = 1;
            terms.breaker.open_min = Duration::from_millis(1);
            terms.breaker.open_max = Duration::from_millis(1);
        },
    );
    shelf.put("a 1.0.0", "", &fragile());
    shelf.load().await;
    let plugin = shelf.get("a 1.0.0");
    let mut at = 0;
    // It starts well each time, and breaks on every call.
    while plugin.state() != PluginState::Quarantined {
        at += 1;
        assert!(shelf.ask("a 1.0.0", &format!("x{at}")).await.is_err());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(plugin.trouble().unwrap().code(), "core/plugin-unhealthy");
}

#[tokio::test]
async fn callers_get_what_the_operator_chose_when_a_plugin_is_out_of_order() {
    let open = Shelf::with(|_| {}, |terms| terms.on_failure = OnFailure::PassThrough);
    open.put("a 1.0.0", "", &fragile());
    open.load().await;
    let mut call = text("x");
    let reply = open.get("a 1.0.0").process(&mut call).await.unwrap();
    assert_eq!(reply.output, b"x");
    let how = reply.degraded.unwrap().to_string();
    assert_eq!(how, "passed-through; core/trap-unreachable");

    let fallback =
        Shelf::with(|_| {}, |terms| terms.on_failure = OnFailure::Fallback("^1".parse().unwrap()));
    fallback.put("a 1.0.0", "", &says("old and good"));
    fallback.put("a 2.0.0", "", &fragile());
    fallback.load().await;
    let mut call = text("x");
    let reply = fallback.get("a 2.0.0").process(&mut call).await.unwrap();
    assert_eq!(reply.output, b"old and good");
    assert_eq!(reply.degraded.unwrap().to_string(), "fallback 1.0.0; core/trap-unreachable");
    assert_eq!(fallback.ask("a 2.0.0", "good").await.unwrap(), "good");
}

#[tokio::test]
async fn waiting_in_the_queue_blames_neither_plugin_nor_input() {
    let shelf = Shelf::with(
        |_| {},
        |terms| {
            terms.timeout = Duration::from_secs(1);
            terms.cpu_time = Duration::from_secs(1);
            terms.pool.instances_max = 1;
        },
    );
    let slow = works_for(100_000_000);
    shelf.put("a 1.0.0", "", &slow);
    shelf.load().await;
    for _ in 0..4 {
        let calls = (0..40).map(|_| shelf.ask("a 1.0.0", "same"));
        for answer in futures::future::join_all(calls).await {
            let code = answer.err().map(|error| error.code());
            assert!(matches!(code, None | Some("core/overloaded" | "core/deadline")), "{code:?}");
        }
    }
    assert_eq!(shelf.ask("a 1.0.0", "same").await.unwrap(), "same");
}

#[tokio::test]
async fn a_reload_may_not_close_a_circle_nor_orphan_anyone() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.put("b 1.0.0", "[dependencies]\na = \"^1\"\n", &guests::echo());
    shelf.load().await;
    let (name, version) = named("a 1.0.0");
    for (needs, code) in [
        ("a", "core/dependency-cycle"),
        ("b", "core/dependency-cycle"),
        ("nobody", "core/dependency-missing"),
    ] {
        let manifest = format!("[dependencies]\n{needs} = \"^1\"\n");
        shelf.put("a 1.0.0", &manifest, &guests::echo());
        let error = shelf.registry.reload(&name, &version, soon()).await.map(drop).unwrap_err();
        assert_eq!(error.code(), code, "{needs}");
    }
    let folder = shelf.put("a 1.0.0", "", &guests::echo());
    let manifest = fs::read_to_string(folder.join("plugin.toml")).unwrap();
    fs::write(folder.join("plugin.toml"), manifest.replace("1.0.0", "2.0.0")).unwrap();
    let error = shelf.registry.reload(&name, &version, soon()).await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "`a` is needed by `b` 1.0.0");
    assert_eq!(shelf.ask("a 1.0.0", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn after_a_shutdown_nothing_starts() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.load().await;
    assert_eq!(shelf.registry.shutdown(soon()).await, 0);
    let (name, version) = named("a 1.0.0");
    assert!(shelf.registry.start(&name, &version).await.is_err());
    assert!(shelf.registry.reload(&name, &version, soon()).await.is_err());
    assert_eq!(shelf.get("a 1.0.0").state(), PluginState::Unloaded);
}

#[tokio::test]
async fn a_call_that_waits_for_a_start_has_a_deadline() {
    let shelf = Shelf::with(
        |settings| settings.lazy = true,
        |terms| {
            terms.timeout = Duration::from_millis(100);
            terms.cpu_time = Duration::from_secs(10);
        },
    );
    shelf.put("a 1.0.0", "", &guests::v1("unreachable", "(func $s (loop $l (br $l))) (start $s)"));
    shelf.load().await;
    let error = shelf.ask("a 1.0.0", "x").await.unwrap_err();
    assert_eq!(error.code(), "core/deadline");
}

#[tokio::test]
async fn a_cancelled_call_leaves_nothing_behind() {
    let shelf = Shelf::with(
        |_| {},
        |terms| {
            terms.cpu_time = Duration::from_secs(20);
            terms.pool.instances_max = 1;
        },
    );
    let spin_on_x = guests::v1(
        "(if (i32.eq (i32.load8_u (local.get $ptr)) (i32.const 120)) (then (loop $l (br $l))))
         (call $echo (local.get $ptr) (local.get $len))",
        "",
    );
    shelf.put("a 1.0.0", "", &spin_on_x);
    shelf.load().await;
    for at in 0..50 {
        // At whatever await the caller happens to give up.
        let patience = Duration::from_micros(at * 100);
        let given_up = tokio::time::timeout(patience, shelf.ask("a 1.0.0", "x")).await;
        assert!(given_up.is_err());
    }
    assert_eq!(shelf.ask("a 1.0.0", "alive").await.unwrap(), "alive");
    let status = shelf.get("a 1.0.0").pool_status();
    assert_eq!((status.busy, status.idle, status.waiting), (0, 1, 0));
    assert!(status.retired >= 1 && status.started == status.retired + 1, "{status:?}");
    let metrics = shelf.get("a 1.0.0").metrics();
    assert_eq!(metrics.errors[0].0, "core/cancelled");
}

/// Exports `acme:demo/math` with `add`, which traps if the sum is 13.
const MATH: &str = r#"(component
    (core module $m (func (export "add") (param i32 i32) (result i32)
        (if (i32.eq (i32.add (local.get 0) (local.get 1)) (i32.const 13)) (then unreachable))
        (i32.add (local.get 0) (local.get 1))))
    (core instance $i (instantiate $m))
    (func $add (param "a" u32) (param "b" u32) (result u32) (canon lift (core func $i "add")))
    (component $shim
        (import "add" (func $f (param "a" u32) (param "b" u32) (result u32)))
        (export "add" (func $f)))
    (instance $math (instantiate $shim (with "add" (func $add))))
    (export "acme:demo/math@1.2.0" (instance $math)))"#;

/// Imports it, in an older version, and exports `double`.
const DOUBLER: &str = r#"(component
    (import "acme:demo/math@1.0.0" (instance $math
        (export "add" (func (param "a" u32) (param "b" u32) (result u32)))))
    (core func $add (canon lower (func $math "add")))
    (core module $m (import "h" "add" (func $add (param i32 i32) (result i32)))
        (func (export "double") (param i32) (result i32)
            (call $add (local.get 0) (local.get 0)))
        (func (export "unlucky") (result i32) (call $add (i32.const 6) (i32.const 7))))
    (core instance $m (instantiate $m (with "h" (instance (export "add" (func $add))))))
    (func (export "double") (param "n" u32) (result u32) (canon lift (core func $m "double")))
    (func (export "unlucky") (result u32) (canon lift (core func $m "unlucky"))))"#;

#[tokio::test]
async fn what_one_plugin_imports_another_exports_whatever_the_interface() {
    let shelf = Shelf::new();
    shelf.put("math 1.0.0", "", MATH);
    shelf.put("doubler 1.0.0", "[dependencies]\nmath = \"^1\"\n", DOUBLER);
    shelf.put("alone 1.0.0", "", DOUBLER);
    let passes = r#"(component
        (import "acme:demo/math@1.0.0" (instance (export "r" (type (sub resource)))))
        (core module $m (func (export "f")))
        (core instance $m (instantiate $m))
        (func (export "f") (canon lift (core func $m "f"))))"#;
    shelf.put("greedy 1.0.0", "[dependencies]\nmath = \"^1\"\n", passes);
    let loaded = shelf.load().await;
    let refused = |name: &str| {
        let found = |refused: &&host_core::Refused| refused.path.to_string_lossy().contains(name);
        loaded.refused.iter().find(found).unwrap().error.clone()
    };
    assert_eq!(refused("alone").code(), "core/unknown-import");
    assert_eq!(refused("greedy").code(), "core/contract-mismatch");
    assert!(refused("greedy").to_string().contains("a resource"), "{}", refused("greedy"));

    let ask = async |text: &str| {
        let call = FunctionCall::Text(text.to_owned());
        let reply = shelf.get("doubler 1.0.0").call(&Caller::default(), &call).await?;
        Ok::<_, CoreError>(reply.wave(100).unwrap())
    };
    assert_eq!(ask("double(21)").await.unwrap(), "42");
    // A trap on the other side ends both calls, and neither plugin.
    let error = ask("unlucky()").await.unwrap_err();
    assert_eq!(error.code(), "core/peer-failed");
    assert!(!error.is_breakage(), "it is not this one that broke");
    assert_eq!(ask("double(4)").await.unwrap(), "8");
    assert_eq!(shelf.get("math 1.0.0").metrics().errors, [("core/trap-unreachable", 1)]);
}

/// A guest that counts so far before it answers with what it was given: a hundred million is about 50 ms.
fn works_for(rounds: u64) -> String {
    let body = format!(
        "(local $n i64) (loop $l (local.set $n (i64.add (local.get $n) (i64.const 1)))
            (br_if $l (i64.lt_u (local.get $n) (i64.const {rounds}))))
         (call $echo (local.get $ptr) (local.get $len))"
    );
    guests::v1(&body, "")
}

/// What an exported function of a plugin answers.
pub(crate) async fn call(shelf: &Shelf, plugin: &str, text: &str) -> Result<String, CoreError> {
    let call = FunctionCall::Text(text.to_owned());
    let reply = shelf.get(plugin).call(&Caller::default(), &call).await?;
    Ok(reply.wave(100).unwrap())
}

#[tokio::test]
async fn what_a_plugin_asks_of_another_is_asked_for_whoever_it_works_for() {
    let heard = Heard::default();
    let hears = heard.clone();
    let data = move |terms: &mut Terms<Data>| {
        let heard = hears.clone();
        terms.data = Arc::new(move || Data::heard(heard.clone()));
    };
    let shelf = Shelf::with(|_| {}, data);
    shelf.put("math 1.0.0", "", MATH);
    shelf.put("doubler 1.0.0", "[dependencies]\nmath = \"^1\"\n", DOUBLER);
    shelf.load().await;
    // Sooner than the time of either plugin is over.
    let soon = std::time::Instant::now() + Duration::from_secs(10);
    let mut caller = Caller::new("r-1".into()).until(soon);
    (caller.user_id, caller.trace) = (Some("ann".into()), Some("00-aa-bb-01".into()));
    let asked = FunctionCall::Text("double(21)".to_owned());
    let ask = async |caller: &Caller| shelf.get("doubler 1.0.0").call(caller, &asked).await;
    ask(&caller).await.unwrap();
    let (doubler, math) = ("doubler".parse().unwrap(), "math".parse().unwrap());
    let inner = caller.relay(&doubler, &math).unwrap();
    assert_eq!(heard.lock().unwrap().last(), Some(&inner));

    // Who waits for the answer already cannot be asked for it.
    let circular = caller.relay(&math, &doubler).unwrap();
    let error = ask(&circular).await.unwrap_err();
    assert_eq!(cause_of(&error), "core/call-cycle");
    let CoreError::Peer { source, .. } = &error else { panic!("{error}") };
    assert!(source.to_string().contains("math -> doubler -> math"), "{source}");
    let mut deep = caller;
    for at in 0..plugin_contract::CALL_DEPTH_MAX {
        let name = |at: u32| format!("p{at}").parse().unwrap();
        deep = deep.relay(&name(at), &name(at + 1)).unwrap();
    }
    assert_eq!(cause_of(&ask(&deep).await.unwrap_err()), "core/call-too-deep");
    assert_eq!(call(&shelf, "doubler 1.0.0", "double(4)").await.unwrap(), "8");
}

/// The code of what went wrong at the other plugin.
fn cause_of(error: &CoreError) -> &'static str {
    let CoreError::Peer { source, .. } = error else { panic!("{error}") };
    source.code()
}

#[tokio::test]
async fn plugins_that_are_composed_are_one_component() {
    let composed = "[dependencies]\nmath = { version = \"^1\", link = \"composed\" }\n";
    let shelf = Shelf::new();
    shelf.put("math 1.0.0", "", MATH);
    shelf.put("doubler 1.0.0", composed, DOUBLER);
    // Satisfies an import of the host's own, were that not the host's.
    shelf.put("no-math 1.0.0", "", &guests::echo());
    let misfit = "[dependencies]\nno-math = { version = \"^1\", link = \"composed\" }\n";
    shelf.put("misfit 1.0.0", misfit, DOUBLER);
    let deep = "[dependencies]\ndoubler = { version = \"^1\", link = \"composed\" }\n";
    shelf.put("deep 1.0.0", deep, DOUBLER);
    let loaded = shelf.load().await;
    let refused: Vec<_> = loaded.refused.iter().map(|it| it.error.to_string()).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    let says = |text: &str| assert!(refused.iter().any(|it| it.contains(text)), "{refused:?}");
    says("`no-math` exports nothing that it imports");
    says("`doubler` depends on others");

    assert_eq!(call(&shelf, "doubler 1.0.0", "double(21)").await.unwrap(), "42");
    // In one store, what breaks inside breaks the whole.
    let error = call(&shelf, "doubler 1.0.0", "unlucky()").await.unwrap_err();
    assert_eq!(error.code(), "core/trap-unreachable");
    assert_eq!(call(&shelf, "doubler 1.0.0", "double(4)").await.unwrap(), "8");
    assert_eq!(shelf.get("math 1.0.0").metrics().calls, 0, "it was not called on its own");
}

#[tokio::test]
async fn what_is_composed_is_what_was_admitted() {
    let composed = "[dependencies]\nmath = { version = \"^1\", link = \"composed\" }\n";
    let shelf = Shelf::new();
    shelf.put("math 1.0.0", "", MATH);
    shelf.put("doubler 1.0.0", composed, DOUBLER);
    shelf.load().await;
    // Another component lies there now, and the plugin starts anew.
    shelf.put("math 1.0.0", "", &guests::echo());
    let doubler = shelf.get("doubler 1.0.0");
    let (name, version) = (doubler.name().clone(), doubler.version().clone());
    let soon = tokio::time::Instant::now() + Duration::from_secs(5);
    shelf.registry.unload(&name, &version, soon).await.unwrap();
    let error = shelf.registry.start(&name, &version).await.unwrap_err();
    assert_eq!(error.code(), "core/changed-on-disk");
}

#[tokio::test]
async fn a_call_to_another_plugin_has_the_time_that_is_left_to_the_first() {
    // `add` spins where it trapped; its plugin may take long, the one that asks may not.
    let spins = MATH.replace("(then unreachable)", "(then (loop $l (br $l)))");
    let shelf = Shelf::with(
        |_| {},
        |terms| {
            terms.timeout = Duration::from_secs(20);
            terms.cpu_time = Duration::from_secs(20);
        },
    );
    shelf.put("math 1.0.0", "", &spins);
    shelf.put("doubler 1.0.0", "[dependencies]\nmath = \"^1\"\n", DOUBLER);
    shelf.load().await;
    let now = std::time::Instant::now();
    let hurried = Caller::new("r-1".into()).until(now + Duration::from_millis(300));
    let asked = FunctionCall::Text("unlucky()".to_owned());
    let error = shelf.get("doubler 1.0.0").call(&hurried, &asked).await.unwrap_err();
    assert!(now.elapsed() < Duration::from_secs(10), "{:?}", now.elapsed());
    assert!(["core/deadline", "core/peer-failed"].contains(&error.code()), "{error}");
    assert_eq!(call(&shelf, "doubler 1.0.0", "double(4)").await.unwrap(), "8");
}

#[tokio::test]
async fn the_registry_ends_with_its_last_handle() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &guests::echo());
    shelf.load().await;
    let plugin = Arc::downgrade(&shelf.get("a 1.0.0"));
    drop(shelf);
    while plugin.strong_count() > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn whoever_found_a_plugin_that_was_removed_is_told_to_look_again() {
    let shelf = Shelf::new();
    shelf.put("a 1.0.0", "", &says("one"));
    shelf.put("a 2.0.0", "", &says("two"));
    shelf.load().await;
    let (first, name) = (shelf.get("a 1.0.0"), named("a 1.0.0").0);
    let drained = shelf.registry.remove(&first, soon()).unwrap();
    assert_eq!(shelf.registry.versions(&name).len(), 1);
    assert_eq!(drained.await.unwrap(), 0);
    assert_eq!(first.process(&mut text("x")).await.unwrap_err().code(), "core/retired");
    assert_eq!(shelf.ask("a 2.0.0", "x").await.unwrap(), "two");
}

#[tokio::test]
async fn a_replacement_has_as_many_instances_ready_as_it_replaces_and_may_have() {
    let revisions = AtomicU32::new(0);
    let shelf = Shelf::with(
        |_| {},
        move |terms| {
            let revision = revisions.fetch_add(1, Ordering::Relaxed);
            terms.cpu_time = Duration::from_secs(10);
            terms.pool.instances_max = [4, 8, 2, 2][revision as usize];
            if revision == 3 {
                terms.pool.isolation = Isolation::PerCall;
            }
        },
    );
    // So that calls meet.
    let slow = works_for(20_000_000);
    shelf.put("a 1.0.0", "", &slow);
    shelf.load().await;
    futures::future::join_all((0..4).map(|_| shelf.ask("a 1.0.0", "x"))).await;
    let (name, version) = named("a 1.0.0");
    let mut idle = vec![shelf.get("a 1.0.0").pool_status().idle];
    for _ in 0..3 {
        shelf.registry.reload(&name, &version, soon()).await.unwrap();
        let status = shelf.get("a 1.0.0").pool_status();
        assert_eq!(status.busy, 0);
        idle.push(status.idle);
    }
    assert_eq!(idle, [4, 4, 2, 0]);
    assert_eq!(shelf.ask("a 1.0.0", "x").await.unwrap(), "x");
}

#[tokio::test]
async fn a_replacement_takes_the_place_of_its_twin_too() {
    let shelf = Shelf::new();
    let folder = shelf.put("a 1.0.0", "", &says("one"));
    shelf.put("a 2.0.0", "", &says("two"));
    shelf.load().await;
    let (first, second) = (shelf.get("a 1.0.0"), shelf.get("a 2.0.0"));
    let admission = host_core::Admission::default();
    let artifact = host_core::read_artifact(&folder, &admission);
    let found = host_core::Found { artifact, path: folder };
    let new = shelf.registry.prepare(found, host_core::Purpose::Serve).await.unwrap();
    let commit = async { Ok::<_, CoreError>(()) };
    let replaced = shelf.registry.replace(&second, new, soon(), commit).await.unwrap();
    replaced.drained().await;
    assert_eq!(shelf.registry.versions(second.name()).len(), 1);
    assert_eq!(shelf.ask("a 1.0.0", "x").await.unwrap(), "one");
    assert_eq!(first.process(&mut text("x")).await.unwrap_err().code(), "core/retired");
}
