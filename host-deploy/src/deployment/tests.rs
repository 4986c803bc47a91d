use std::sync::Arc;

use plugin_contract::{Digest, Explain};
use proptest::prelude::*;
use semver::Version;

use super::{
    Artifact, Change, Command, Deployment, Illegal, Note, PluginVersion, Retention, Shadow,
};
use crate::{Plan, Rollout, Share, Status};

fn version(minor: u64) -> Version {
    Version::new(1, minor, 0)
}

fn note(at: u64) -> Note {
    Note::new("ann", "because", at)
}

fn release(minor: u64, widened: &[&str]) -> Command {
    let digest = |part: u8| {
        let mut bytes = [part; 32];
        bytes[0] = minor as u8;
        Digest::from_bytes(bytes)
    };
    let artifact = Artifact {
        component: digest(1),
        bytes: 10,
        manifest: None,
        signature: Some(digest(2)),
        wit: digest(3),
    };
    let version = PluginVersion {
        name: "greeter".parse().unwrap(),
        version: version(minor),
        artifact,
        min_host_version: None,
        wit_hash: digest(3),
        deployed_at: minor,
        status: Status::Staged,
        awaits_approval: widened.iter().map(|line| (*line).to_owned()).collect(),
    };
    Command::Stage { version: Box::new(version), allow_downgrade: false }
}

fn canary(minor: u64) -> Command {
    Command::StartCanary { version: version(minor), plan: Plan::default() }
}

/// A deployment after these steps, each of which is taken.
#[track_caller]
fn after(commands: impl IntoIterator<Item = Command>) -> Deployment {
    let mut deployment = Deployment::new("greeter".parse().unwrap());
    for (at, command) in commands.into_iter().enumerate() {
        let change = deployment.apply(command, &note(at as u64)).unwrap();
        deployment = Arc::unwrap_or_clone(change.deployment);
        assert!(deployment.is_consistent());
    }
    deployment
}

/// `1.0.0=deprecated 1.1.0=active`.
fn shown(deployment: &Deployment) -> String {
    let versions = deployment.versions.values();
    let shown: Vec<_> = versions.map(|v| format!("{}={}", v.version, v.status)).collect();
    shown.join(" ")
}

#[track_caller]
fn check(commands: Vec<Command>, expected: &str) {
    assert_eq!(shown(&after(commands)), expected);
}

#[track_caller]
fn check_refused(commands: Vec<Command>, last: Command, code: &str) {
    let before = after(commands);
    let refused = before.apply(last, &note(9)).unwrap_err();
    assert_eq!(refused.code(), code);
}

#[test]
fn a_version_goes_from_staged_to_active_and_is_superseded() {
    let first = || vec![release(0, &[]), Command::Activate(version(0)), release(1, &[])];
    check(first(), "1.0.0=active 1.1.0=staged");
    let mut by_canary = first();
    by_canary.extend([canary(1), Command::Promote]);
    check(by_canary, "1.0.0=deprecated 1.1.0=active");
}

#[test]
fn a_canary_is_taken_back_by_an_operator_and_rejected_by_a_verdict() {
    let first = || vec![release(0, &[]), Command::Activate(version(0)), release(1, &[]), canary(1)];
    let with = |last| {
        let mut commands = first();
        commands.push(last);
        commands
    };
    check(with(Command::Withdraw), "1.0.0=active 1.1.0=staged");
    check(with(Command::Reject), "1.0.0=active 1.1.0=failed");
    check_refused(with(Command::Reject), canary(1), "deploy/illegal-transition");
    // What is deployed once more may be tried once more.
    let mut again = with(Command::Reject);
    again.extend([release(1, &[]), canary(1)]);
    check(again, "1.0.0=active 1.1.0=canary");
}

#[test]
fn promoting_without_a_canary_changes_nothing() {
    let first = || vec![release(0, &[]), Command::Activate(version(0)), release(1, &[])];
    check_refused(first(), Command::Promote, "deploy/no-canary");
    check_refused(first(), Command::Withdraw, "deploy/no-canary");
    check_refused(vec![release(0, &[])], canary(0), "deploy/no-active");
    check_refused(vec![], canary(0), "deploy/unknown-version");
}

