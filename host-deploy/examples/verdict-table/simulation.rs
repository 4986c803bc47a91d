//! Traffic as it might be, from a seed, and what a comparison makes of it.

use std::time::Duration;

use host_deploy::{
    Share,
    verdict::{Arm, Comparison, Finding, Outcome, Symptom, VerdictSettings},
};

/// Calls to two revisions, and how they differ.
#[derive(Clone, Copy)]
pub(crate) struct Traffic {
    /// How many calls of stable fail.
    pub(crate) failing: f64,
    /// How many more of the canary's do.
    pub(crate) failing_more: f64,
    /// The spread of latencies: the deviation of their logarithm. Their median is 2 ms.
    pub(crate) sigma: f64,
    /// A call to the canary takes this many times as long.
    pub(crate) slower: f64,
    /// Calls until the canary begins to differ.
    pub(crate) from_call: u64,
    /// Every now and then a few hundred calls in a row fail twenty times as often and take four
    /// times as long, in both arms.
    pub(crate) bursts: bool,
}

impl Traffic {
    /// Both revisions alike, latencies with some spread.
    pub(crate) const CALM: Self = Self {
        failing: 0.0,
        failing_more: 0.0,
        sigma: 0.5,
        slower: 1.0,
        from_call: 0,
        bursts: false,
    };
}

/// Harm that was called.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) symptom: Symptom,
    /// Calls since the canary began to differ.
    pub(crate) calls: u64,
    /// The canary's among them.
    pub(crate) canary_calls: u64,
}

/// Draws latencies of median 1 in a few nanoseconds: one of 65,536 equal slices of a lognormal law.
pub(crate) struct Latencies(Vec<f32>);

impl Latencies {
    pub(crate) fn new(sigma: f64) -> Self {
        let slices = 1u32 << 16;
        let quantile = |i| normal_quantile((f64::from(i) + 0.5) / f64::from(slices));
        Self((0..slices).map(|i| (sigma * quantile(i)).exp() as f32).collect())
    }
}

/// One step of a rollout. Looks at the finding after every call.
pub(crate) fn step(
    random: &mut fastrand::Rng,
    traffic: &Traffic,
    latencies: &Latencies,
    share: Share,
    calls: u64,
) -> Option<Found> {
    let mut comparison = Comparison::new(VerdictSettings::default());
    let share = f32::from(share.basis_points()) / 10_000.0;
    let (mut burst, mut canary_calls) = (false, 0);
    for call in 0..calls {
        let arm = if random.f32() < share { Arm::Canary } else { Arm::Stable };
        burst = traffic.bursts && (random.u16(..1_000) < if burst { 995 } else { 1 });
        let (mut failing, mut ns) = (traffic.failing, 2e6);
        if burst {
            (failing, ns) = (failing * 20.0, ns * 4.0);
        }
        if arm == Arm::Canary && call >= traffic.from_call {
            (failing, ns) = (failing + traffic.failing_more, ns * traffic.slower);
            canary_calls += 1;
        }
        ns *= f64::from(latencies.0[usize::from(random.u16(..))]);
        let latency = Duration::from_nanos(ns as u64);
        comparison.observe(arm, Outcome { failed: random.f64() < failing, latency });
        if let Finding::Harm(harm) = comparison.finding() {
            let calls = (call + 1).saturating_sub(traffic.from_call);
            return Some(Found { symptom: harm.symptom, calls, canary_calls });
        }
    }
    None
}

/// Rollouts of a candidate, with steps of 1 %, 5 % and 25 %, that are rolled back. On all cores.
pub(crate) fn rolled_back(traffic: &Traffic, rollouts: u64, calls: u64) -> usize {
    let latencies = Latencies::new(traffic.sigma);
    let steps =
        [100, 500, 2_500].map(|share| Share::from_basis_points(share).unwrap_or(Share::NONE));
    let runs = on_all_cores(rollouts, |random| {
        steps.iter().find_map(|share| step(random, traffic, &latencies, *share, calls))
    });
    runs.into_iter().flatten().count()
}

/// What is found in so many runs of one step. On all cores.
pub(crate) fn found(traffic: &Traffic, share: Share, runs: u64, calls: u64) -> Vec<Option<Found>> {
    let latencies = Latencies::new(traffic.sigma);
    on_all_cores(runs, |random| step(random, traffic, &latencies, share, calls))
}

/// Each run has a seed of its own, the same on whatever core it is. Neighbours are spread far, for
/// the generator begins alike for seeds that are.
fn on_all_cores<T: Send>(runs: u64, run: impl Fn(&mut fastrand::Rng) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let part = |core| {
        let mine = (0..runs).filter(move |seed| seed % cores == core);
        let spread = |seed: u64| seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mine.map(|seed| run(&mut fastrand::Rng::with_seed(spread(seed + 1)))).collect::<Vec<T>>()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..cores).map(|core| scope.spawn(move || part(core))).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    })
}

/// P. Acklam's rational approximation, to 1e-9: far finer than the slices.
fn normal_quantile(p: f64) -> f64 {
    let horner = |terms: &[f64], x: f64| terms.iter().fold(0.0, |sum, term| sum * x + term);
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    if p < 0.02425 {
        let q = (-2.0 * p.ln()).sqrt();
        let above = [
            -7.784894002430293e-3,
            -3.223964580411365e-1,
            -2.400758277161838,
            -2.549732539343734,
            4.374664141464968,
            2.938163982698783,
        ];
        let below =
            [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1.0];
        return horner(&above, q) / horner(&below, q);
    }
    let q = p - 0.5;
    let above = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.38357751867269e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    let below = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
        1.0,
    ];
    horner(&above, q * q) * q / horner(&below, q * q)
}
