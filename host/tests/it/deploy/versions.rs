//! From an upload to a version that serves, and back.

use host::{Asked, DeployOptions, Explain, PluginHost, PluginHostBuilder, Status, Then, Upload};
use tempfile::TempDir;

use super::*;

#[tokio::test]
async fn the_first_version_serves_and_the_next_waits_for_what_is_decided() {
    let (host, _data) = empty_host().await;
    let first = deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    assert_eq!((first.version.status, first.contract), (Status::Active, None));
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");

    let second = deploy(&host, &Chameleon::version("1.1.0")).await.unwrap();
    assert_eq!(second.contract.unwrap().verdict.name(), "identical");
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
    // What is staged answers nobody, not even who asks for it by its version.
    let staged = host.process(&name("chameleon@1.1.0"), text("x")).await.unwrap_err();
    assert_eq!(staged.code(), "host/unknown-plugin");

    host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.0.0=deprecated 1.1.0=active");
    assert_eq!(answer(&host, "a").await, "1.1.0 hello");
    assert_eq!(last(&host, "1.0.0").await.0, "supersede");
}

#[tokio::test]
async fn every_transition_is_told_with_who_when_and_why_also_in_the_audit_log() {
    let (host, data) = serving_host().await;
    let asked = Asked { why: Some("ticket 7\u{1b}[31m".to_owned()), ..ann() };
    let options = DeployOptions { then: Then::Activate, ..DeployOptions::default() };
    host.deploy(Chameleon::version("1.1.0").upload(), options, &asked).await.unwrap();
    let history = host.history(&plugin(), 100).await.unwrap();
    let told: Vec<_> = history.iter().map(|r| format!("{} {}", r.version, r.what)).collect();
    let expected =
        ["1.0.0 stage", "1.0.0 activate", "1.1.0 stage", "1.1.0 activate", "1.0.0 supersede"];
    assert_eq!(told, expected);
    let last = history.last().unwrap();
    assert_eq!((last.seq, last.by.as_str()), (5, "ann"));
    assert!(last.why.starts_with("ticket 7") && !last.why.contains('\u{1b}'));
    assert!(last.at > 1_700_000_000_000);
    host.shutdown(Duration::from_secs(5)).await;
    let log = std::fs::read_dir(data.path().join("audit")).unwrap();
    let log: String =
        log.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok()).collect();
    assert!(log.contains("\"supersede\"") && log.contains("by ann: ticket 7"));
}

#[tokio::test]
async fn a_directory_s_plugin_is_the_version_before_and_what_was_deployed_outlives_it() {
    let (plugins, data) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    Chameleon::version("1.0.0").write_to(&plugins.path().join("chameleon"));
    let build = async || {
        let builder = PluginHost::builder().plugins(plugins.path()).data_dir(data.path());
        builder.build().await.unwrap()
    };
    let host = build().await;
    assert!(host.deployments().is_empty());
    // What was refused has changed nothing: files count as before.
    let older = deploy(&host, &Chameleon::version("0.9.0")).await.unwrap_err();
    assert_eq!(older.code(), "deploy/downgrade");
    assert!(host.deployments().is_empty());
    host.reload(&name("chameleon"), Duration::ZERO).await.unwrap();
    deploy_and_serve(&host, &Chameleon::version("1.1.0")).await;
    assert_eq!(shown(&host), "1.0.0=deprecated 1.1.0=active");
    let reloaded = host.reload(&name("chameleon"), Duration::ZERO).await.unwrap_err();
    assert_eq!(reloaded.code(), "deploy/managed");
    host.shutdown(Duration::from_secs(5)).await;
    drop(host);

    // The directory's version is not what serves any more, whatever it is now.
    Chameleon::version("9.9.9").write_to(&plugins.path().join("chameleon"));
    let host = build().await;
    assert_eq!(answer(&host, "a").await, "1.1.0 hello");
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
}

