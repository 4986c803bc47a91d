//! What every store must do; each store is put through all of it.

use std::{future::Future, pin::Pin, sync::Arc};

use plugin_contract::{Explain, PluginId};

use super::{ConfigLimits, ConfigStore, MemoryConfigStore, RedbConfigStore};

const SMALL: ConfigLimits = ConfigLimits {
    keys_max: 3,
    key_bytes_max: 8,
    value_bytes_max: 100,
    bytes_max: 200,
    page_keys: 2,
};

fn plugin(name: &str) -> PluginId {
    name.parse().unwrap()
}

type Check = for<'a> fn(&'a dyn ConfigStore) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

fn each_store(check: Check) {
    let directory = tempfile::tempdir().unwrap();
    let redb = RedbConfigStore::open(&directory.path().join("config.redb"), SMALL).unwrap();
    let stores: [Arc<dyn ConfigStore>; 2] =
        [Arc::new(MemoryConfigStore::new(SMALL)), Arc::new(redb)];
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for store in &stores {
        runtime.block_on(check(store.as_ref()));
    }
}

#[test]
fn values_are_kept_per_plugin() {
    each_store(|store| {
        Box::pin(async move {
            let (a, b) = (plugin("a"), plugin("b"));
            store.set(&a, "key", "1").await.unwrap();
            store.set(&b, "key", "2").await.unwrap();
            store.set(&a, "key", "3").await.unwrap();
            assert_eq!(store.get(&a, "key").await.unwrap().as_deref(), Some("3"));
            assert_eq!(store.get(&b, "key").await.unwrap().as_deref(), Some("2"));
            store.delete(&a, "key").await.unwrap();
            store.delete(&a, "key").await.unwrap();
            assert_eq!(store.get(&a, "key").await.unwrap(), None);
            assert_eq!(store.get(&b, "key").await.unwrap().as_deref(), Some("2"));
        })
    });
}

#[test]
fn keys_are_listed_in_order_page_by_page() {
    each_store(|store| {
        Box::pin(async move {
            let (a, b) = (plugin("a"), plugin("b"));
            for key in ["x.3", "x.1", "x.2"] {
                store.set(&a, key, "").await.unwrap();
            }
            store.set(&b, "x.9", "").await.unwrap();
            assert_eq!(store.list_keys(&a, "x.", None).await.unwrap(), ["x.1", "x.2"]);
            assert_eq!(store.list_keys(&a, "x.", Some("x.2")).await.unwrap(), ["x.3"]);
            assert_eq!(store.list_keys(&a, "", None).await.unwrap(), ["x.1", "x.2"]);
            assert!(store.list_keys(&a, "y", None).await.unwrap().is_empty());
            assert!(store.list_keys(&a, "", Some(&"z".repeat(9999))).await.unwrap().is_empty());
        })
    });
}

#[test]
fn a_plugin_cannot_keep_more_than_its_share() {
    each_store(|store| {
        Box::pin(async move {
            let a = plugin("a");
            let code = |result: Result<(), super::ConfigError>| result.unwrap_err().code();
            for bad in ["", "too-long-key", "a\nb", "\u{9b}"] {
                assert_eq!(code(store.set(&a, bad, "").await), "ipc/invalid-key", "{bad:?}");
            }
            let long = "v".repeat(101);
            assert_eq!(code(store.set(&a, "k", &long).await), "ipc/value-too-large");

            store.set(&a, "k1", &long[..100]).await.unwrap();
            assert_eq!(code(store.set(&a, "k2", &long[..100]).await), "ipc/config-full");
            store.set(&a, "k1", &long[..99]).await.unwrap(); // in place of itself
            store.set(&a, "k2", "").await.unwrap();
            store.set(&a, "k3", "").await.unwrap();
            assert_eq!(code(store.set(&a, "k4", "").await), "ipc/too-many-keys");
            assert_eq!(store.get(&a, "k4").await.unwrap(), None);
            store.set(&plugin("b"), "k4", "").await.unwrap(); // a share of its own
        })
    });
}

#[test]
fn values_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.redb");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let store = RedbConfigStore::open(&path, SMALL).unwrap();
        store.set(&plugin("a"), "key", "value").await.unwrap();
        assert!(RedbConfigStore::open(&path, SMALL).is_err(), "one process at a time");
        drop(store);
        let store = RedbConfigStore::open(&path, SMALL).unwrap();
        assert_eq!(store.get(&plugin("a"), "key").await.unwrap().as_deref(), Some("value"));
    });
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("config.redb");
    std::fs::write(&path, "not a database at all, but a text of some length").unwrap();
    let Err(error) = RedbConfigStore::open(&path, SMALL) else { panic!("opened a text file") };
    assert_eq!(error.code(), "ipc/storage-failed");
}
