//! What a call through the runtime costs beside the same call on raw wasmtime: the same engine
//! settings, the same guest, one run.
//!
//! `cargo xtask bench` runs it. The table at the end is the result; criterion's figures above it say
//! how steady the machine was.
//!
//! Both sides call on a fiber, as everything that must not block an executor does. What ours adds:
//! arming the CPU meter, the deadline, two boxed futures (the adapter's and the timeout's); for the
//! pooled call a permit and a lock on the list of idle instances; for the plugin's call a look at its
//! state, its breaker and its poison memory, a second look at the clock, and its metrics. The input is copied into the
//! call by its owner in both cases. The guest takes text, so ours also checks 64 KiB for UTF-8, about
//! 3 us; a `data-processor` is spared that.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../tests/it/guests.rs"]
mod guests;

use std::{
    fs,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion};
use host_core::{
    CallBudget, Description, Embedder, EngineSettings, Imports, Plugin, Pool, PoolConfig, Prepared,
    ProcessCall, Registry, RegistrySettings, Runtime, StoreData, Terms,
};
use plugin_contract::{Explain, Lane};
use wasmtime::{
    Engine, ResourceLimiter, Store, StoreLimits, UpdateDeadline,
    component::{Component, InstancePre, Linker, TypedFunc},
};

#[derive(Default)]
struct Data(StoreLimits);

impl StoreData for Data {
    fn limiter(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.0
    }
}

const SIZES: [usize; 2] = [64, 64 << 10];

/// The echo, with room for the largest input.
fn echo() -> String {
    guests::echo().replace("(memory (export \"memory\") 1)", "(memory (export \"memory\") 4)")
}

struct Raw {
    pre: InstancePre<Data>,
}

type Process = TypedFunc<(String,), (String,)>;

impl Raw {
    fn new() -> Self {
        let engine = Engine::new(&EngineSettings::default().config(Lane::Unary)).unwrap();
        let bytes = wat::parse_str(echo()).unwrap();
        let component = Component::from_binary(&engine, &bytes).unwrap();
        Self { pre: Linker::new(&engine).instantiate_pre(&component).unwrap() }
    }

    async fn instantiate(&self) -> (Store<Data>, Process) {
        let mut store = Store::new(self.pre.engine(), Data::default());
        store.limiter(|data| &mut data.0);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        store.set_epoch_deadline(1);
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let name = "toolsku:plugin-system/plugin-api-v1@1.0.0";
        let interface = instance.get_export_index(&mut store, None, name).unwrap();
        let process = instance.get_export_index(&mut store, Some(&interface), "process").unwrap();
        let process = instance.get_typed_func(&mut store, process).unwrap();
        (store, process)
    }
}

fn ours(executor: &tokio::runtime::Runtime) -> Prepared<Data> {
    let runtime = Runtime::builder(EngineSettings::default()).build().unwrap();
    let artifact = guests::admit_wat("echo", &echo()).unwrap();
    executor.block_on(runtime.prepare(&artifact, &Imports::none())).unwrap()
}

/// Everything goes, on the usual terms.
struct Anything;

impl Embedder<Data> for Anything {
    fn terms(&self, _: &Description) -> Result<Terms<Data>, Box<dyn Explain + Send + Sync>> {
        Ok(Terms::new(Data::default))
    }
}

/// The echo as a registry has it: with state, breaker, poison memory, pool and metrics.
async fn registered(directory: &Path) -> Arc<Plugin<Data>> {
    fs::write(directory.join("plugin.toml"), guests::manifest("echo", "").to_toml()).unwrap();
    fs::write(directory.join("echo.wasm"), wat::parse_str(echo()).unwrap()).unwrap();
    let runtime = Runtime::builder(EngineSettings::default()).build().unwrap();
    let registry = Registry::new(runtime, Arc::new(Anything), RegistrySettings::default());
    let mut loaded = registry.load(directory, None).await.unwrap();
    loaded.registered.pop().unwrap()
}