#[test]
fn one_thing_at_a_time() {
    let commands = || {
        vec![
            release(0, &[]),
            Command::Activate(version(0)),
            release(1, &[]),
            release(2, &[]),
            canary(1),
        ]
    };
    check_refused(commands(), canary(2), "deploy/canary-under-way");
    check_refused(commands(), Command::Activate(version(2)), "deploy/canary-under-way");
    check_refused(commands(), Command::Restore(version(0)), "deploy/canary-under-way");
}

#[test]
fn what_asks_for_more_waits_until_somebody_agrees() {
    let first = || {
        vec![release(0, &[]), Command::Activate(version(0)), release(1, &["net: connect:*:443"])]
    };
    check_refused(first(), Command::Activate(version(1)), "deploy/awaiting-approval");
    check_refused(first(), canary(1), "deploy/awaiting-approval");
    check_refused(first(), Command::Approve(version(0)), "deploy/nothing-to-approve");
    let mut approved = first();
    approved.extend([Command::Approve(version(1)), Command::Activate(version(1))]);
    check(approved, "1.0.0=deprecated 1.1.0=active");
}

#[test]
fn an_older_or_another_component_does_not_slip_in() {
    let commands = || vec![release(1, &[]), Command::Activate(version(1))];
    check_refused(commands(), release(0, &[]), "deploy/downgrade");
    let mut other = match release(1, &[]) {
        Command::Stage { version, .. } => *version,
        _ => unreachable!(),
    };
    other.artifact.component = Digest::from_bytes([9; 32]);
    let other = Command::Stage { version: Box::new(other), allow_downgrade: true };
    check_refused(commands(), other, "deploy/version-taken");
    // The same once more is no change.
    let again = after(commands()).apply(release(1, &[]), &note(9)).unwrap();
    assert_eq!((again.records.len(), shown(&again.deployment)), (0, "1.1.0=active".to_owned()));
}

#[test]
fn going_back_leads_to_what_was_active_last() {
    let mut commands = Vec::new();
    for minor in 0..3 {
        commands.extend([release(minor, &[]), Command::Activate(version(minor))]);
    }
    let deployment = after(commands);
    assert_eq!(deployment.previous().unwrap().version, version(1));
    let back = deployment.apply(Command::Restore(version(1)), &note(9)).unwrap().deployment;
    assert_eq!(shown(&back), "1.0.0=deprecated 1.1.0=active 1.2.0=deprecated");
    // And forth again.
    assert_eq!(back.previous().unwrap().version, version(2));
    let none = Deployment::new("greeter".parse().unwrap());
    assert_eq!(none.previous().unwrap_err().code(), "deploy/nothing-to-roll-back-to");
}

#[test]
fn each_step_is_recorded_with_who_when_and_why() {
    let deployment = after([release(0, &[]), Command::Activate(version(0)), release(1, &[])]);
    let change = deployment.apply(Command::Activate(version(1)), &note(7)).unwrap();
    let told: Vec<_> = (change.records.iter())
        .map(|r| (r.version.to_string(), r.what.clone(), r.from, r.to, r.by.clone(), r.at))
        .collect();
    let (by, active, deprecated) = ("ann".to_owned(), Status::Active, Status::Deprecated);
    assert_eq!(
        told,
        [
            ("1.1.0".into(), "activate".into(), Some(Status::Staged), Some(active), by.clone(), 7),
            ("1.0.0".into(), "supersede".into(), Some(active), Some(deprecated), by, 7),
        ]
    );
    assert_eq!((change.seen, change.deployment.revision), (3, 4));
}

#[test]
fn what_is_kept_is_bounded_and_what_serves_stays() {
    let mut commands = Vec::new();
    for minor in 0..9 {
        commands.extend([release(minor, &[]), Command::Activate(version(minor))]);
    }
    commands.extend((9..20).map(|minor| release(minor, &[])));
    commands.push(canary(12));
    let retention = Retention { deprecated: 2, others: 3 };
    commands.push(Command::Collect(retention));
    check(
        commands,
        "1.6.0=deprecated 1.7.0=deprecated 1.8.0=active 1.12.0=canary 1.17.0=staged 1.18.0=staged 1.19.0=staged",
    );
}

