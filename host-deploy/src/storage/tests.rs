//! What every store promises, asked of each.

use std::sync::Arc;

use plugin_contract::{Digest, Explain};
use semver::Version;

use super::{HISTORY_MAX, MemoryStorage, PluginStorage};
use crate::{Artifact, Change, Command, Deployment, Note, PluginVersion, SplitKey, Status};

const KEY: SplitKey = SplitKey::from_bytes([7; 16]);

fn on_each(test: impl AsyncFn(&dyn PluginStorage)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        test(&MemoryStorage::new(KEY)).await;
        #[cfg(feature = "embedded")]
        {
            let dir = tempfile::tempdir().unwrap();
            test(&super::EmbeddedStorage::open(dir.path(), KEY).unwrap()).await;
        }
    });
}

async fn release(store: &dyn PluginStorage, patch: u64, bytes: &[u8]) -> Command {
    let component = store.put(bytes.into()).await.unwrap();
    let wit = store.put(b"world".as_slice().into()).await.unwrap();
    Command::Stage { version: Box::new(version(patch, component, wit)), allow_downgrade: false }
}

fn version(patch: u64, component: Digest, wit: Digest) -> PluginVersion {
    PluginVersion {
        name: "greeter".parse().unwrap(),
        version: Version::new(1, 0, patch),
        artifact: Artifact { component, bytes: 1, manifest: None, signature: None, wit },
        min_host_version: None,
        wit_hash: wit,
        deployed_at: patch,
        status: Status::Staged,
        awaits_approval: Vec::new(),
    }
}

fn note() -> Note {
    Note::new("ann", "because", 1)
}

async fn step(store: &dyn PluginStorage, command: Command) -> Change {
    let name = "greeter".parse().unwrap();
    let now = store.deployment(&name).await.unwrap();
    let change = now.unwrap_or_else(|| Deployment::new(name)).apply(command, &note()).unwrap();
    store.commit(&change).await.unwrap();
    change
}

#[test]
fn a_deployment_comes_back_as_it_was_stored_with_its_history() {
    on_each(async |store| {
        let name = "greeter".parse().unwrap();
        assert!(store.deployment(&name).await.unwrap().is_none());
        assert!(store.history(&name, 10).await.unwrap().is_empty());
        let staged = release(store, 0, b"component").await;
        step(store, staged).await;
        let active = step(store, Command::Activate(Version::new(1, 0, 0))).await;
        assert_eq!(
            store.deployment(&name).await.unwrap(),
            Some(Deployment::clone(&active.deployment))
        );
        assert_eq!(store.deployments().await.unwrap(), [Deployment::clone(&active.deployment)]);
        let history = store.history(&name, 10).await.unwrap();
        let told: Vec<_> = history.iter().map(|r| (r.seq, r.what.as_str())).collect();
        assert_eq!(told, [(1, "stage"), (2, "activate")]);
        assert_eq!(store.history(&name, 1).await.unwrap(), history[1..]);
        assert_eq!(store.current_wit(&name).await.unwrap().as_deref(), Some("world"));
        assert_eq!(store.split_key().await.unwrap(), KEY);
    });
}

#[test]
fn of_two_who_decide_on_the_same_state_one_wins() {
    on_each(async |store| {
        let staged = release(store, 0, b"component").await;
        let change = Deployment::new("greeter".parse().unwrap()).apply(staged, &note()).unwrap();
        store.commit(&change).await.unwrap();
        let refused = store.commit(&change).await.unwrap_err();
        assert_eq!(refused.code(), "deploy/conflict");
        assert_eq!(store.history(&change.deployment.name, 10).await.unwrap().len(), 1);
    });
}

#[test]
fn parts_are_kept_once_and_never_dangle() {
    on_each(async |store| {
        let bytes: Arc<[u8]> = b"component".as_slice().into();
        let digest = store.put(bytes.clone()).await.unwrap();
        assert_eq!(digest, Digest::of(&bytes));
        assert_eq!(store.put(bytes.clone()).await.unwrap(), digest);
        assert_eq!(store.get(&digest).await.unwrap(), bytes);
        let none = Digest::of(b"nothing");
        assert_eq!(store.get(&none).await.unwrap_err().code(), "deploy/artifact-missing");
        let stage =
            Command::Stage { version: Box::new(version(0, digest, none)), allow_downgrade: false };
        let change = Deployment::new("greeter".parse().unwrap()).apply(stage, &note()).unwrap();
        let refused = store.commit(&change).await.unwrap_err();
        assert_eq!(refused.code(), "deploy/artifact-missing");
        assert!(store.deployments().await.unwrap().is_empty());
    });
}

#[test]
fn what_no_deployment_refers_to_is_collected_and_nothing_else() {
    on_each(async |store| {
        for patch in 0..4 {
            let staged = release(store, patch, &[patch as u8; 100]).await;
            step(store, staged).await;
            step(store, Command::Activate(Version::new(1, 0, patch))).await;
        }
        assert_eq!(store.collect().await.unwrap().parts, 0);
        let retention = crate::Retention { deprecated: 1, others: 0 };
        let change = step(store, Command::Collect(retention)).await;
        assert_eq!(change.deployment.versions.len(), 2);
        let collected = store.collect().await.unwrap();
        assert_eq!((collected.parts, collected.bytes), (2, 200));
        for part in change.deployment.parts() {
            store.get(&part).await.unwrap();
        }
    });
}