fn budget() -> CallBudget {
    CallBudget::new(Duration::from_secs(10), Duration::from_secs(10))
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut criterion = Criterion::default().configure_from_args();
    let (raw, prepared) = (Raw::new(), ours(&runtime));
    let pool = Pool::new(prepared.clone(), PoolConfig::new(4), Data::default);
    let directory = tempfile::TempDir::new().unwrap();
    let plugin = runtime.block_on(registered(directory.path()));
    let mut rows = Vec::new();

    for size in SIZES {
        let input = "x".repeat(size);
        let (mut store, process) = runtime.block_on(raw.instantiate());
        let mut instance =
            runtime.block_on(prepared.start(Data::default(), &[], &budget())).unwrap();
        let mut raw_call = || {
            store.set_epoch_deadline(1);
            let call = process.call_async(&mut store, (input.clone(),));
            black_box(runtime.block_on(call).unwrap());
        };
        let mut our_call = || {
            let mut call = ProcessCall::new(input.clone().into_bytes(), "text/plain");
            black_box(runtime.block_on(instance.process(&mut call, &budget())).unwrap());
        };
        let mut pooled_call = || {
            let mut call = ProcessCall::new(input.clone().into_bytes(), "text/plain");
            runtime.block_on(async {
                let budget = budget();
                let mut lease = pool.lease(&budget).await.unwrap();
                black_box(lease.process(&mut call, &budget).await.unwrap());
            });
        };
        let mut plugin_call = || {
            let mut call = ProcessCall::new(input.clone().into_bytes(), "text/plain");
            black_box(runtime.block_on(plugin.process(&mut call)).unwrap());
        };
        let mut group = criterion.benchmark_group("echo");
        group.bench_function(BenchmarkId::new("raw", size), |b| b.iter(&mut raw_call));
        group.bench_function(BenchmarkId::new("instance", size), |b| b.iter(&mut our_call));
        group.bench_function(BenchmarkId::new("pool", size), |b| b.iter(&mut pooled_call));
        group.bench_function(BenchmarkId::new("plugin", size), |b| b.iter(&mut plugin_call));
        group.finish();
        rows.push(compare(&format!("echo {size} B, instance"), 500, &mut raw_call, &mut our_call));
        rows.push(compare(&format!("echo {size} B, pool"), 500, &mut raw_call, &mut pooled_call));
        rows.push(compare(&format!("echo {size} B, plugin"), 500, &mut raw_call, &mut plugin_call));
    }

    let input = "x".repeat(64);
    let mut raw_fresh = || {
        runtime.block_on(async {
            let (mut store, process) = raw.instantiate().await;
            black_box(process.call_async(&mut store, (input.clone(),)).await.unwrap());
        });
    };
    let mut our_fresh = || {
        let mut call = ProcessCall::new(input.clone().into_bytes(), "text/plain");
        runtime.block_on(async {
            let budget = budget();
            let mut instance = prepared.start(Data::default(), &[], &budget).await.unwrap();
            black_box(instance.process(&mut call, &budget).await.unwrap());
        });
    };
    let mut group = criterion.benchmark_group("fresh instance and echo 64 B");
    group.bench_function("raw", |b| b.iter(&mut raw_fresh));
    group.bench_function("ours", |b| b.iter(&mut our_fresh));
    group.finish();
    rows.push(compare("fresh instance, echo 64 B", 50, &mut raw_fresh, &mut our_fresh));

    println!("\n{:<28} {:>10} {:>10} {:>8} {:>10}", "", "raw", "ours", "ratio", "more");
    rows.iter().for_each(|row| println!("{row}"));
    criterion.final_summary();
}

/// Medians of calls made in turns, so that whatever else the machine does meets both alike.
fn compare(name: &str, calls: u32, raw: &mut dyn FnMut(), ours: &mut dyn FnMut()) -> String {
    let time = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..calls).for_each(|_| work());
        start.elapsed() / calls
    };
    let rounds: Vec<(Duration, Duration)> = (0..101).map(|_| (time(raw), time(ours))).collect();
    let median = |pick: fn(&(Duration, Duration)) -> Duration| {
        let mut times: Vec<Duration> = rounds.iter().map(pick).collect();
        times.sort();
        times[times.len() / 2].as_nanos() as f64
    };
    let (raw, ours) = (median(|round| round.0), median(|round| round.1));
    let (ratio, more) = (ours / raw, ours - raw);
    format!("{name:<28} {raw:>7.0} ns {ours:>7.0} ns {ratio:>7.2}x {more:>+7.0} ns")
}
