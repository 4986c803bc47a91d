//! A million calls, a tenth of them in peace, then on while one version is taken in and takes the place of another
//! two hundred times, about every 25 ms: none lost, none executed twice, none answered by who was replaced before;
//! and what that costs those who call. `cargo xtask soak` runs it.
//!
//! Versions are compiled before. The figures are of one process with four callers on as many cores as there are. The
//! few calls that meet a swap itself, of about a millisecond, wait for cores and for new instances' memory: the more
//! quickly a swap is over, the fewer they are, and the larger is the share of them that noticed.

#![expect(clippy::unwrap_used, reason = "a bench")]

#[path = "../tests/common/chameleon.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod chameleon;
#[path = "../tests/common/soak.rs"]
mod soak;

use std::{process::ExitCode, time::Duration};

use soak::{Report, soak};

/// Most that calls may take longer amid swaps than before them: at the 99th percentile, as a ratio.
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
    let mut report = soak(calls, swaps).await;
    let Report { calls, swaps, swap_max, .. } = report;
    println!(
        "{calls} calls over {swaps} swaps: none lost, none executed twice, none by who was replaced before"
    );
    println!("{:<18} {:>10} {:>12} {:>12} {:>12}", "", "calls", "p50", "p99", "max");
    for (name, times) in [
        ("steady", &mut report.steady),
        ("amid swaps", &mut report.amid),
        ("  met a deploy", &mut report.deploying),
        ("  met a swap", &mut report.swapping),
    ] {
        let [p50, p99] = [500, 990].map(|per_mille| quantile(times, per_mille));
        let max = times.last().copied().unwrap_or_default();
        println!("{name:<18} {:>10} {p50:>12?} {p99:>12?} {max:>12?}", times.len());
    }
    let p99 = |times| quantile(times, 990).max(Duration::from_nanos(1)).as_secs_f64();
    let ratio = p99(&mut report.amid) / p99(&mut report.steady);
    println!("p99 amid swaps: {ratio:.2} x steady; longest swap {swap_max:?}");
    let [p50, max] = [500, 999].map(|per_mille| quantile(&mut report.rollbacks, per_mille));
    println!("going back, from the compiled cache: p50 {p50:?}, longest {max:?}");
    match ratio <= RATIO_MAX {
        true => ExitCode::SUCCESS,
        false => {
            println!("more than {RATIO_MAX} x is too much");
            ExitCode::FAILURE
        }
    }
}
