//! Swaps under load: whether each call is answered once, by who served when it came or by who came after.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use host::{Asked, Caller, DeployOptions, PluginHost, PluginRef, ProcessCall, Then};

use crate::chameleon::Chameleon;

/// Most versions: those that are told by three digits.
const VERSIONS_MAX: u64 = 900;

/// What happens while a call is made: nothing yet; later, nothing just then; or one of the two.
const STEADY: u8 = 0;
const BETWEEN: u8 = 1;
const DEPLOYING: u8 = 2;
const SWAPPING: u8 = 3;

/// Callers at one time; there are as many instances.
const CALLERS: u64 = 4;

/// What was seen.
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) swaps: u64,
    /// Of calls before the first version came, and of those since.
    pub(crate) steady: Vec<Duration>,
    pub(crate) amid: Vec<Duration>,
    /// Of the latter, those that met a version being taken in, and those that met a swap.
    pub(crate) deploying: Vec<Duration>,
    pub(crate) swapping: Vec<Duration>,
    /// Longest time from asking for a swap to the new one serving.
    pub(crate) swap_max: Duration,
    /// How long it took to go back, while nobody called.
    pub(crate) rollbacks: Vec<Duration>,
}

fn version(number: u64) -> String {
    format!("{}.{}.{}", 1 + number / 100, number / 10 % 10, number % 10)
}

/// What one caller saw.
#[derive(Default)]
struct Seen {
    /// By version and instance, which of its calls were answered.
    answered: HashMap<(u64, String), Vec<u64>>,
    /// By what happened meanwhile.
    times: [Vec<Duration>; 4],
}

/// Makes `calls` calls while one version takes the place of another `swaps` times.
///
/// # Panics
/// If a call is lost, executed twice, or answered by a version that was replaced before it came.
pub(crate) async fn soak(calls: u64, swaps: u64) -> Report {
    assert!(swaps < VERSIONS_MAX);
    let data = tempfile::TempDir::new().unwrap();
    let host = PluginHost::builder().data_dir(data.path()).build().await.unwrap();
    let deploy = async |number: u64, then| {
        let guest = Chameleon::version(&version(number)).telling();
        let options = DeployOptions { then, ..DeployOptions::default() };
        host.deploy(guest.upload(), options, &Asked::default()).await.unwrap();
    };
    // Compiled before: that is not what is measured. Most are forgotten again; their code stays in the cache.
    deploy(0, Then::Activate).await;
    for number in 1..=swaps {
        deploy(number, Then::Stage).await;
    }
    let (made, serving) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let phase = Arc::new(AtomicU8::new(STEADY));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (host, made) = (host.clone(), made.clone());
            let (serving, phase) = (serving.clone(), phase.clone());
            tokio::spawn(async move { call(&host, calls, &made, &serving, &phase).await })
        })
        .collect();
    let name = "chameleon".parse().unwrap();
    let mut swap_max = Duration::ZERO;
    for number in 1..=swaps {
        // A tenth of the calls comes before the first; then they are spread.
        let steady = calls / 10;
        while made.load(Ordering::Relaxed) < steady + (calls - steady) / (swaps + 1) * number {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        phase.store(DEPLOYING, Ordering::SeqCst);
        deploy(number, Then::Stage).await;
        phase.store(SWAPPING, Ordering::SeqCst);
        let since = Instant::now();
        let next = version(number).parse().unwrap();
        host.activate(&name, &next, &Asked::default()).await.unwrap();
        swap_max = swap_max.max(since.elapsed());
        serving.store(number, Ordering::SeqCst);
        // What drains is part of it.
        // Looked at now and then: looking takes from what is measured.
        while host.metrics().len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        phase.store(BETWEEN, Ordering::SeqCst);
    }
    let mut all = Seen::default();
    for caller in callers {
        let seen = caller.await.unwrap();
        for (instance, numbers) in seen.answered {
            all.answered.entry(instance).or_default().extend(numbers);
        }
        for (all, seen) in all.times.iter_mut().zip(seen.times) {
            all.extend(seen);
        }
    }
    let answered: usize = all.answered.values().map(Vec::len).sum();
    assert_eq!(answered as u64, calls, "each call is answered");
    for ((version, instance), mut numbers) in all.answered {
        numbers.sort_unstable();
        // A number that is missing was executed, and its answer went to nobody.
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected, "each execution is one answer: {version} {instance}");
    }
    let mut rollbacks = Vec::new();
    for _ in 0..20 {
        let since = Instant::now();
        host.roll_back(&name, None, &Asked::default()).await.unwrap();
        rollbacks.push(since.elapsed());
    }
    host.shutdown(Duration::from_secs(10)).await;
    let [steady, between, deploying, swapping] = all.times;
    let amid = [between, deploying.clone(), swapping.clone()].concat();
    Report { calls, swaps, steady, amid, deploying, swapping, swap_max, rollbacks }
}

async fn call(
    host: &PluginHost,
    calls: u64,
    made: &AtomicU64,
    serving: &AtomicU64,
    phase: &AtomicU8,
) -> Seen {
    let plugin: PluginRef = "chameleon".parse().unwrap();
    let mut seen = Seen::default();
    loop {
        let number = made.fetch_add(1, Ordering::Relaxed);
        if number >= calls {
            return seen;
        }
        let mut call = ProcessCall::new(b"x".to_vec(), "text/plain");
        call.caller = Caller::new(number.to_string().into());
        let (served, began) = (serving.load(Ordering::SeqCst), phase.load(Ordering::SeqCst));
        let since = Instant::now();
        let answer = host.process(&plugin, call).await.unwrap();
        let took = since.elapsed();
        let met = began.max(phase.load(Ordering::SeqCst));
        seen.times[usize::from(met)].push(took);
        let answer = String::from_utf8(answer.output).unwrap();
        let words: Vec<&str> = answer.split(' ').collect();
        let [version, "x", instance, count] = words[..] else { panic!("{answer}") };
        let digits: u64 = version.replace('.', "").parse().unwrap();
        let answered_by = digits - 100;
        assert!(answered_by >= served, "answered by {version}, which was replaced before");
        let instance = (answered_by, instance.to_owned());
        seen.answered.entry(instance).or_default().push(count.parse().unwrap());
        tokio::task::yield_now().await;
    }
}
