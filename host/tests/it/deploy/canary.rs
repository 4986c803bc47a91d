//! Canaries that are judged by real calls.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use host::{
    Deployment, Explain, Plan, PluginHost, PluginStorage, Record, Share, Stay,
    verdict::VerdictSettings,
};
use host_deploy::{
    Change, SplitKey,
    storage::{Collected, StorageError},
};
use plugin_contract::Digest;

use super::*;

fn plan(steps: &[&str], hold: Duration) -> Plan {
    let steps = steps.iter().map(|share| share.parse::<Share>().unwrap()).collect();
    let verdict = VerdictSettings::default().with_sample_min(50).unwrap();
    Plan::new(steps, hold, verdict).unwrap()
}

/// Calls under ids of their own, four at a time, until it is so.
async fn call_until(host: &PluginHost, what: &'static str, is_so: &(dyn Fn() -> bool + Sync)) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
    let mut number = 0_u64;
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        let calls = (0..4).map(|at| {
            let id = format!("request-{}", number + at);
            async move { host.process(&name("chameleon"), call(&id)).await }
        });
        // Those of a canary may fail.
        futures::future::join_all(calls).await;
        number += 4;
    }
}

async fn with_canary(guest: Chameleon, plan: Plan) -> (PluginHost, TempDir) {
    let (host, data) = serving_host().await;
    deploy(&host, &guest).await.unwrap();
    host.canary(&plugin(), &version("1.1.0"), plan, &ann()).await.unwrap();
    (host, data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_canary_is_promoted_step_by_step() {
    let steps = plan(&["5%", "50%", "100%"], Duration::from_millis(300));
    let (host, _data) = with_canary(Chameleon::version("1.1.0"), steps).await;
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=canary");
    call_until(&host, "it is promoted", &|| status_of(&host, "1.1.0") == Status::Active).await;
    assert_eq!(shown(&host), "1.0.0=deprecated 1.1.0=active");
    let history = host.history(&plugin(), 100).await.unwrap();
    let told: Vec<_> = (history.iter())
        .filter(|record| record.version == version("1.1.0"))
        .map(|record| (record.what.as_str(), record.by.as_str()))
        .collect();
    let expected =
        [("stage", "ann"), ("start-canary", "ann"), ("advance", "host"), ("promote", "host")];
    assert_eq!(told, expected);
    // Counted once it is done.
    within_half_a_minute("it is counted")(&|| {
        let counts = host.deployment(&plugin()).unwrap().counts;
        (counts.advanced, counts.promoted, counts.rejected) == (1, 1, 0)
    })
    .await;
    // Who asks for the old one by name finds that it is gone.
    within_half_a_minute("the old one drains")(&|| host.plugins().len() == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_fails_is_taken_back_by_itself() {
    let steps = plan(&["10%", "100%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0").failing(100), steps).await;
    call_until(&host, "it is taken back", &|| status_of(&host, "1.1.0") == Status::Failed).await;
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=failed");
    let (what, by, why) = last(&host, "1.1.0").await;
    assert_eq!((what.as_str(), by.as_str()), ("reject", "host"));
    assert!(why.contains("fail"), "{why}");
    for id in 0..50 {
        assert_eq!(answer(&host, &id.to_string()).await, "1.0.0 hello");
    }
    let rejected = || host.deployment(&plugin()).unwrap().counts.rejected == 1;
    within_half_a_minute("it is counted")(&rejected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_slower_is_taken_back_by_itself() {
    let (host, _data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.0.0").slower(400)).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0").slower(2_000)).await.unwrap();
    let steps = plan(&["20%", "100%"], Duration::from_secs(3_600));
    host.canary(&plugin(), &version("1.1.0"), steps, &ann()).await.unwrap();
    call_until(&host, "it is taken back", &|| status_of(&host, "1.1.0") == Status::Failed).await;
    let (_, _, why) = last(&host, "1.1.0").await;
    assert!(why.contains("slow"), "{why}");
}

#[tokio::test]
async fn a_caller_stays_on_its_side_and_may_choose_it() {
    let steps = plan(&["30%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0"), steps).await;
    let mut sides = Vec::new();
    for id in 0..200 {
        sides.push(answer(&host, &format!("caller-{id}")).await);
    }
    let on_canary = sides.iter().filter(|side| side.starts_with("1.1.0")).count();
    assert!((30..90).contains(&on_canary), "{on_canary}");
    for (id, side) in sides.iter().enumerate() {
        assert_eq!(answer(&host, &format!("caller-{id}")).await, *side);
    }
    // The same caller again and again is one caller.
    let counted = host.deployment(&plugin()).unwrap().rollout.unwrap().summary;
    assert_eq!(counted.stable.calls + counted.canary.calls, 200);
    for (side, answers) in [(verdict::Arm::Canary, "1.1.0"), (verdict::Arm::Stable, "1.0.0")] {
        let chosen = name("chameleon").on(Some(side));
        let answered = host.answer(&chosen, call("caller-0")).await.unwrap();
        assert_eq!(answered.version, version(answers));
    }
    let then = host.deployment(&plugin()).unwrap().rollout.unwrap().summary;
    assert_eq!(then, counted, "whoever chooses says nothing of the canary");
}

use host::verdict;

#[tokio::test]
async fn an_operator_overrides_at_any_time() {
    let steps = || plan(&["5%", "50%", "100%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0"), steps()).await;
    let rollout = |host: &PluginHost| host.deployment(&plugin()).unwrap().rollout.unwrap();
    assert_eq!(rollout(&host).rollout.share(), "5%".parse().unwrap());
    host.hold(&plugin(), &ann()).await.unwrap();
    assert_eq!(rollout(&host).waits_for, Some(Stay::Operator));
    host.resume(&plugin(), &ann()).await.unwrap();
    host.advance(&plugin(), &ann()).await.unwrap();
    assert_eq!(rollout(&host).rollout.share(), "50%".parse().unwrap());
    assert_eq!(host.advance(&plugin(), &ann()).await.unwrap_err().code(), "deploy/last-step");
    let other = host.canary(&plugin(), &version("1.1.0"), steps(), &ann()).await.unwrap_err();
    assert_eq!(other.code(), "deploy/canary-under-way");
    // Whoever mistypes takes nothing back.
    let unknown = host.roll_back(&plugin(), Some(&version("1.9.9")), &ann()).await.unwrap_err();
    assert_eq!(unknown.code(), "deploy/unknown-version");
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=canary");

    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
    host.canary(&plugin(), &version("1.1.0"), steps(), &ann()).await.unwrap();
    host.promote(&plugin(), &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=deprecated 1.1.0=active");
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
}

#[tokio::test]
async fn a_canary_that_an_operator_unloads_stays_and_can_be_started_again() {
    let steps = plan(&["50%", "100%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0"), steps).await;
    host.unload(&name("chameleon@1.1.0"), Duration::ZERO).await.unwrap();
    // An operator's doing is no fault of the canary's; its callers are told, and it can be started again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status_of(&host, "1.1.0"), Status::Canary);
    // All calls would go to who answers none.
    assert_eq!(host.promote(&plugin(), &ann()).await.unwrap_err().code(), "core/not-loaded");
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=canary");
    host.start(&name("chameleon@1.1.0")).await.unwrap();
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
}

/// Has a side called so often that it takes a while, and returns once it is at work on all of it: who comes later
/// is sent elsewhere.
async fn busy(host: &PluginHost, side: verdict::Arm, at: &str) -> tokio::task::JoinHandle<()> {
    const CALLS: u32 = 12;
    let (caller, expected) = (host.clone(), version(at));
    let done = Arc::new(AtomicU32::new(0));
    let answered = done.clone();
    let calls = tokio::spawn(async move {
        let chosen = name("chameleon").on(Some(side));
        let calls = (0..CALLS).map(async |_| {
            let answer = caller.answer(&chosen, call("busy")).await;
            answered.fetch_add(1, Ordering::Relaxed);
            answer
        });
        for answered in futures::future::join_all(calls).await {
            assert_eq!(answered.unwrap().version, expected);
        }
    });
    let is_busy = || {
        let done = done.load(Ordering::Relaxed);
        host.plugins().iter().filter(|plugin| plugin.version == version(at)).any(|plugin| {
            let pool = &plugin.pool;
            pool.busy > 0 && pool.busy + pool.waiting + done >= CALLS
        })
    };
    within_half_a_minute("it is at work")(&is_busy).await;
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_still_at_work_can_be_tried_and_taken_again_at_once() {
    let (host, _data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.0.0").slower(20_000)).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0").slower(20_000)).await.unwrap();
    let steps = || plan(&["5%"], Duration::from_secs(3_600));
    let canary = async || host.canary(&plugin(), &version("1.1.0"), steps(), &ann()).await;
    canary().await.unwrap();
    let first = busy(&host, verdict::Arm::Canary, "1.1.0").await;
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    canary().await.unwrap();
    let second = busy(&host, verdict::Arm::Canary, "1.1.0").await;
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.1.0 hello");
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    // Back to who was replaced by a canary, and has not ended its calls.
    host.canary(&plugin(), &version("1.1.0"), steps(), &ann()).await.unwrap();
    let third = busy(&host, verdict::Arm::Stable, "1.0.0").await;
    host.promote(&plugin(), &ann()).await.unwrap();
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=deprecated");
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
    for calls in [first, second, third] {
        calls.await.unwrap();
    }
    assert_eq!(host.plugins().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_taken_though_whoever_asked_has_gone() {
    let (host, _data) =
        with_canary(Chameleon::version("1.1.0"), plan(&["5%"], Duration::from_secs(3_600))).await;
    for _ in 0..10 {
        let _ = tokio::time::timeout(Duration::ZERO, host.hold(&plugin(), &ann())).await;
        let _ =
            tokio::time::timeout(Duration::from_millis(1), host.resume(&plugin(), &ann())).await;
    }
    host.hold(&plugin(), &ann()).await.unwrap();
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_nobody_waits_for_is_taken_back() {
    let steps = plan(&["30%", "100%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0").slower(99_999), steps).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
    let mut number = 0_u64;
    while status_of(&host, "1.1.0") == Status::Canary {
        assert!(tokio::time::Instant::now() < deadline, "it is taken back");
        let calls = (0..4).map(|at| {
            let id = format!("request-{}", number + at);
            let host = &host;
            async move {
                let chameleon = name("chameleon");
                let answer = host.process(&chameleon, call(&id));
                let _ = tokio::time::timeout(Duration::from_millis(40), answer).await;
            }
        });
        futures::future::join_all(calls).await;
        number += 4;
    }
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=failed");
}

/// Stores nothing while it is told not to.
struct Moody {
    store: host_deploy::storage::EmbeddedStorage,
    is_full: AtomicBool,
}

#[async_trait]
impl PluginStorage for Moody {
    async fn put(&self, bytes: Arc<[u8]>) -> Result<Digest, StorageError> {
        self.store.put(bytes).await
    }
    async fn get(&self, part: &Digest) -> Result<Arc<[u8]>, StorageError> {
        self.store.get(part).await
    }
    async fn file(&self, part: &Digest) -> Result<PathBuf, StorageError> {
        self.store.file(part).await
    }
    async fn deployments(&self) -> Result<Vec<Deployment>, StorageError> {
        self.store.deployments().await
    }
    async fn deployment(&self, name: &PluginId) -> Result<Option<Deployment>, StorageError> {
        self.store.deployment(name).await
    }
    async fn commit(&self, change: &Change) -> Result<(), StorageError> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(StorageError::Full("it is full".into())),
            false => self.store.commit(change).await,
        }
    }
    async fn history(&self, name: &PluginId, limit: usize) -> Result<Vec<Record>, StorageError> {
        self.store.history(name, limit).await
    }
    async fn collect(&self) -> Result<Collected, StorageError> {
        self.store.collect().await
    }
    async fn split_key(&self) -> Result<SplitKey, StorageError> {
        self.store.split_key().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_does_harm_gets_no_calls_though_nothing_can_be_stored() {
    let data = TempDir::new().unwrap();
    let key = SplitKey::from_bytes(*b"drawn at random!");
    let store = host_deploy::storage::EmbeddedStorage::open(data.path(), key).unwrap();
    let store = Arc::new(Moody { store, is_full: AtomicBool::new(false) });
    let host = PluginHost::builder().deployments(store.clone()).build().await.unwrap();
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0").failing(1_000)).await.unwrap();
    let steps = plan(&["30%", "100%"], Duration::from_secs(3_600));
    host.canary(&plugin(), &version("1.1.0"), steps, &ann()).await.unwrap();
    store.is_full.store(true, Ordering::Relaxed);
    let (mut good, mut number) = (0, 0);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(300);
    // Until a hundred in a row are answered: a third of them would fail.
    while good < 100 {
        assert!(tokio::time::Instant::now() < deadline, "it gets calls all the time");
        number += 1;
        let answer = host.process(&name("chameleon"), call(&format!("request-{number}"))).await;
        good = if answer.is_ok() { good + 1 } else { 0 };
    }
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=canary");
    store.is_full.store(false, Ordering::Relaxed);
    let is_taken = || status_of(&host, "1.1.0") == Status::Failed;
    within_half_a_minute("it is stored once there is room")(&is_taken).await;
}
