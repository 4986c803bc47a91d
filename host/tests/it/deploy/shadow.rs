//! Calls that are made once more, on a version that can change nothing.

use host::{Shadow, ShadowCounts};

use super::*;

async fn shadowed(guest: Chameleon) -> (PluginHost, TempDir) {
    let (host, data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.0.0").keeping()).await.unwrap();
    deploy(&host, &guest).await.unwrap();
    let shadow = Shadow { version: version("1.1.0"), share: "100%".parse().unwrap() };
    host.shadow(&plugin(), shadow, &ann()).await.unwrap();
    (host, data)
}

fn counts(host: &PluginHost) -> ShadowCounts {
    host.deployment(&plugin()).unwrap().shadow.unwrap()
}

#[tokio::test]
async fn answers_that_differ_are_told_and_go_to_nobody() {
    let (host, _data) = shadowed(Chameleon::version("1.1.0")).await;
    assert_eq!(shown(&host), "1.0.0=active 1.1.0=staged");
    assert_eq!(answer(&host, "one").await, "1.0.0 hello after nothing");
    within_half_a_minute("it is compared")(&|| counts(&host).mirrored == 1).await;
    let told = counts(&host);
    assert_eq!((told.same, told.different), (0, 1));
    assert_eq!(told.samples[0].request_id, "one");
    assert!(told.samples[0].served.starts_with("text/plain of 25 bytes"), "{told:?}");
    assert_ne!(told.samples[0].served, told.samples[0].shadow);
    host.end_shadow(&plugin(), &ann()).await.unwrap();
    assert_eq!(host.deployment(&plugin()).unwrap().shadow, None);
    assert_eq!(answer(&host, "two").await, "1.0.0 hello after hello");
}

#[tokio::test]
async fn a_shadow_changes_neither_configuration_nor_anything_that_others_see() {
    let (host, _data) = shadowed(Chameleon::version("1.1.0").keeping()).await;
    let mut call = call("one");
    call.input = b"first".to_vec();
    host.process(&name("chameleon"), call).await.unwrap();
    within_half_a_minute("it is compared")(&|| counts(&host).mirrored == 1).await;
    // One event, of the version that serves; and what is kept is what that one kept.
    let events = host.events().read(0, 100);
    assert_eq!(events.events.len(), 1);
    assert_eq!(answer(&host, "two").await, "1.0.0 hello after first");
    // The shadow did the same, as far as it could see: it kept its own.
    within_half_a_minute("it is compared")(&|| counts(&host).mirrored == 2).await;
    let told = counts(&host);
    assert!(told.samples.iter().all(|sample| sample.shadow.starts_with("text/plain")), "{told:?}");
}

#[tokio::test]
async fn a_shadow_that_breaks_or_hangs_harms_nobody() {
    let (host, _data) = shadowed(Chameleon::version("1.1.0").failing(1_000)).await;
    for id in 0..50 {
        answer(&host, &id.to_string()).await;
    }
    within_half_a_minute("all is told")(&|| {
        let told = counts(&host);
        told.mirrored + told.skipped == 50
    })
    .await;
    let told = counts(&host);
    assert_eq!(told.same, 0);
    assert!(told.samples.iter().all(|sample| sample.shadow == "core/plugin-refused"), "{told:?}");
    assert!(told.samples.len() <= 20);
}

/// A test guest as it was packaged, and the same once more in another version.
fn versions_of(folder: &str) -> [host::Upload; 2] {
    let path = crate::plugins().join(folder);
    let read = |file: &str| std::fs::read(path.join(file)).unwrap();
    let (component, manifest) = (read(&format!("{folder}.wasm")), read("plugin.toml"));
    // It says which it is, and so does its manifest.
    let renamed = |bytes: &[u8], version: &str| {
        let mut bytes = bytes.to_vec();
        for at in 0..bytes.len() - version.len() {
            if bytes[at..].starts_with(b"0.1.0") {
                bytes[at..][..version.len()].copy_from_slice(version.as_bytes());
            }
        }
        bytes
    };
    ["0.1.0", "0.2.0"].map(|version| host::Upload {
        component: renamed(&component, version),
        manifest: Some(renamed(&manifest, version)),
        signature: None,
    })
}

async fn shadow_of(host: &PluginHost, folder: &str) -> Result<PluginId, HostError> {
    for upload in versions_of(folder) {
        host.deploy(upload, DeployOptions::default(), &ann()).await?;
    }
    let plugin: PluginId = folder.parse().unwrap();
    let shadow = Shadow { version: version("0.2.0"), share: "100%".parse().unwrap() };
    host.shadow(&plugin, shadow, &ann()).await?;
    Ok(plugin)
}

#[tokio::test]
async fn a_shadow_writes_nothing_into_the_directory_of_the_version_that_serves() {
    let (host, data) = empty_host().await;
    let plugin = shadow_of(&host, "file-probe").await.unwrap();
    for (at, command) in [(1, "write /plugin-data/note a"), (2, "append /plugin-data/note b")] {
        host.process(&name("file-probe"), text(command)).await.unwrap();
        let is_compared = || host.deployment(&plugin).unwrap().shadow.unwrap().mirrored == at;
        within_half_a_minute("it is compared")(&is_compared).await;
    }
    // Where both had written, there would be two.
    let note = std::fs::read_to_string(data.path().join("data/file-probe/note")).unwrap();
    assert_eq!(note, "ab");
}

#[tokio::test]
async fn what_calls_others_has_no_shadow() {
    let data = TempDir::new().unwrap();
    let builder = PluginHost::builder().plugins(crate::plugins()).data_dir(data.path());
    let host = builder.only("word-count".parse().unwrap()).build().await.unwrap();
    let refused = shadow_of(&host, "framing-decorator").await.unwrap_err();
    assert_eq!(host::Explain::code(&refused), "deploy/shadow-calls-others");
}
