//! A host that starts again goes on where it stood.

use host::{Plan, Share, verdict::VerdictSettings};

use super::*;

fn plan(hold: Duration) -> Plan {
    let steps = ["20%", "50%", "100%"].map(|share| share.parse::<Share>().unwrap()).to_vec();
    Plan::new(steps, hold, VerdictSettings::default().with_sample_min(10).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_on_at_its_step_with_the_same_callers_and_what_was_seen() {
    let data = TempDir::new().unwrap();
    let host = host_in(data.path()).await;
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0")).await.unwrap();
    host.canary(&plugin(), &version("1.1.0"), plan(Duration::from_secs(3_600)), &ann())
        .await
        .unwrap();
    host.advance(&plugin(), &ann()).await.unwrap();
    let mut sides = Vec::new();
    for id in 0..100 {
        sides.push(answer(&host, &id.to_string()).await);
    }
    // It is stored every two seconds what was seen.
    let seen = |host: &PluginHost| host.deployment(&plugin()).unwrap().rollout.unwrap();
    let stored = || {
        let all = host.deployment(&plugin()).unwrap().deployment.rollout.clone().unwrap();
        all.comparison().summary() == seen(&host).summary
    };
    within_half_a_minute("it is stored")(&stored).await;
    let before = seen(&host);
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);

    let host = host_in(data.path()).await;
    let after = seen(&host);
    assert_eq!((after.rollout.step(), after.rollout.share()), (1, "50%".parse().unwrap()));
    assert_eq!(after.summary, before.summary);
    assert!(after.rollout.held() >= Duration::from_millis(1));
    for (id, side) in sides.iter().enumerate() {
        assert_eq!(answer(&host, &id.to_string()).await, *side);
    }
    host.promote(&plugin(), &ann()).await.unwrap();
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
}

#[tokio::test]
async fn what_served_serves_and_what_was_staged_waits() {
    let data = TempDir::new().unwrap();
    let host = host_in(data.path()).await;
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    deploy_and_serve(&host, &Chameleon::version("1.1.0")).await;
    deploy(&host, &Chameleon::version("1.2.0")).await.unwrap();
    let before = host.deployment(&plugin()).unwrap().deployment;
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);
    let host = host_in(data.path()).await;
    assert_eq!(host.deployment(&plugin()).unwrap().deployment, before);
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
    assert_eq!(host.plugins().len(), 1);
}

#[tokio::test]
async fn an_active_version_whose_bytes_were_changed_does_not_serve_and_can_be_replaced() {
    let data = TempDir::new().unwrap();
    let host = host_in(data.path()).await;
    let deployed = deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);
    let digest = deployed.version.checksum().to_string();
    let part = data.path().join("deployments/parts").join(&digest["sha256:".len()..]);
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let host = host_in(data.path()).await;
    let gone = host.process(&name("chameleon"), text("x")).await.unwrap_err();
    assert_eq!(host::Explain::code(&gone), "host/unknown-plugin");
    // The same bytes once more mend it.
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    deploy_and_serve(&host, &Chameleon::version("1.1.0")).await;
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
}

#[tokio::test]
async fn who_needs_one_plugin_leaves_the_canaries_of_others_alone() {
    let data = TempDir::new().unwrap();
    let host = host_in(data.path()).await;
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    deploy(&host, &Chameleon::version("1.1.0")).await.unwrap();
    let steps = plan(Duration::from_secs(3_600));
    host.canary(&plugin(), &version("1.1.0"), steps, &ann()).await.unwrap();
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);
    let builder = PluginHost::builder().plugins(crate::plugins()).data_dir(data.path());
    let host = builder.only("word-count".parse().unwrap()).build().await.unwrap();
    host.process(&name("word-count"), text("a b")).await.unwrap();
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);
    let host = host_in(data.path()).await;
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=canary");
}

#[tokio::test]
async fn what_asks_for_more_is_told_though_what_served_is_lost() {
    let data = TempDir::new().unwrap();
    let host = host_in(data.path()).await;
    let deployed = deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);
    let digest = deployed.version.checksum().to_string();
    let part = data.path().join("deployments/parts").join(&digest["sha256:".len()..]);
    std::fs::remove_file(part).unwrap();
    let host = host_in(data.path()).await;
    let wider = Chameleon::version("1.1.0").text("memory = \"64MB\"", "memory = \"65MB\"");
    let missing = deploy(&host, &wider).await.unwrap_err();
    assert_eq!(host::Explain::code(&missing), "deploy/artifact-missing");
    let options = DeployOptions { allow_breaking: true, ..DeployOptions::default() };
    let parked = host.deploy(wider.upload(), options, &ann()).await.unwrap();
    assert!(
        parked.version.awaits_approval.contains(&"memory: 64MB -> 65MB".to_owned()),
        "{parked:?}"
    );
    host.approve(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    assert_eq!(answer(&host, "x").await, "1.1.0 hello");
}
