//! A million calls over two hundred swaps: none lost, none executed twice, none answered by who was replaced
//! before; and what a swap costs those who call meanwhile. `cargo xtask soak` runs it.
//!
//! Versions are compiled before. The figures are of one process with four callers on as many cores as there are.

#![expect(clippy::unwrap_used, reason = "a bench")]

#[path = "../tests/common/chameleon.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod chameleon;
#[path = "../tests/common/soak.rs"]
mod soak;

use std::{process::ExitCode, time::Duration};

use soak::{Report, soak};

/// Most that calls may take longer while revisions are swapped: at the 99th percentile, as a ratio.
const RATIO_MAX: f64 = 2.0;

fn argument(name: &str, default: u64) -> u64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |value| value.parse().unwrap())
}

/// The time that so many of a thousand stay within.
fn quantile(times: &mut [Duration], per_mille: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * per_mille / 1_000).copied().unwrap_or_default()
}

#[tokio::main]
async fn main() -> ExitCode {
    let (calls, swaps) = (argument("--calls", 1_000_000), argument("--swaps", 200));
    let Report { calls, swaps, mut steady, mut swapping, swap_max, mut rollbacks } =
        soak(calls, swaps).await;
    println!(
        "{calls} calls over {swaps} swaps: none lost, none executed twice, none by who was replaced before"
    );
    println!("{:<10} {:>10} {:>12} {:>12} {:>12}", "", "calls", "p50", "p99", "max");
    for (name, times) in [("steady", &mut steady), ("swapping", &mut swapping)] {
        let [p50, p99] = [500, 990].map(|per_mille| quantile(times, per_mille));
        let max = times.last().copied().unwrap_or_default();
        println!("{name:<10} {:>10} {p50:>12?} {p99:>12?} {max:>12?}", times.len());
    }
    let [steady, swapping] = [&mut steady, &mut swapping].map(|times| quantile(times, 990));
    let ratio = swapping.as_secs_f64() / steady.max(Duration::from_nanos(1)).as_secs_f64();
    println!("p99 while swapping: {ratio:.2} x steady; longest swap {swap_max:?}");
    let [p50, max] = [500, 999].map(|per_mille| quantile(&mut rollbacks, per_mille));
    println!("going back, from the compiled cache: p50 {p50:?}, longest {max:?}");
    match ratio <= RATIO_MAX {
        true => ExitCode::SUCCESS,
        false => {
            println!("more than {RATIO_MAX} x is too much");
            ExitCode::FAILURE
        }
    }
}
