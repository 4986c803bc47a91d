//! How a well-behaved plugin and the HTTP surface fare beside four plugins that spin.
//!
//! `cargo xtask bench` runs it with the others. One client asks over one connection, as a probe or a caller
//! would; the spinning calls go on all the while, each begun anew when its budget is used up.
//!
//! What was found: a guest that spins gives way at every tick of the engine, so that with more spinning guests
//! than cores a request waits for about as many ticks as there are guests before it in the queue. Ticks of 10 ms
//! made that 12 ms at the median and 35 ms at p99; ticks of 1 ms are what is shown here. Ticking costs one
//! thread that wakes a thousand times a second, 0.2 % of a core, and a guest that computes gives way once
//! a millisecond, which is lost in the noise of its own work.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

#[path = "../../host-core/tests/it/guests.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod guests;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use host::{
    EngineSettings, PluginHost, ProcessCall,
    http::{HttpSettings, Server},
};
use tempfile::TempDir;

/// Plugins that spin, each with one call at a time.
const SPINNING: usize = 4;

/// Requests of each kind that are measured.
const REQUESTS: usize = 2_000;

fn main() {
    let directory = TempDir::new().unwrap();
    let echo = "(call $echo (local.get $ptr) (local.get $len))";
    put(directory.path(), "neighbour", echo);
    for at in 0..SPINNING {
        put(directory.path(), &format!("spinning-{at}"), "(loop $on (br $on)) (unreachable)");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let mut engine = EngineSettings::default();
    if let Some(ms) = std::env::var("TICK_MS").ok().and_then(|text| text.parse().ok()) {
        engine.tick = Duration::from_millis(ms);
    }
    println!("{SPINNING} spinning plugins, ticks of {:?}, {} threads", engine.tick, threads());
    let host = PluginHost::builder().plugins(directory.path()).engine(engine).build();
    let host = runtime.block_on(host).unwrap();
    let address = "127.0.0.1:0".parse().unwrap();
    let bound = Server::bind(host.clone(), HttpSettings::default(), address);
    let server = runtime.block_on(bound).unwrap();
    let base = format!("http://{}", server.address());
    runtime.spawn(server.run(std::future::pending()));

    measure(&base, "alone");
    let over = Arc::new(AtomicBool::new(false));
    for at in 0..SPINNING {
        let (host, over) = (host.clone(), over.clone());
        runtime.spawn(async move {
            let plugin = format!("spinning-{at}").parse().unwrap();
            while !over.load(Ordering::Relaxed) {
                let call = ProcessCall::new(b"x".to_vec(), "text/plain");
                let _ = host.process(&plugin, call).await;
            }
        });
    }
    std::thread::sleep(Duration::from_millis(200));
    measure(&base, "attacked");
    over.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(Duration::from_secs(1));
}

fn put(directory: &Path, name: &str, body: &str) {
    let folder = directory.join(name);
    fs::create_dir_all(&folder).unwrap();
    let manifest =
        guests::manifest(name, "[permissions]\ncpu-time = \"60s\"\ntimeout = \"60s\"").to_toml();
    fs::write(folder.join("plugin.toml"), manifest).unwrap();
    let component = wat::parse_str(guests::v1(body, "")).unwrap();
    fs::write(folder.join(format!("{name}.wasm")), component).unwrap();
}

fn measure(base: &str, when: &str) {
    // The client wants to know whose cryptography to use, even where it uses none.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let health = || client.get(format!("{base}/healthz")).send().unwrap();
    let call = || {
        let url = format!("{base}/v1/plugins/neighbour/process");
        client.post(url).header("content-type", "text/plain").body("hello").send().unwrap()
    };
    show(when, "GET /healthz", health);
    show(when, "a neighbour's call", call);
}

fn show(when: &str, what: &str, ask: impl Fn() -> reqwest::blocking::Response) {
    let mut times: Vec<Duration> = (0..REQUESTS)
        .map(|_| {
            let start = Instant::now();
            let answer = ask();
            assert_eq!(answer.status().as_u16(), 200);
            let _ = answer.bytes().unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    let ms = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    println!("  {when:<9} {what:<19} p50 {:>7.2} ms   p99 {:>7.2} ms", ms(50), ms(99));
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |threads| threads.get())
}