#[tokio::test]
async fn going_back_leads_to_any_version_that_is_kept() {
    let (host, _data) = serving_host().await;
    for patch in ["1.1.0", "1.2.0", "1.3.0"] {
        deploy_and_serve(&host, &Chameleon::version(patch)).await;
    }
    host.roll_back(&plugin(), None, &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.2.0 hello");
    host.roll_back(&plugin(), Some(&version("1.0.0")), &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
    let unknown = host.roll_back(&plugin(), Some(&version("3.0.0")), &ann()).await.unwrap_err();
    assert_eq!(unknown.code(), "deploy/unknown-version");
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
    assert_eq!(host.deployment(&plugin()).unwrap().counts.rollbacks, 2);
}

#[tokio::test]
async fn what_is_not_allowed_changes_nothing() {
    let (host, _data) = serving_host().await;
    deploy(&host, &Chameleon::version("1.1.0")).await.unwrap();
    let before = host.deployment(&plugin()).unwrap().deployment;
    let (name, first, second) = (plugin(), version("1.0.0"), version("1.1.0"));
    let codes = [
        host.promote(&name, &ann()).await.unwrap_err().code(),
        host.hold(&name, &ann()).await.unwrap_err().code(),
        host.activate(&name, &first, &ann()).await.unwrap_err().code(),
        host.approve(&name, &second, &ann()).await.unwrap_err().code(),
        host.roll_back(&name, None, &ann()).await.unwrap_err().code(),
        host.end_shadow(&name, &ann()).await.unwrap_err().code(),
        host.promote(&"nobody".parse().unwrap(), &ann()).await.unwrap_err().code(),
    ];
    let expected = [
        "deploy/no-canary",
        "deploy/no-canary",
        "deploy/illegal-transition",
        "deploy/nothing-to-approve",
        "deploy/nothing-to-roll-back-to",
        "deploy/no-shadow",
        "deploy/not-deployed",
    ];
    assert_eq!(codes, expected);
    assert_eq!(host.deployment(&plugin()).unwrap().deployment, before);
}

#[tokio::test]
async fn an_older_version_and_other_bytes_of_the_same_one_do_not_slip_in() {
    let (host, _data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.5.0")).await.unwrap();
    let older = deploy(&host, &Chameleon::version("1.4.0")).await.unwrap_err();
    assert_eq!(older.code(), "deploy/downgrade");
    let other = deploy(&host, &Chameleon::version("1.5.0").failing(1)).await.unwrap_err();
    assert_eq!(other.code(), "deploy/version-taken");
    // The same bytes once more are no change.
    let revision = host.deployment(&plugin()).unwrap().deployment.revision;
    let again = deploy(&host, &Chameleon::version("1.5.0")).await.unwrap();
    assert_eq!((again.version.status, again.revision), (Status::Active, revision));
    let options = DeployOptions { allow_downgrade: true, ..DeployOptions::default() };
    host.deploy(Chameleon::version("1.4.0").upload(), options, &ann()).await.unwrap();
    assert_eq!(shown(&host), "1.4.0=staged 1.5.0=active");
}

#[tokio::test]
async fn a_version_that_asks_for_more_waits_for_approval_and_one_that_asks_for_less_does_not() {
    let (host, _data) = serving_host().await;
    let wider = Chameleon::version("1.1.0").text("memory = \"64MB\"", "memory = \"65MB\"");
    let parked = deploy(&host, &wider).await.unwrap();
    assert_eq!(parked.permissions.widened, ["memory: 64MB -> 65MB"]);
    assert_eq!(parked.version.awaits_approval, ["memory: 64MB -> 65MB"]);
    let refused = host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap_err();
    assert_eq!(refused.code(), "deploy/awaiting-approval");
    let canary = host.canary(&plugin(), &version("1.1.0"), host::Plan::default(), &ann()).await;
    assert_eq!(canary.unwrap_err().code(), "deploy/awaiting-approval");
    // Not even where all is to be done at once.
    let options = DeployOptions { then: Then::Activate, ..DeployOptions::default() };
    host.deploy(wider.upload(), options, &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");

    host.approve(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap();
    assert_eq!(answer(&host, "a").await, "1.1.0 hello");

    let narrower = deploy(&host, &Chameleon::version("1.2.0")).await.unwrap();
    assert_eq!(narrower.permissions.narrowed, ["memory: 65MB -> 64MB"]);
    assert!(narrower.version.awaits_approval.is_empty());
}

#[tokio::test]
async fn a_version_that_does_not_start_fails_and_what_serves_goes_on() {
    let (host, _data) = serving_host().await;
    let broken = Chameleon::version("1.1.0").broken();
    let options = DeployOptions { then: Then::Activate, ..DeployOptions::default() };
    let error = host.deploy(broken.upload(), options, &ann()).await.unwrap_err();
    assert_eq!(error.code(), "core/initialize-failed");
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=failed");
    assert_eq!(answer(&host, "a").await, "1.0.0 hello");
    let (what, by, why) = last(&host, "1.1.0").await;
    assert_eq!((what.as_str(), by.as_str()), ("fail", "host"));
    assert!(why.contains("core/initialize-failed"), "{why}");
    let activated = host.activate(&plugin(), &version("1.1.0"), &ann()).await.unwrap_err();
    assert_eq!(activated.code(), "deploy/illegal-transition");
}

/// A component that exports one function, and the manifest beside it.
fn calculator(version: &str, parameter: &str, more: &str) -> Upload {
    let component = wat::parse_str(format!(
        r#"(component
            (core module $m
              (func (export "double") (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
              (func (export "half") (param i32) (result i32) (i32.shr_u (local.get 0) (i32.const 1))))
            (core instance $i (instantiate $m))
            (func $double (param "x" {parameter}) (result u32) (canon lift (core func $i "double")))
            (func $half (param "x" u32) (result u32) (canon lift (core func $i "half")))
            (instance $math (export "double" (func $double)) {more})
            (export "example:math/integers@1.0.0" (instance $math)))"#
    ));
    let manifest = format!(
        "[plugin]\nname = \"calculator\"\nversion = \"{version}\"\nentrypoint = \"calculator.wasm\"\n"
    );
    Upload { component: component.unwrap(), manifest: Some(manifest.into_bytes()), signature: None }
}

#[tokio::test]
async fn what_an_upgrade_changes_for_callers_is_told_item_by_item() {
    let (host, _data) = empty_host().await;
    let options = DeployOptions::default();
    host.deploy(calculator("1.0.0", "u32", ""), options, &ann()).await.unwrap();

    let more = calculator("1.1.0", "u32", "(export \"half\" (func $half))");
    let additive = host.deploy(more, options, &ann()).await.unwrap().contract.unwrap();
    assert_eq!(additive.verdict.name(), "additive");
    assert!(additive.changes[0].contains("half"), "{:?}", additive.changes);

    let other = calculator("1.2.0", "s32", "");
    let error = host.deploy(other.clone(), options, &ann()).await.unwrap_err();
    assert_eq!(error.code(), "deploy/breaking-change");
    assert!(error.to_string().contains("parameter `x` was u32, now s32"), "{error}");
    let allowed = DeployOptions { allow_breaking: true, ..options };
    let breaking = host.deploy(other, allowed, &ann()).await.unwrap().contract.unwrap();
    assert_eq!(breaking.verdict.name(), "breaking");
}

/// A test guest as it was packaged.
fn packaged(guest: &str) -> Upload {
    let folder = crate::plugins().join(guest);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    Upload {
        component: read(&format!("{guest}.wasm")),
        manifest: Some(read("plugin.toml")),
        signature: Some(read(&format!("{guest}.wasm.sig"))),
    }
}

#[tokio::test]
async fn what_a_version_depends_on_has_to_be_there_and_stays_while_it_is_needed() {
    let (host, _data) = empty_host().await;
    let options = DeployOptions::default();
    let alone = host.deploy(packaged("framing-decorator"), options, &ann()).await.unwrap_err();
    assert_eq!(alone.code(), "core/dependency-missing");
    host.deploy(packaged("word-count"), options, &ann()).await.unwrap();
    host.deploy(packaged("framing-decorator"), options, &ann()).await.unwrap();
    let reply = host.process(&name("framing-decorator"), text("one two")).await.unwrap();
    assert!(String::from_utf8(reply.output).unwrap().contains("words"));
    let needed = host.unload(&name("word-count"), Duration::ZERO).await.unwrap_err();
    assert_eq!(needed.code(), "core/still-needed");
}

#[tokio::test]
async fn of_two_operators_who_saw_the_same_state_one_wins() {
    let (host, _data) = serving_host().await;
    for patch in ["1.1.0", "1.2.0"] {
        deploy(&host, &Chameleon::version(patch)).await.unwrap();
    }
    let seen = Some(host.deployment(&plugin()).unwrap().deployment.revision);
    let asked = |by: &str| Asked { by: Some(by.to_owned()), seen, why: None };
    let (ann, bob) = (asked("ann"), asked("bob"));
    let (name, first, second) = (plugin(), version("1.1.0"), version("1.2.0"));
    let (one, other) =
        tokio::join!(host.activate(&name, &first, &ann), host.activate(&name, &second, &bob));
    let results = [one.map(drop).map_err(|e| e.code()), other.map(drop).map_err(|e| e.code())];
    assert!(results.contains(&Ok(())) && results.contains(&Err("deploy/conflict")), "{results:?}");
}

#[tokio::test]
async fn old_versions_are_forgotten_with_what_only_they_had() {
    let (data, mut settings) = (TempDir::new().unwrap(), host::DeploySettings::default());
    settings.retention.deprecated = 1;
    settings.retention.others = 1;
    let host = PluginHost::builder().data_dir(data.path()).deploy(settings).build().await.unwrap();
    for minor in 0..5 {
        deploy_and_serve(&host, &Chameleon::version(&format!("1.{minor}.0"))).await;
    }
    assert_eq!(shown(&host), "1.3.0=deprecated 1.4.0=active");
    let parts = std::fs::read_dir(data.path().join("deployments/parts")).unwrap();
    // Two components, and the text of what they import and export, which is the same.
    assert_eq!(parts.count(), 3);
}

#[tokio::test]
async fn a_version_is_composed_with_what_serves_of_what_it_depends_on() {
    let data = TempDir::new().unwrap();
    let config = "[plugins.framing-composed]\ncompose = [\"word-count\"]\n";
    let config: host::HostConfig = config.parse().unwrap();
    let builder = PluginHost::builder().data_dir(data.path()).config(config);
    let host = builder.build().await.unwrap();
    let component = crate::plugins().join("framing-composed/framing-composed.wasm");
    let upload = || {
        let component = std::fs::read(&component).unwrap();
        Upload { component, ..Upload::default() }
    };
    let alone = host.deploy(upload(), DeployOptions::default(), &ann()).await.unwrap_err();
    assert_eq!(alone.code(), "core/dependency-missing");
    host.load(&crate::plugins().join("word-count")).await.unwrap();
    host.deploy(upload(), DeployOptions::default(), &ann()).await.unwrap();
    let reply = host.process(&name("framing-composed"), text("one two three")).await.unwrap();
    assert!(String::from_utf8(reply.output).unwrap().contains("\"inner\""));
    let calls = |name: &str| {
        let metrics = host.metrics();
        metrics.iter().find(|it| it.name.as_str() == name).unwrap().calls.calls
    };
    assert_eq!(
        (calls("framing-composed"), calls("word-count")),
        (1, 0),
        "it is a part of the other"
    );
}

#[tokio::test]
async fn without_a_data_directory_nothing_can_be_deployed() {
    let host = PluginHost::builder().build().await.unwrap();
    let refused = deploy(&host, &Chameleon::version("1.0.0")).await.unwrap_err();
    assert_eq!(refused.code(), "deploy/no-storage");
    assert!(host.deployments().is_empty());
}

#[tokio::test]
async fn a_version_is_held_to_what_the_operator_demands_of_all() {
    let config: host::HostConfig = "[signatures]\nrequire-signature = true\n".parse().unwrap();
    let data = TempDir::new().unwrap();
    let builder: PluginHostBuilder = PluginHost::builder().config(config).data_dir(data.path());
    let host = builder.build().await.unwrap();
    let unsigned = deploy(&host, &Chameleon::version("1.0.0")).await.unwrap_err();
    assert_eq!(unsigned.code(), "signature/missing");
    let upload = Upload { component: b"not a component".to_vec(), ..Upload::default() };
    let garbage = host.deploy(upload, DeployOptions::default(), &ann()).await.unwrap_err();
    assert_eq!(garbage.code(), "core/not-a-component");
    assert!(host.deployments().is_empty());
}
