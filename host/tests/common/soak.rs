//! Swaps under load: whether each call is answered once, by who served when it came or by who came after.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use host::{
    Asked, Caller, DeployOptions, DeploySettings, PluginHost, PluginRef, ProcessCall, Then,
};

use crate::chameleon::Chameleon;

/// Most versions: those that are told by three digits.
const VERSIONS_MAX: u64 = 900;

/// Callers at one time; there are as many instances.
const CALLERS: u64 = 4;

/// What was seen.
pub(crate) struct Report {
    pub(crate) calls: u64,
    pub(crate) swaps: u64,
    /// Of calls that met no swap, and of those that did.
    pub(crate) steady: Vec<Duration>,
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
    steady: Vec<Duration>,
    swapping: Vec<Duration>,
}

/// Makes `calls` calls while one version takes the place of another `swaps` times.
///
/// # Panics
/// If a call is lost, executed twice, or answered by a version that was replaced before it came.
pub(crate) async fn soak(calls: u64, swaps: u64) -> Report {
    assert!(swaps < VERSIONS_MAX);
    let data = tempfile::TempDir::new().unwrap();
    let mut settings = DeploySettings::default();
    settings.retention.others = swaps as usize + 1;
    let builder = PluginHost::builder().data_dir(data.path()).deploy(settings);
    let host = builder.build().await.unwrap();
    // Compiled before: that is not what is measured.
    for number in 0..=swaps {
        let guest = Chameleon::version(&version(number)).telling();
        let then = if number == 0 { Then::Activate } else { Then::Stage };
        let options = DeployOptions { then, ..DeployOptions::default() };
        host.deploy(guest.upload(), options, &Asked::default()).await.unwrap();
    }
    let (made, serving) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let is_swapping = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (host, made) = (host.clone(), made.clone());
            let (serving, is_swapping) = (serving.clone(), is_swapping.clone());
            tokio::spawn(async move { call(&host, calls, &made, &serving, &is_swapping).await })
        })
        .collect();
    let name = "chameleon".parse().unwrap();
    let mut swap_max = Duration::ZERO;
    for number in 1..=swaps {
        // A tenth of the calls meets no swap; then they are spread.
        let steady = calls / 10;
        while made.load(Ordering::Relaxed) < steady + (calls - steady) / (swaps + 1) * number {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        is_swapping.store(true, Ordering::SeqCst);
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
        is_swapping.store(false, Ordering::SeqCst);
    }
    let mut all = Seen::default();
    for caller in callers {
        let seen = caller.await.unwrap();
        for (instance, numbers) in seen.answered {
            all.answered.entry(instance).or_default().extend(numbers);
        }
        all.steady.extend(seen.steady);
        all.swapping.extend(seen.swapping);
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
    Report { calls, swaps, steady: all.steady, swapping: all.swapping, swap_max, rollbacks }
}

async fn call(
    host: &PluginHost,
    calls: u64,
    made: &AtomicU64,
    serving: &AtomicU64,
    is_swapping: &AtomicBool,
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
        let (served, swapped) =
            (serving.load(Ordering::SeqCst), is_swapping.load(Ordering::SeqCst));
        let since = Instant::now();
        let answer = host.process(&plugin, call).await.unwrap();
        let took = since.elapsed();
        match swapped || is_swapping.load(Ordering::SeqCst) {
            true => seen.swapping.push(took),
            false => seen.steady.push(took),
        }
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
