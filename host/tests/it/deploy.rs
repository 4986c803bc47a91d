//! Versions that come and go while calls are answered.

mod canary;
mod resume;
mod shadow;
mod stateful;
mod swaps;
mod versions;

use std::{path::Path, time::Duration};

use host::{
    Asked, DeployOptions, Deployed, DeploymentStatus, HostError, PluginHost, PluginId, ProcessCall,
    Status, Then,
};
use semver::Version;
use tempfile::TempDir;

use crate::chameleon::Chameleon;
use crate::{name, text};

fn plugin() -> PluginId {
    "chameleon".parse().unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn ann() -> Asked {
    Asked { by: Some("ann".to_owned()), ..Asked::default() }
}

/// A host that keeps what it is told in `data`.
async fn host_in(data: &Path) -> PluginHost {
    PluginHost::builder().data_dir(data).build().await.unwrap()
}

async fn empty_host() -> (PluginHost, TempDir) {
    let data = TempDir::new().unwrap();
    (host_in(data.path()).await, data)
}

async fn deploy(host: &PluginHost, guest: &Chameleon) -> Result<Deployed, HostError> {
    host.deploy(guest.upload(), DeployOptions::default(), &ann()).await
}

async fn deploy_and_serve(host: &PluginHost, guest: &Chameleon) -> Deployed {
    let options = DeployOptions { then: Then::Activate, ..DeployOptions::default() };
    host.deploy(guest.upload(), options, &ann()).await.unwrap()
}

/// A host in which 1.0.0 serves.
async fn serving_host() -> (PluginHost, TempDir) {
    let (host, data) = empty_host().await;
    deploy(&host, &Chameleon::version("1.0.0")).await.unwrap();
    (host, data)
}

/// The answer to a call under this id.
async fn answer(host: &PluginHost, id: &str) -> String {
    let reply = host.process(&name("chameleon"), call(id)).await.unwrap();
    String::from_utf8(reply.output).unwrap()
}

fn call(id: &str) -> ProcessCall {
    let mut call = text("hello");
    call.caller = host::Caller::new(id.into());
    call
}

/// `1.0.0=active 1.1.0=staged`.
fn shown(host: &PluginHost) -> String {
    let DeploymentStatus { deployment, .. } = host.deployment(&plugin()).unwrap();
    let shown = deployment.versions.values().map(|v| format!("{}={}", v.version, v.status));
    shown.collect::<Vec<_>>().join(" ")
}

fn status_of(host: &PluginHost, wanted: &str) -> Status {
    host.deployment(&plugin()).unwrap().deployment.versions[&version(wanted)].status
}

/// Waits until it is so; what happens by itself has half a minute.
#[track_caller]
fn within_half_a_minute(what: &'static str) -> impl AsyncFn(&dyn Fn() -> bool) {
    async move |is_so: &dyn Fn() -> bool| {
        for _ in 0..3_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{what}");
    }
}

/// Why it came to where it stands: the last thing that happened to a version.
async fn last(host: &PluginHost, of: &str) -> (String, String, String) {
    let history = host.history(&plugin(), 1_000).await.unwrap();
    let record = history.into_iter().rfind(|record| record.version == version(of)).unwrap();
    (record.what, record.by, record.why)
}
