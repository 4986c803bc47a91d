//! A plugin that keeps a state, of which there is one.

use host::{Explain, Plan, Upload};

use super::*;
use crate::plugins;

/// A version of the test guest `counter`, as it was packaged.
fn counter(folder: &str) -> Upload {
    let folder = plugins().join(folder);
    let manifest = std::fs::read(folder.join("plugin.toml")).unwrap();
    let component = folder.file_name().unwrap().to_str().unwrap();
    let component = std::fs::read(folder.join(format!("{component}.wasm"))).unwrap();
    Upload { component, manifest: Some(manifest), signature: None }
}

async fn counting_host() -> (PluginHost, TempDir, PluginId) {
    let (host, data) = empty_host().await;
    for folder in ["counter", "counter-v2"] {
        host.deploy(counter(folder), DeployOptions::default(), &ann()).await.unwrap();
    }
    (host, data, "counter".parse().unwrap())
}

async fn count(host: &PluginHost) -> String {
    let reply = host.process(&name("counter"), text("1")).await.unwrap();
    String::from_utf8(reply.output).unwrap()
}

#[tokio::test]
async fn a_count_goes_on_over_an_upgrade_and_survives_one_that_is_refused() {
    let (host, _data, plugin) = counting_host().await;
    let first = count(&host).await;
    let (second, third) = (count(&host).await, count(&host).await);
    assert!(first != second && second != third);
    host.activate(&plugin, &version("0.2.0"), &ann()).await.unwrap();
    let after = count(&host).await;
    assert!(after.contains('4'), "{first} {second} {third} {after}");
    // The version before does not know the form of the one after: it goes on, with what it counted.
    let back = host.roll_back(&plugin, None, &ann()).await.unwrap_err();
    assert_eq!(back.code(), "core/state-unknown-format");
    let still = count(&host).await;
    assert!(still.contains('5'), "{after} {still}");
    let deployment = host.deployment(&plugin).unwrap().deployment;
    assert_eq!(deployment.active().unwrap().version, version("0.2.0"));
}

#[tokio::test]
async fn a_plugin_with_a_state_has_no_canary() {
    let (host, _data, plugin) = counting_host().await;
    let canary = host.canary(&plugin, &version("0.2.0"), Plan::default(), &ann()).await;
    assert_eq!(canary.unwrap_err().code(), "deploy/stateful-canary");
}
