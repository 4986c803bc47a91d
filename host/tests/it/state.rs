//! A plugin's state outlives its upgrade.

use std::{fs, time::Duration};

use host::{Explain, HostError, PluginHost};
use tempfile::TempDir;

use crate::{name, plugins, text};

/// A directory with one plugin, `counter`, of which there are two versions.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Puts a version there, in the place of whichever there is.
    fn put(&self, guest: &str) {
        for file in fs::read_dir(plugins().join(guest)).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), self.0.path().join(file.file_name())).unwrap();
        }
    }

    async fn host(&self) -> PluginHost {
        let host = PluginHost::builder().build().await.unwrap();
        host.load(self.0.path()).await.unwrap();
        assert!(host.refused().is_empty(), "{:?}", host.refused());
        host
    }
}

async fn ask(host: &PluginHost, input: &str) -> String {
    let reply = host.process(&name("counter"), text(input)).await.unwrap();
    String::from_utf8(reply.output).unwrap()
}

async fn reload(host: &PluginHost) -> Result<(), HostError> {
    host.reload(&name("counter"), Duration::from_secs(5)).await
}

#[tokio::test]
async fn a_count_goes_on_in_the_next_version_and_the_one_before_cannot_take_it_back() {
    let folder = Folder::new();
    folder.put("counter");
    let host = folder.host().await;
    assert_eq!(ask(&host, "a").await, "1");
    folder.put("counter-v2");
    reload(&host).await.unwrap();
    let versions: Vec<_> = host.plugins().iter().map(|it| it.version.to_string()).collect();
    assert_eq!(versions, ["0.2.0"]);
    assert_eq!(ask(&host, "b").await, "2 after ");
    reload(&host).await.unwrap();
    assert_eq!(ask(&host, "c").await, "3 after b");
    folder.put("counter");
    let error = reload(&host).await.unwrap_err();
    assert_eq!(error.code(), "core/state-unknown-format");
    let message = "`counter` 0.1.0 knows forms of state up to 1, and was handed form 2";
    assert_eq!(error.public_message(), message);
    assert_eq!(ask(&host, "d").await, "4 after c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_answered_and_counted_once_while_a_plugin_is_upgraded() {
    const CALLERS: u64 = 8;
    const CALLS: u64 = 100;
    let folder = Folder::new();
    folder.put("counter");
    let host = folder.host().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let host = host.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..CALLS {
                    seen.push(ask(&host, "").await.parse::<u64>().unwrap());
                    tokio::time::sleep(Duration::from_micros(500)).await;
                }
                seen
            })
        })
        .collect();
    let mut reloads = 0;
    while !callers.iter().all(|caller| caller.is_finished()) {
        reload(&host).await.unwrap();
        reloads += 1;
    }
    let mut seen = Vec::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=CALLERS * CALLS).collect::<Vec<_>>(), "after {reloads} reloads");
    assert!(reloads > 1);
}
