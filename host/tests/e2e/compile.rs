//! The program as the compiler of another host: what compiling may take, and what happens when it takes
//! more.
#![cfg(target_os = "linux")]

use std::{
    ffi::OsString,
    fs,
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use host_core::{
    Admission, Artifact, CallBudget, CodeSettings, CoreError, EngineSettings, HelperProgram,
    Imports, Runtime, StoreData, admit, read_artifact,
};
use host_security::{
    Auditor, Policy, Request,
    enforce::{
        self, Confinement, HostMemory, HostShares, Sandbox, SandboxView, Sandboxed,
        fs::FsShared,
        net::{NetSettings, NetShared},
    },
};
use plugin_contract::Explain;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;

use crate::harness::built;

struct Data {
    sandbox: Sandbox,
    table: ResourceTable,
}

impl Data {
    fn new() -> Self {
        let shares = HostShares {
            memory: HostMemory::new(1 << 30),
            fs: FsShared::default(),
            net: NetShared::new(NetSettings::default()).unwrap(),
        };
        let manifest = good().description.manifest.clone();
        let grant = Policy::default().grant(&Request::from_manifest(&manifest));
        let confinement = Confinement::new(grant, Auditor::new("a", "0.1.0", None), &shares, None);
        let output = || MemoryOutputPipe::new(1 << 20);
        Self { sandbox: confinement.instance(output(), output()), table: ResourceTable::new() }
    }
}

impl Sandboxed for Data {
    fn sandbox(&mut self) -> SandboxView<'_> {
        SandboxView { sandbox: &mut self.sandbox, table: &mut self.table }
    }
}

impl StoreData for Data {
    fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.sandbox.budget
    }
}

/// A host whose compiler is the real program, with bounds of its own. `memory_bytes_max` also tells its
/// helpers from those of other tests.
fn host(memory_bytes_max: u64, timeout: Duration) -> Runtime<Data> {
    let mut code = CodeSettings::default();
    code.compiler.helper = Some(HelperProgram {
        program: env!("CARGO_BIN_EXE_plugin-host").into(),
        args: vec![OsString::from("compile")],
    });
    code.compiler.concurrency = 2;
    code.compiler.memory_bytes_max = memory_bytes_max;
    code.compiler.timeout = timeout;
    let mut engine = EngineSettings::default();
    engine.pool.instances = 16;
    engine.pool.memory_reservation_bytes = 256 << 20;
    Runtime::builder(engine)
        .link(&enforce::interfaces(), enforce::add_to_linker)
        .code(code)
        .build()
        .unwrap()
}

const LONG: Duration = Duration::from_secs(300);

fn good() -> Artifact {
    read_artifact(&built("plugins").join("text-transformer"), &Admission::default()).unwrap()
}

/// A good plugin with a core module more inside, which does nothing but cost: 60,000 small functions.
fn costly() -> Artifact {
    with_module(&module(60_000, 1))
}

fn with_module(module: &[u8]) -> Artifact {
    let artifact =
        read_artifact(&built("test-plugins").join("minimal"), &Admission::default()).unwrap();
    let mut bytes = artifact.bytes.to_vec();
    section(&mut bytes, 1, module);
    admit(bytes, Some(artifact.description.manifest.clone()), &Admission::default()).unwrap()
}

fn module(functions: u32, blocks: usize) -> Vec<u8> {
    // No locals; a few times (if (local.get 0) (then (return (i32.mul (local.get 0) (i32.const 3)))));
    // (local.get 0).
    let block = [0x20, 0, 0x04, 0x40, 0x20, 0, 0x41, 3, 0x6c, 0x0f, 0x0b];
    let body = [&[0][..], &block.repeat(blocks), &[0x20, 0, 0x0b]].concat();
    let mut types = Vec::new();
    leb(&mut types, functions);
    types.extend(std::iter::repeat_n(0, functions as usize));
    let mut code = Vec::new();
    leb(&mut code, functions);
    for _ in 0..functions {
        leb(&mut code, body.len() as u32);
        code.extend(&body);
    }
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 1, &[1, 0x60, 1, 0x7f, 1, 0x7f]);
    section(&mut module, 3, &types);
    section(&mut module, 10, &code);
    module
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb(out, content.len() as u32);
    out.extend(content);
}