#[test]
fn a_history_is_bounded() {
    on_each(async |store| {
        let staged = release(store, 0, b"a").await;
        step(store, staged).await;
        let name = "greeter".parse().unwrap();
        let mut deployment = Arc::new(store.deployment(&name).await.unwrap().unwrap());
        let mut all = 1;
        while all <= HISTORY_MAX + 10 {
            let mut change =
                deployment.apply(Command::Collect(crate::Retention::default()), &note()).unwrap();
            let record = store.history(&name, 1).await.unwrap().remove(0);
            change.records = vec![record; 1_000];
            store.commit(&change).await.unwrap();
            (deployment, all) = (change.deployment, all + 1_000);
        }
        let history = store.history(&name, usize::MAX).await.unwrap();
        let last = history.last().unwrap().seq;
        assert_eq!((history.len(), history[0].seq), (HISTORY_MAX, last - HISTORY_MAX as u64 + 1));
    });
}

#[cfg(feature = "embedded")]
mod embedded {
    use std::fs;

    use super::{KEY, note, release, step};
    use crate::{
        Command, Deployment, SplitKey,
        storage::{EmbeddedStorage, PluginStorage},
    };
    use plugin_contract::{Digest, Explain};
    use semver::Version;

    fn block_on<R>(work: impl Future<Output = R>) -> R {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[test]
    fn a_store_is_there_after_it_was_closed_and_half_written_parts_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let change = block_on(async {
            let store = EmbeddedStorage::open(dir.path(), KEY).unwrap();
            let staged = release(&store, 0, b"component").await;
            step(&store, staged).await
        });
        fs::write(dir.path().join("parts/.new-1-0"), b"compo").unwrap();
        let store = EmbeddedStorage::open(dir.path(), SplitKey::from_bytes([1; 16])).unwrap();
        block_on(async {
            assert_eq!(store.deployments().await.unwrap(), [Deployment::clone(&change.deployment)]);
            assert_eq!(store.split_key().await.unwrap(), KEY);
        });
        assert!(!dir.path().join("parts/.new-1-0").exists());
    }

    #[test]
    fn a_part_that_was_changed_is_not_handed_out_and_is_mended_by_the_same_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStorage::open(dir.path(), KEY).unwrap();
        block_on(async {
            let part = store.put(b"component".as_slice().into()).await.unwrap();
            let file = store.file(&part).await.unwrap();
            fs::write(&file, b"compONENT").unwrap();
            assert_eq!(store.get(&part).await.unwrap_err().code(), "deploy/storage-corrupt");
            store.put(b"component".as_slice().into()).await.unwrap();
            assert_eq!(&*store.get(&part).await.unwrap(), b"component");
        });
    }

    #[test]
    fn a_part_of_an_old_version_that_was_lost_keeps_nobody_from_what_needs_it_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStorage::open(dir.path(), KEY).unwrap();
        block_on(async {
            step(&store, release(&store, 0, b"zero").await).await;
            step(&store, release(&store, 1, b"one").await).await;
            let lost = store.file(&Digest::of(b"zero")).await.unwrap();
            fs::remove_file(lost).unwrap();
            step(&store, Command::Activate(Version::new(1, 0, 1))).await;
            let name = "greeter".parse().unwrap();
            let stored = store.deployment(&name).await.unwrap().unwrap();
            assert_eq!(stored.active().unwrap().version, Version::new(1, 0, 1));
        });
    }

    #[test]
    fn one_host_at_a_time_has_it_open() {
        let dir = tempfile::tempdir().unwrap();
        let _first = EmbeddedStorage::open(dir.path(), KEY).unwrap();
        let second = EmbeddedStorage::open(dir.path(), KEY).map(drop).unwrap_err();
        assert_eq!(second.code(), "deploy/storage-failed");
    }

    #[test]
    fn a_store_of_another_format_and_one_that_is_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("deployments.redb"), b"this is no database").unwrap();
        assert!(EmbeddedStorage::open(dir.path(), KEY).is_err());
    }

    #[test]
    fn a_part_that_is_about_to_be_referred_to_is_not_collected() {
        let dir = tempfile::tempdir().unwrap();
        let store = EmbeddedStorage::open(dir.path(), KEY).unwrap();
        block_on(async {
            let staged = release(&store, 0, b"component").await;
            assert_eq!(store.collect().await.unwrap().parts, 0);
            let none = Deployment::new("greeter".parse().unwrap());
            store.commit(&none.apply(staged, &note()).unwrap()).await.unwrap();
            let active = Command::Activate(Version::new(1, 0, 0));
            step(&store, active).await;
            assert_eq!(store.collect().await.unwrap().parts, 0);
        });
    }
}
