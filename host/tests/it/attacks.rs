//! Hostile plugins, and what is left of a host after them: everything.
//!
//! `docs/attacks.md` says which test shows what of which attack. Each runs in a process of its own, so that
//! memory and open files can be measured.

mod abi;
mod cpu;
mod files;
mod loader;
mod network;
mod services;
mod streams;

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use host::{HostConfig, PluginHost, ProcessCall};
use host_core::{CacheSettings, Caller, CodeSettings, FunctionCall};
use host_security::audit::{AuditRecord, ViolationType, read, verify};
use plugin_contract::Explain;
use tempfile::TempDir;

use crate::{name, plugins, text};

/// Said to a process that has one attack to itself.
const ALONE: &str = "HOST_ATTACK_ALONE";

/// What the plugin has of time, where nothing else is said.
const QUICK: &str = "limits.cpu-time = \"1s\"\nlimits.timeout = \"15s\"\n";

/// Enough to get somewhere.
const SLOW: &str = "limits.cpu-time = \"5s\"\nlimits.timeout = \"60s\"\n";

/// A host with a plugin that attacks it, and one that has nothing to do with it.
struct Arena {
    host: PluginHost,
    dir: TempDir,
    log: Lines,
    /// Memory in use in KiB, and open files, before anything happened.
    before: (u64, usize),
}

