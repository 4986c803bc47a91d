//! Canaries that are judged by real calls.

use host::{Explain, Plan, PluginHost, Share, Stay, verdict::VerdictSettings};

use super::*;

fn plan(steps: &[&str], hold: Duration) -> Plan {
    let steps = steps.iter().map(|share| share.parse::<Share>().unwrap()).collect();
    let verdict = VerdictSettings::default().with_sample_min(50).unwrap();
    Plan::new(steps, hold, verdict).unwrap()
}

/// Calls under ids of their own, four at a time, until it is so.
async fn call_until(host: &PluginHost, what: &'static str, is_so: &(dyn Fn() -> bool + Sync)) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
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
    let counts = host.deployment(&plugin()).unwrap().counts;
    assert_eq!((counts.advanced, counts.promoted, counts.rejected), (1, 1, 0));
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
    assert_eq!(host.deployment(&plugin()).unwrap().counts.rejected, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_is_slower_is_taken_back_by_itself() {
    let (host, _data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.0.0").slower(400)).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0").slower(800)).await.unwrap();
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

    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
    host.canary(&plugin(), &version("1.1.0"), steps(), &ann()).await.unwrap();
    host.promote(&plugin(), &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=deprecated 1.1.0=active");
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
}

#[tokio::test]
async fn a_canary_that_serves_no_longer_is_taken_back() {
    let steps = plan(&["50%", "100%"], Duration::from_secs(3_600));
    let (host, _data) = with_canary(Chameleon::version("1.1.0"), steps).await;
    host.unload(&name("chameleon@1.1.0"), Duration::ZERO).await.unwrap();
    // An operator's doing is no fault of the canary's; its callers are told, and it can be started again.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(status_of(&host, "1.1.0"), Status::Canary);
    host.start(&name("chameleon@1.1.0")).await.unwrap();
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
}
