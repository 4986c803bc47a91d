//! Prints the tables of `docs/rollout-verdicts.md`, in some minutes:
//! `cargo run --release -p host-deploy --example verdict-table`.

use std::{hint::black_box, time::Instant};

use host_deploy::{
    Share,
    verdict::{Arm, Comparison, Outcome, Symptom, VerdictSettings},
};

mod simulation;
use simulation::{Traffic, found, rolled_back};

fn main() {
    let started = Instant::now();
    println!("observe: {:.0} ns a call\n", cost_ns());
    false_alarms();
    detections();
    eprintln!("took {:.0} s", started.elapsed().as_secs_f64());
}

/// 1,000 rollouts each, of three steps of 60,000 calls.
fn false_alarms() {
    println!("| calls that fail | latencies | rolled back, of 1,000 |\n|---|---|---|");
    for failing in [0.0, 0.001, 0.01, 0.05] {
        for (name, sigma, bursts, slower) in [
            ("sigma 0.5", 0.5, false, 1.0),
            ("sigma 1", 1.0, false, 1.0),
            ("sigma 1, bursts", 1.0, true, 1.0),
            ("sigma 0.5, canary 5 % slower", 0.5, false, 1.05),
        ] {
            let traffic = Traffic { failing, sigma, bursts, slower, ..Traffic::CALM };
            let rolled_back = rolled_back(&traffic, 1_000, 60_000);
            println!("| {:.1} % | {name} | {rolled_back} |", failing * 100.0);
        }
    }
    let many = rolled_back(&Traffic { failing: 0.01, ..Traffic::CALM }, 10_000, 60_000);
    println!("| 1.0 % | sigma 0.5 | {many} of 10,000 |");
}

/// 400 runs each, of one step of 300,000 calls.
fn detections() {
    println!(
        "\n| harm | share | found in 60,000 calls | in 300,000 | canary calls, median | 95 % |"
    );
    println!("|---|---|---|---|---|---|");
    let errors = |failing, failing_more| Traffic { failing, failing_more, ..Traffic::CALM };
    let slower = |slower, sigma| Traffic { failing: 0.01, slower, sigma, ..Traffic::CALM };
    let late = |traffic| Traffic { from_call: 150_000, ..traffic };
    for (name, traffic) in [
        ("errors 0 -> 2 %", errors(0.0, 0.02)),
        ("errors 0.1 -> 2.1 %", errors(0.001, 0.02)),
        ("errors 1 -> 3 %", errors(0.01, 0.02)),
        ("errors 5 -> 7 %", errors(0.05, 0.02)),
        ("errors 1 -> 10 %", errors(0.01, 0.09)),
        ("errors 0 -> 100 %", errors(0.0, 1.0)),
        ("30 % slower, sigma 0.5", slower(1.3, 0.5)),
        ("30 % slower, sigma 1", slower(1.3, 1.0)),
        ("twice as slow, sigma 0.5", slower(2.0, 0.5)),
        ("errors 1 -> 3 %, after 150,000 calls", late(errors(0.01, 0.02))),
        ("30 % slower, sigma 0.5, after 150,000 calls", late(slower(1.3, 0.5))),
    ] {
        for share in [100, 500, 2_500, 5_000].map(Share::from_basis_points).into_iter().flatten() {
            detection(name, &traffic, share);
        }
    }
}

fn detection(name: &str, traffic: &Traffic, share: Share) {
    let runs = found(traffic, share, 400, 300_000);
    let percent = |part: usize| part as f64 * 100.0 / runs.len() as f64;
    let found = || runs.iter().flatten();
    let early = percent(found().filter(|found| found.calls <= 60_000).count());
    let all = percent(found().count());
    let mut canary_calls: Vec<_> = found().map(|found| found.canary_calls).collect();
    canary_calls.sort_unstable();
    let within = |percent: usize| match canary_calls.get(runs.len() * percent / 100) {
        Some(calls) => calls.to_string(),
        None => "-".to_owned(),
    };
    let (median, most) = (within(50), within(95));
    println!("| {name} | {share} | {early:.1} % | {all:.1} % | {median} | {most} |");

    let by_errors = traffic.failing_more > 0.0;
    let misnamed = found().filter(|found| (found.symptom == Symptom::Errors) != by_errors).count();
    if misnamed > 0 {
        eprintln!("{name} at {share}: {misnamed} called by the other symptom");
    }
}

fn cost_ns() -> f64 {
    let mut random = fastrand::Rng::with_seed(1);
    let outcomes: Vec<_> = (0..1 << 16)
        .map(|_| {
            let arm = if random.u8(0..20) == 0 { Arm::Canary } else { Arm::Stable };
            let latency = std::time::Duration::from_nanos(random.u64(1_000_000..4_000_000));
            (arm, Outcome { failed: random.u8(0..100) == 0, latency })
        })
        .collect();
    let mut comparison = Comparison::new(VerdictSettings::default());
    let (started, rounds) = (Instant::now(), 100);
    for _ in 0..rounds {
        outcomes.iter().for_each(|(arm, outcome)| comparison.observe(*arm, *outcome));
    }
    black_box(comparison.finding());
    started.elapsed().as_secs_f64() * 1e9 / (rounds * outcomes.len()) as f64
}
