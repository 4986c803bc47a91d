//! What it costs to go through a plugin: streams beside a raw pipe, and one plugin that calls another in its
//! two forms.
//!
//! `cargo xtask bench` runs it with the others. Both sides of a row run in turns in one process, with the same
//! engine settings and the same guest, and medians are shown.
//!
//! What was found: the consumer of the raw pipe decides what it is a yardstick of. One that drops what it takes
//! makes 20 GB/s of it; one that copies it into a buffer, as whoever hands it on has to, 12.7. The host's output
//! is read by another task: it allocates, copies and hands over each chunk. Where the rest of the time goes, in
//! streams and in calls between plugins, was not profiled.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

mod raw;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use host::{HostConfig, PluginHost, ProcessCall, StreamCall, StreamInput};

/// What goes through in one run.
const STREAM_BYTES: u64 = 256 << 20;

/// Runs of each stream.
const STREAMS: usize = 7;

/// Calls of each kind.
const CALLS: usize = 5_000;

fn main() {
    // `cargo test` runs benchmarks, too, to see that they build.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        streams().await;
        plugin_to_plugin().await;
    });
}

fn plugins() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../dist/test-plugins");
    assert!(directory.is_dir(), "run `cargo xtask build-plugins`");
    directory
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

async fn host(plugin: &str, config: &str) -> PluginHost {
    let config: HostConfig = config.parse().unwrap();
    let builder = PluginHost::builder().config(config).plugins(plugins());
    let host = builder.only(plugin.parse().unwrap()).build().await.unwrap();
    assert!(host.refused().is_empty(), "{:?}", host.refused());
    host
}

async fn streams() {
    let host = host("odd-stream", "").await;
    let component = std::fs::read(plugins().join("odd-stream/odd-stream.wasm")).unwrap();
    let raw = raw::Pipe::new(&component);
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS {
        let began = Instant::now();
        assert_eq!(raw.run(STREAM_BYTES).await, STREAM_BYTES);
        theirs.push(began.elapsed());
        let began = Instant::now();
        assert_eq!(through(&host, STREAM_BYTES).await, STREAM_BYTES);
        ours.push(began.elapsed());
    }
    let rate = |time: Duration| STREAM_BYTES as f64 / time.as_secs_f64() / 1e6;
    let (theirs, ours) = (rate(median(theirs)), rate(median(ours)));
    println!("stream of {} MiB, copied by a guest, MB/s:", STREAM_BYTES >> 20);
    println!("  raw run_concurrent pipe  {theirs:8.0}");
    println!("  through the host         {ours:8.0}   {:.2} x", ours / theirs);
}

async fn through(host: &PluginHost, bytes: u64) -> u64 {
    let chunk = Bytes::from(vec![b'a'; 64 << 10]);
    let input: StreamInput = Box::pin(stream::repeat(chunk).take((bytes >> 16) as usize).map(Ok));
    let call = StreamCall::new("text/plain");
    let mut body = host.stream(&"odd-stream".parse().unwrap(), call, input).await.unwrap().body;
    let mut passed = 0;
    while let Some(chunk) = body.next().await {
        passed += chunk.unwrap().len() as u64;
    }
    passed
}

async fn plugin_to_plugin() {
    let agreed = "[plugins.framing-composed]\ncompose = [\"word-count\"]\n";
    let isolated = host("framing-decorator", "").await;
    let composed = host("framing-composed", agreed).await;
    let pairs = [
        ("the inner plugin alone", &isolated, "word-count"),
        ("through another, isolated", &isolated, "framing-decorator"),
        ("through another, composed", &composed, "framing-composed"),
    ];
    let mut times = [const { Vec::new() }; 3];
    for round in 0..CALLS + 100 {
        for (at, (_, host, plugin)) in pairs.iter().enumerate() {
            let call = ProcessCall::new(b"one two three".to_vec(), "text/plain");
            let began = Instant::now();
            host.process(&plugin.parse().unwrap(), call).await.unwrap();
            if round >= 100 {
                times[at].push(began.elapsed());
            }
        }
    }
    println!("a call of 13 bytes, us at the median:");
    for ((name, ..), times) in pairs.iter().zip(times) {
        println!("  {name:<26} {:8.1}", median(times).as_secs_f64() * 1e6);
    }
}