/// What the host logs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Arena {
    /// `None` if this was run in another process, and went well there. `more` is what `host.toml` says of
    /// the plugin besides the usual.
    async fn new(more: &str) -> Option<Self> {
        if !is_alone() {
            return None;
        }
        let log = Lines::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        let dir = TempDir::new().unwrap();
        for part in ["work/sub", "outside"] {
            fs::create_dir_all(dir.path().join(part)).unwrap();
        }
        for file in ["work/a", "work/sub/b", "outside/canary"] {
            fs::write(dir.path().join(file), file).unwrap();
        }
        let times = if more.contains("limits.cpu-time") { "" } else { QUICK };
        let config: HostConfig = format!(
            "[plugins.hostile]\nallow.fs = [\"read-write:/work\"]\n\
             paths = {{ \"/work\" = \"DIR/work\" }}\n{times}{more}"
        )
        .replace("DIR", dir.path().to_str().unwrap())
        .parse()
        .unwrap();
        let mut code = CodeSettings::default();
        let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("code-of-attacks");
        code.cache = Some(CacheSettings::new(cache));
        let builder = PluginHost::builder().data_dir(dir.path().join("host")).config(config);
        let host = builder.code(code).build().await.unwrap();
        for plugin in ["shout-v1", "hostile"] {
            host.load(&plugins().join(plugin)).await.unwrap();
        }
        let mut arena = Self { host, dir, log, before: (0, 0) };
        arena.neighbour().await;
        arena.measure();
        Some(arena)
    }

    /// What is in use now is what has to be in use at the end.
    fn measure(&mut self) {
        self.before = (resident_kib(), open_files());
    }

    /// Has the plugin do it; its answer, or the code of the error.
    async fn order(&self, orders: &str) -> String {
        self.ask("hostile", text(orders)).await
    }

    async fn ask(&self, plugin: &str, call: ProcessCall) -> String {
        match self.host.process(&name(plugin), call).await {
            Ok(reply) => String::from_utf8(reply.output).unwrap().trim_end().to_owned(),
            Err(error) => error.code().to_owned(),
        }
    }

    /// Calls the function `f` of a planted component; the code of the error, or nothing.
    async fn call_f(&self, plugin: &str) -> &'static str {
        let (plugin, caller) = (name(plugin), Caller::default());
        let call = FunctionCall::Text("f()".to_owned());
        let called = self.beside(self.host.call(&plugin, &caller, &call)).await;
        called.err().map(|error| error.code()).unwrap_or_default()
    }

    /// Whether another plugin works.
    async fn neighbour(&self) {
        assert_eq!(self.ask("shout-v1", text("hello")).await, "HELLO");
    }

    /// Has the plugin do it, while another one works; the answer begins with `expected`, and the next call
    /// of either goes well.
    async fn survives(&self, orders: &str, expected: &str) {
        let attack = self.order(orders);
        let answer = self.beside(attack).await;
        assert!(answer.starts_with(expected), "{orders}: {}", &answer[..answer.len().min(300)]);
        assert_eq!(self.order("ok").await, "fine", "after {orders}");
    }

    /// Awaits `attack`, while another plugin works.
    async fn beside<R>(&self, attack: impl Future<Output = R>) -> R {
        let mut attack = std::pin::pin!(attack);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut attack => break answer,
                () = self.neighbour() => tokio::task::yield_now().await,
            }
        };
        self.neighbour().await;
        answer
    }

    /// Ends the host. Its audit log has something of each type of violation that is expected. Nothing of the plugin is left, in memory or among open files.
    async fn ends(self, expected: &[ViolationType]) {
        self.neighbour().await;
        let hostile = name("hostile");
        if self.host.plugin(&hostile).is_ok() {
            self.host.unload(&hostile, Duration::from_secs(5)).await.unwrap();
        }
        let (memory, files) = self.before;
        // What was unloaded is dropped on a thread of its own.
        for _ in 0..50 {
            if resident_kib() <= memory + memory / 10 + (32 << 10) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (memory_after, files_after) = (resident_kib(), open_files());
        assert!(
            memory_after <= memory + memory / 10 + (32 << 10),
            "{memory_after} KiB in use, {memory} before"
        );
        assert!(files_after <= files + 8, "{files_after} files open, {files} before");
        self.host.shutdown(Duration::from_secs(5)).await;
        let canary = fs::read_to_string(self.dir.path().join("outside/canary")).unwrap();
        assert_eq!(canary, "outside/canary");
        assert_eq!(fs::read_dir(self.dir.path().join("outside")).unwrap().count(), 1);
        let said = self.said();
        let acts = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202e}' | '\u{2028}');
        assert!(!said.contains(acts), "the log has characters that act on terminals");
        let log = self.dir.path().join("host/audit");
        verify(&log, None).unwrap();
        let records: Vec<AuditRecord> = read(&log).unwrap().map(Result::unwrap).collect();
        // Of a plugin that is told of too often, violations are counted.
        let counted = |kind: ViolationType| {
            let counts = records.iter().flat_map(|record| record.counts.keys());
            { counts }.any(|word| word.starts_with(kind.word()))
        };
        for kind in expected {
            let found = records.iter().find(|record| record.violation_type == Some(*kind));
            match found {
                Some(record) => {
                    assert!(record.plugin.is_some(), "{record:?}");
                    assert!(
                        record.rule.as_ref().is_some_and(|rule| !rule.is_empty()),
                        "{record:?}"
                    );
                }
                None => assert!(counted(*kind), "no record of {kind:?}"),
            }
        }
    }

    /// What was logged so far.
    fn said(&self) -> String {
        String::from_utf8(self.log.0.lock().unwrap().clone()).unwrap()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// Loads a component written as text, under this name; the code of the error if that is refused.
    async fn plant(&self, name: &str, wat: &str) -> Result<(), String> {
        self.plant_bytes(name, wat::parse_str(wat).unwrap_or_else(|e| panic!("{e}\n{wat}"))).await
    }

    async fn plant_bytes(&self, name: &str, wasm: Vec<u8>) -> Result<(), String> {
        self.write(name, wasm);
        self.load(name).await
    }

    /// Writes a plugin to where [`Arena::load`] finds it.
    fn write(&self, name: &str, wasm: Vec<u8>) {
        let directory = self.path("planted").join(name);
        fs::create_dir_all(&directory).unwrap();
        let manifest = format!(
            "[plugin]\nname = \"{name}\"\nversion = \"0.1.0\"\nentrypoint = \"{name}.wasm\"\n\
             [permissions]\nmemory = \"16MB\"\ncpu-time = \"500ms\"\ntimeout = \"15s\"\n"
        );
        fs::write(directory.join("plugin.toml"), manifest).unwrap();
        fs::write(directory.join(format!("{name}.wasm")), wasm).unwrap();
    }

    async fn load(&self, name: &str) -> Result<(), String> {
        let directory = self.path("planted").join(name);
        self.beside(self.host.load(&directory)).await.unwrap();
        let refused = self.host.refused();
        match refused.iter().find(|refused| refused.path.starts_with(&directory)) {
            Some(refused) => Err(refused.error.code().to_owned()),
            None => Ok(()),
        }
    }
}

/// Runs one attack and what is expected of it, in an arena of its own.
async fn check(more: &str, attacks: &[(&str, &str)], expected: &[ViolationType]) {
    let Some(arena) = Arena::new(more).await else { return };
    for (orders, answer) in attacks {
        arena.survives(orders, answer).await;
    }
    arena.ends(expected).await;
}

/// Whether this test has a process to itself. If not, it is run in one, and has to go well there. Tests run
/// on threads that have their names; where they do not, there is one thread for all of them.
fn is_alone() -> bool {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    assert_ne!(test, "main", "attacks need test threads with names: leave out `--test-threads=1`");
    let exe = std::env::current_exe().unwrap();
    let mut run = Command::new(exe);
    let run = run.args(["--exact", test, "--include-ignored"]).env(ALONE, "1");
    // As `plugin-host serve` sets it for itself.
    let run = run.env("MALLOC_MMAP_THRESHOLD_", "1048576").output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let failed = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && said.contains("1 passed"), "{said}{failed}");
    false
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}
