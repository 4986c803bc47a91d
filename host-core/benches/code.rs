//! What it costs to have compiled code: compiling it, finding it on disk, finding it in memory.
//!
//! `cargo xtask bench` runs it, on the real plugins that `cargo xtask build-plugins` leaves. Each figure is
//! that of a whole `Runtime::prepare`, linking included, which is some tens of microseconds. Files come from
//! the system's own cache, as they do for all but the first host after a restart of the machine.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use host_core::{
    Admission, Artifact, CacheSettings, CodeSettings, EngineSettings, Imports, Runtime, StoreData,
    discover,
};
use plugin_contract::Explain;
use wasmtime::{ResourceLimiter, StoreLimits, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

struct Data {
    wasi: WasiCtx,
    table: ResourceTable,
    limits: StoreLimits,
}

impl WasiView for Data {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl StoreData for Data {
    fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }
}

/// A host that keeps code in memory or not, and on disk where it is told.
fn host(artifact: &Artifact, memory_bytes_max: u64, directory: Option<&Path>) -> Runtime<Data> {
    let mut settings = CodeSettings::default();
    settings.memory_bytes_max = memory_bytes_max;
    settings.cache = directory.map(CacheSettings::new);
    let imports: Vec<String> = artifact
        .description
        .info
        .imports
        .iter()
        .filter_map(|import| import.interface.as_ref())
        .map(|name| format!("{}/{}", name.package, name.interface))
        .collect();
    let imports: Vec<&str> = imports.iter().map(String::as_str).collect();
    Runtime::builder(EngineSettings::default())
        .link(&imports, wasmtime_wasi::p2::add_to_linker_async)
        .code(settings)
        .build()
        .unwrap()
}

fn main() {
    // Criterion's arguments mean nothing here, and `cargo test --benches` is to be quick.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/plugins");
    let Ok(found) = discover(&plugins, Admission::default()) else {
        println!("no plugins in {}: run `cargo xtask build-plugins`", plugins.display());
        return;
    };
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!(
        "{:<18} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "", "component", "file", "compile", "disk", "memory", "c/disk", "c/memory"
    );
    for artifact in found.filter_map(|found| found.artifact.ok()) {
        let directory = tempfile::tempdir().unwrap();
        let time = |host: &Runtime<Data>, times: usize| {
            let mut taken: Vec<Duration> = (0..times)
                .map(|_| {
                    let start = Instant::now();
                    let prepared = executor.block_on(host.prepare(&artifact, &Imports::none()));
                    let taken = start.elapsed();
                    // Those that import what only a whole host offers cannot be linked here.
                    let linked = prepared.map(drop).map_err(|error| error.code());
                    assert!(
                        linked.is_ok() || linked == Err("core/contract-mismatch"),
                        "{linked:?}"
                    );
                    taken
                })
                .collect();
            taken.sort();
            taken[times / 2].as_secs_f64() * 1e3
        };
        let compile = time(&host(&artifact, 0, None), 3);
        time(&host(&artifact, 0, Some(directory.path())), 1);
        let from_disk = host(&artifact, 0, Some(directory.path()));
        let disk = time(&from_disk, 101);
        assert_eq!(from_disk.code_metrics().hits_disk, 101);
        let in_memory = host(&artifact, u64::MAX, None);
        time(&in_memory, 1);
        let memory = time(&in_memory, 1001);
        println!(
            "{:<18} {:>6.2} MB {:>6.2} MB {:>7.0} ms {:>6.2} ms {:>6.3} ms {:>8.0}x {:>8.0}x",
            artifact.description.name().as_str(),
            artifact.bytes.len() as f64 / 1e6,
            from_disk.code_metrics().disk_bytes as f64 / 1e6,
            compile,
            disk,
            memory,
            compile / disk,
            compile / memory,
        );
    }
}