fn leb(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

async fn refusal(host: &Runtime<Data>, artifact: &Artifact) -> CoreError {
    match host.prepare(artifact, &Imports::none()).await {
        Ok(_) => panic!("it was prepared"),
        Err(error) => error,
    }
}

/// The helpers of this process with this much memory.
fn helpers(memory_bytes_max: u64) -> Vec<u32> {
    let wanted = format!("\"memory_bytes_max\":{memory_bytes_max}");
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
        (command.contains(&wanted) && stat(id)?[1] == std::process::id().to_string()).then_some(id)
    });
    processes.collect()
}

/// What `/proc` says of a process, from its state on.
fn stat(id: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

/// Waits for the helper of a compile that was begun, until it has begun to compile.
async fn helper(memory_bytes_max: u64) -> u32 {
    until(|| helpers(memory_bytes_max).into_iter().find(|id| cpu_ticks(*id) > 20)).await
}

fn cpu_ticks(id: u32) -> u64 {
    stat(id).map_or(0, |stat| stat[11].parse::<u64>().unwrap() + stat[12].parse::<u64>().unwrap())
}

async fn until<R>(mut found: impl FnMut() -> Option<R>) -> R {
    for _ in 0..3000 {
        if let Some(found) = found() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("in vain for half a minute");
}

fn signal(id: u32, signal: &str) {
    assert!(Command::new("kill").args([signal, &id.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn what_the_helper_compiles_runs_in_the_host() {
    let host = host(2 << 30, LONG);
    let prepared = host.prepare(&good(), &Imports::none()).await.unwrap();
    let budget = CallBudget::new(Duration::from_secs(10), Duration::from_secs(5));
    assert!(prepared.start(Data::new(), &[], &budget).await.is_ok());
    assert_eq!(host.code_metrics().compiled, 1);
}

#[tokio::test]
async fn a_compile_that_takes_long_is_ended_at_its_deadline_and_others_go_on() {
    let memory = (2 << 30) + 1;
    let host = host(memory, Duration::from_secs(15));
    let begun = Instant::now();
    // Much more work than that allows.
    let long = with_module(&module(60_000, 20));
    let long = tokio::spawn({
        let host = host.clone();
        async move { refusal(&host, &long).await }
    });
    helper(memory).await;
    host.prepare(&good_and_small(), &Imports::none()).await.unwrap();
    assert!(!long.is_finished());
    let error = long.await.unwrap();
    assert_eq!(error.code(), "core/compile-deadline");
    // Long before it would have ended by itself.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(helpers(memory).is_empty());
}

fn good_and_small() -> Artifact {
    read_artifact(&built("test-plugins").join("shout-v1"), &Admission::default()).unwrap()
}

#[tokio::test]
async fn a_compile_that_takes_more_memory_than_it_may_costs_the_helper_and_nobody_else() {
    let memory = 96 << 20;
    let host = host(memory, LONG);
    let error = refusal(&host, &costly()).await;
    assert_eq!(error.code(), "core/compile-exhausted", "{error}");
    assert!(error.to_string().contains("memory allocation"), "{error}");
    assert!(host.prepare(&good_and_small(), &Imports::none()).await.is_ok());
    assert!(helpers(memory).is_empty());
}

#[tokio::test]
async fn a_helper_that_is_killed_costs_its_compile() {
    let memory = (2 << 30) + 2;
    let host = host(memory, LONG);
    let long = costly();
    let (error, ()) = tokio::join!(refusal(&host, &long), async {
        signal(helper(memory).await, "-KILL");
    });
    assert_eq!(error.code(), "core/compile-exhausted");
    assert!(error.to_string().contains("signal: 9"), "{error}");
    assert!(host.prepare(&good_and_small(), &Imports::none()).await.is_ok());
}

#[tokio::test]
async fn a_compile_that_nobody_waits_for_is_ended() {
    let memory = (2 << 30) + 3;
    let host = host(memory, LONG);
    let (long, imports) = (costly(), Imports::none());
    let mut first = Box::pin(host.prepare(&long, &imports));
    let mut second = Box::pin(host.prepare(&long, &imports));
    let id = tokio::select! {
        _ = &mut first => panic!("that was fast"),
        _ = &mut second => panic!("that was fast"),
        id = helper(memory) => id,
    };
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(helpers(memory), [id], "another waits for it");
    drop(second);
    // Gone, and not a zombie.
    until(|| stat(id).is_none().then_some(())).await;
    assert!(helpers(memory).is_empty());
}

#[tokio::test]
async fn a_helper_bounds_itself_and_gives_way() {
    let memory = (2 << 30) + 4;
    let host = host(memory, LONG);
    let long = costly();
    let look = async {
        let id = helper(memory).await;
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let environment = fs::read_to_string(format!("/proc/{id}/environ")).unwrap();
        let nice = stat(id).unwrap()[16].clone();
        signal(id, "-KILL");
        (limits, environment, nice)
    };
    let (_, (limits, environment, nice)) = tokio::join!(refusal(&host, &long), look);
    assert_eq!(nice, "10");
    assert!(environment.starts_with("RAYON_NUM_THREADS=") && !environment.contains("PATH"));
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    for (name, expected) in [
        ("Max data size", memory.to_string()),
        ("Max core file size", "0".to_owned()),
        ("Max file size", "0".to_owned()),
        ("Max open files", "32".to_owned()),
    ] {
        assert_eq!(limit(name), expected, "{name}");
    }
    assert_ne!(limit("Max address space"), "unlimited");
    assert_ne!(limit("Max cpu time"), "unlimited");
}

#[tokio::test]
async fn a_helper_ends_when_its_host_is_gone() {
    let memory = (2 << 30) + 5;
    let host = host(memory, LONG);
    let long = costly();
    // What the host starts its helpers with.
    let learn = async {
        let id = helper(memory).await;
        let command = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
        signal(id, "-KILL");
        command.split('\0').nth(2).unwrap().to_owned()
    };
    let (_, order) = tokio::join!(refusal(&host, &long), learn);
    let mut orphan = Command::new(env!("CARGO_BIN_EXE_plugin-host"))
        .args(["compile", &order])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = orphan.stdin.take().unwrap();
    stdin.write_all(&(long.bytes.len() as u64).to_le_bytes()).unwrap();
    stdin.write_all(&long.bytes).unwrap();
    until(|| (cpu_ticks(orphan.id()) > 20).then_some(())).await;
    drop(stdin);
    until(|| orphan.try_wait().unwrap()).await;
}

#[tokio::test]
async fn what_does_not_validate_is_refused_with_the_engines_reason() {
    // A module with one function of a type that is not there.
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    section(&mut module, 3, &[1, 7]);
    section(&mut module, 10, &[1, 2, 0, 0x0b]);
    let artifact = with_module(&module);
    let error = refusal(&host(2 << 30, LONG), &artifact).await;
    assert_eq!(error.code(), "core/compile-failed");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("unknown type"), "{reason}");
}

#[test]
fn the_command_makes_no_sense_of_nonsense() {
    for order in ["", "{}", "null", "{\"engine\":1}"] {
        let output = crate::harness::run(&["compile", order]);
        assert!(!output.status.success() && output.stdout.is_empty(), "{order}");
        assert!(!output.stderr.is_empty());
    }
}