#[test]
fn a_shadow_serves_nobody_and_ends_with_its_version() {
    let share = Share::from_basis_points(1_000).unwrap();
    let shadow = |minor| Command::StartShadow(Shadow { version: version(minor), share });
    let first = || vec![release(0, &[]), Command::Activate(version(0)), release(1, &[]), shadow(1)];
    let deployment = after(first());
    assert_eq!(shown(&deployment), "1.0.0=active 1.1.0=staged");
    let mut then = first();
    then.push(canary(1));
    assert_eq!(after(then).shadow, None);
    check_refused(first(), shadow(0), "deploy/illegal-transition");
    check_refused(vec![release(0, &[])], Command::StopShadow, "deploy/no-shadow");
}

fn any_command() -> impl Strategy<Value = Command> {
    let minor = 0_u64..4;
    prop_oneof![
        (minor.clone(), any::<bool>())
            .prop_map(|(minor, wide)| { release(minor, if wide { &["env: TZ"] } else { &[] }) }),
        minor.clone().prop_map(|minor| Command::Approve(version(minor))),
        minor.clone().prop_map(canary),
        minor.clone().prop_map(|minor| Command::Activate(version(minor))),
        Just(Command::Promote),
        Just(Command::Withdraw),
        Just(Command::Reject),
        minor.clone().prop_map(|minor| Command::Restore(version(minor))),
        minor.clone().prop_map(|minor| Command::Fail(version(minor))),
        minor.clone().prop_map(|minor| {
            Command::StartShadow(Shadow { version: version(minor), share: Share::ALL })
        }),
        Just(Command::StopShadow),
        minor.prop_map(|minor| Command::Progress {
            rollout: Box::new(Rollout::new(version(minor), Plan::default())),
            what: Some("advance"),
        }),
        (0_usize..3, 0_usize..3)
            .prop_map(|(deprecated, others)| Command::Collect(Retention { deprecated, others })),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: what is allowed leads from one good state to another, each step
    /// of each version is recorded, and an active version never goes without another in its place.
    #[test]
    fn no_order_of_commands_leads_astray(commands in prop::collection::vec(any_command(), 0..60)) {
        let mut deployment = Deployment::new("greeter".parse().unwrap());
        for command in commands {
            let result = deployment.apply(command, &note(1));
            let Ok(Change { seen, deployment: next, new_parts, records }) = result else { continue };
            prop_assert!(next.is_consistent());
            let news = u64::from(!records.is_empty());
            prop_assert_eq!((seen, next.revision), (deployment.revision, deployment.revision + news));
            prop_assert!(deployment.active().is_none() || next.active().is_some());
            for (version, found) in &next.versions {
                let before = deployment.versions.get(version).map(|found| found.status);
                let told = records.iter().rfind(|record| record.version == *version);
                if before != Some(found.status) {
                    prop_assert_eq!(told.map(|record| record.to), Some(Some(found.status)));
                }
            }
            let known: Vec<_> = deployment.parts().chain(new_parts).collect();
            prop_assert!(next.parts().all(|part| known.contains(&part)));
            // It survives being stored.
            let stored = serde_json::to_vec(&*next).unwrap();
            let read: Deployment = serde_json::from_slice(&stored).unwrap();
            prop_assert_eq!(&read, &*next);
            deployment = Arc::unwrap_or_clone(next);
        }
    }
}

#[test]
fn a_refusal_names_what_stands_in_the_way() {
    let deployment = after([release(0, &[]), Command::Activate(version(0))]);
    let refused = deployment.apply(Command::Activate(version(0)), &note(1)).unwrap_err();
    assert!(matches!(refused, Illegal::Transition { status: Status::Active, .. }));
    assert_eq!(refused.to_string(), "`greeter` 1.0.0 is active: activate is not possible");
}
