//! Streams, clocks, random numbers, memory, and the way out.

use std::hint::black_box;

use wasip2::{
    cli::{environment, stderr, stdin, stdout},
    clocks::monotonic_clock::{subscribe_duration, subscribe_instant},
    filesystem::preopens::get_directories,
    io::{poll::poll, streams::OutputStream},
    random::{insecure::get_insecure_random_bytes, random::get_random_bytes},
};

use crate::{FORGED, Order, spin};

pub(crate) fn obey(order: &Order<'_>) -> Option<String> {
    let number = |at| order.number(at);
    Some(match order.command {
        "ok" => "fine".to_owned(),
        "spin" => spin(),
        "exit" => std::process::exit(number(0) as i32),
        "recurse" => recurse(0).to_string(),
        "grow" => grow(),
        "seen" => seen(),
        "stdout-flood" => flood(&stdout::get_stdout(), number(0)),
        "stderr-flood" => flood(&stderr::get_stderr(), number(0)),
        "stderr-forged" => {
            eprintln!("{FORGED}");
            "said".to_owned()
        }
        // More at once than `check-write` allows.
        "stdout-write" => told(stdout::get_stdout().write(&vec![b'x'; number(0) as usize])),
        "stdout-zeroes" => told(stdout::get_stdout().write_zeroes(number(0))),
        "stdout-zeroes-flush" => {
            told(stdout::get_stdout().blocking_write_zeroes_and_flush(number(0)))
        }
        "stdin-read" => told(stdin::get_stdin().read(number(0)).map(|bytes| bytes.len())),
        "stdin-blocking" => {
            told(stdin::get_stdin().blocking_read(number(0)).map(|bytes| bytes.len()))
        }
        "stdin-skip" => told(stdin::get_stdin().skip(number(0))),
        "stdin-splice" => told(stdout::get_stdout().splice(&stdin::get_stdin(), number(0))),
        "random" => get_random_bytes(number(0)).len().to_string(),
        "random-insecure" => get_insecure_random_bytes(number(0)).len().to_string(),
        "random-loop" => loop {
            black_box(get_random_bytes(number(0)));
        },
        "sleep" => {
            subscribe_duration(number(0)).block();
            "woke".to_owned()
        }
        "sleep-until" => {
            subscribe_instant(number(0)).block();
            "woke".to_owned()
        }
        "poll-zero" => loop {
            subscribe_duration(0).block();
        },
        "poll-many" => {
            let (soon, never) = (subscribe_duration(0), subscribe_duration(u64::MAX));
            let mut all = vec![&never; number(0) as usize];
            all.push(&soon);
            poll(&all).len().to_string()
        }
        "poll-nothing" => poll(&[]).len().to_string(),
        "pollables" => {
            let held: Vec<_> = (0..number(0)).map(subscribe_duration).collect();
            held.len().to_string()
        }
        _ => return None,
    })
}

fn told<R: std::fmt::Debug, E: std::fmt::Debug>(answer: Result<R, E>) -> String {
    format!("{answer:?}")
}

fn flood(stream: &OutputStream, times: u64) -> String {
    let block = [b'x'; 64 << 10];
    for _ in 0..times {
        if let Err(error) = stream.write(&block) {
            return format!("{error:?}");
        }
    }
    "flooded".to_owned()
}

/// What of its surroundings a guest can see.
fn seen() -> String {
    let roots: Vec<_> = get_directories().into_iter().map(|(_, path)| path).collect();
    let (env, arguments) = (environment::get_environment(), environment::get_arguments());
    format!("{env:?} {arguments:?} {:?} {roots:?}", environment::initial_cwd())
}

/// Asks for one page after another, though it gets none any more.
fn grow() -> String {
    loop {
        black_box(core::arch::wasm32::memory_grow(0, 1));
    }
}

/// Uses the engine's stack and next to none of the memory's, so that it is the former that ends.
#[expect(unconditional_recursion, reason = "what it is for")]
#[inline(never)]
fn recurse(depth: u64) -> u64 {
    recurse(black_box(depth) + 1).wrapping_add(black_box(depth))
}
