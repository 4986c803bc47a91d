//! How versions come and go: what an operator does with them.
//!
//! ```no_run
//! # async fn example(host: host::PluginHost, component: Vec<u8>) -> Result<(), host::HostError> {
//! use host::{Asked, DeployOptions, Plan, Upload};
//!
//! let upload = Upload { component, ..Upload::default() };
//! let asked = Asked { by: Some("ann".to_owned()), ..Asked::default() };
//! let deployed = host.deploy(upload, DeployOptions::default(), &asked).await?;
//!
//! let (name, version) = (&deployed.version.name, &deployed.version.version);
//! host.canary(name, version, Plan::default(), &asked).await?; // promoted or taken back by itself
//! # Ok(())
//! # }
//! ```

use std::sync::{Arc, atomic::Ordering};

use host_deploy::{Deployment, Plan, Record, Shadow, Stay, verdict::Summary};
use plugin_contract::PluginId;
use semver::Version;

use super::PluginHost;
use crate::{
    HostError,
    deploy::{Asked, DeployOptions, Deployed, Deployments, Lane, ShadowCounts, Upload},
};

/// Where the versions of a plugin stand.
#[derive(Debug, Clone, PartialEq)]
pub struct DeploymentStatus {
    /// The versions.
    pub deployment: Arc<Deployment>,
    /// The canary, if there is one.
    pub rollout: Option<RolloutStatus>,
    /// What came of mirroring, if a version is tried so.
    pub shadow: Option<ShadowCounts>,
    /// What happened since the host started.
    pub counts: DeployCounts,
}

/// How a canary is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutStatus {
    /// Which step it is at, from 0, and how far it is.
    pub rollout: host_deploy::Rollout,
    /// What it waits for; `None` if it is about to take a step.
    pub waits_for: Option<Stay>,
    /// What is known of both sides since this step began.
    pub summary: Summary,
}

/// What happened to a plugin since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeployCounts {
    /// One revision took the place of another.
    pub swaps: u64,
    /// An operator went back.
    pub rollbacks: u64,
    /// The host gave a canary its next step.
    pub advanced: u64,
    /// The host promoted a canary.
    pub promoted: u64,
    /// The host took a canary back, since it did harm.
    pub rejected: u64,
}

impl PluginHost {
    /// Takes a version in: checks who signed it, whether it fits this host and what it depends on, how its
    /// contract and its permissions compare with those of what serves, and whether it starts. It is staged
    /// then, or serves, as `options` say. One that asks for more than what serves waits for
    /// [approval](PluginHost::approve).
    ///
    /// The first time, what a directory brought is kept as the version before.
    ///
    /// # Errors
    /// Those of admitting and starting a plugin; `security/...` if it is not signed; `deploy/breaking-change`,
    /// `deploy/downgrade`, `deploy/version-taken`, `deploy/conflict`, `deploy/no-storage` and those of storing.
    /// What served serves on.
    pub async fn deploy(
        &self,
        upload: Upload,
        options: DeployOptions,
        asked: &Asked,
    ) -> Result<Deployed, HostError> {
        let (deployments, asked) = (self.open_deployments()?, asked.clone());
        detached(async move { deployments.deploy(upload, options, &asked).await }).await
    }

    /// Agrees to all that a staged version asks for.
    ///
    /// # Errors
    /// `deploy/nothing-to-approve`, `deploy/unknown-version`, `deploy/not-deployed`, and those of storing.
    pub async fn approve(
        &self,
        name: &PluginId,
        version: &Version,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked) = (self.open_deployments()?, asked.clone());
        let (name, version) = (name.clone(), version.clone());
        detached(async move { deployments.approve(&name, &version, &asked).await }).await
    }

    /// Has a staged version answer all calls, without having been a canary. Returns once it does; calls under
    /// way end on what served before.
    ///
    /// # Errors
    /// `deploy/illegal-transition`, `deploy/awaiting-approval`, `deploy/canary-under-way`, and those of starting
    /// and storing. What served serves on.
    pub async fn activate(
        &self,
        name: &PluginId,
        version: &Version,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked) = (self.open_deployments()?, asked.clone());
        let (name, version) = (name.clone(), version.clone());
        detached(async move { deployments.activate(&name, &version, &asked).await }).await
    }

    /// Gives a version the first share of `plan`. From there it goes on by itself: to the next step, to all
    /// calls, or back.
    ///
    /// # Errors
    /// `deploy/no-active`, `deploy/canary-under-way`, `deploy/stateful-canary`, and as for
    /// [`PluginHost::activate`].
    pub async fn canary(
        &self,
        name: &PluginId,
        version: &Version,
        plan: Plan,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked) = (self.open_deployments()?, asked.clone());
        let (name, version) = (name.clone(), version.clone());
        detached(async move { deployments.canary(&name, &version, plan, &asked).await }).await
    }

    /// Has the canary answer all calls, at once.
    ///
    /// # Errors
    /// `deploy/no-canary`, `deploy/conflict`, and those of storing.
    pub async fn promote(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked, name) = (self.open_deployments()?, asked.clone(), name.clone());
        detached(async move { deployments.promote(&name, &asked).await }).await
    }

    /// Goes back: without `to`, from the canary to what serves; if there is no canary, from what serves to what
    /// served before. With `to`, to that version, whatever serves.
    ///
    /// # Errors
    /// `deploy/nothing-to-roll-back-to`, `deploy/unknown-version`, and as for [`PluginHost::activate`].
    pub async fn roll_back(
        &self,
        name: &PluginId,
        to: Option<&Version>,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked) = (self.open_deployments()?, asked.clone());
        let (name, to) = (name.clone(), to.cloned());
        detached(async move { deployments.roll_back(&name, to.as_ref(), &asked).await }).await
    }

    /// Keeps the canary at its step. If it does harm, it is taken back all the same.
    ///
    /// # Errors
    /// `deploy/no-canary`, `deploy/conflict`, and those of storing.
    pub async fn hold(&self, name: &PluginId, asked: &Asked) -> Result<Arc<Deployment>, HostError> {
        let hold = |rollout: &mut host_deploy::Rollout| {
            rollout.set_on_hold(true);
            true
        };
        self.steer(name, "hold", asked, hold).await
    }

    /// Lets a canary that is on hold go on.
    ///
    /// # Errors
    /// As for [`PluginHost::hold`].
    pub async fn resume(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let resume = |rollout: &mut host_deploy::Rollout| {
            rollout.set_on_hold(false);
            true
        };
        self.steer(name, "resume", asked, resume).await
    }

    /// Gives the canary its next step now.
    ///
    /// # Errors
    /// `deploy/last-step` if that would be all calls, and as for [`PluginHost::hold`].
    pub async fn advance(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        self.steer(name, "advance", asked, host_deploy::Rollout::advance).await
    }

    async fn steer(
        &self,
        name: &PluginId,
        what: &'static str,
        asked: &Asked,
        change: impl FnOnce(&mut host_deploy::Rollout) -> bool + Send + 'static,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked, name) = (self.open_deployments()?, asked.clone(), name.clone());
        detached(async move { deployments.steer(&name, what, &asked, change).await }).await
    }

    /// Makes a share of the `process` calls once more, on a staged version that can change nothing, and compares
    /// the answers. Nobody waits for it.
    ///
    /// # Errors
    /// `deploy/no-active`, `deploy/illegal-transition`, and as for [`PluginHost::activate`].
    pub async fn shadow(
        &self,
        name: &PluginId,
        shadow: Shadow,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked, name) = (self.open_deployments()?, asked.clone(), name.clone());
        detached(async move { deployments.shadow(&name, shadow, &asked).await }).await
    }

    /// Mirrors no more.
    ///
    /// # Errors
    /// `deploy/no-shadow`, and those of storing.
    pub async fn end_shadow(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (deployments, asked, name) = (self.open_deployments()?, asked.clone(), name.clone());
        detached(async move { deployments.end_shadow(&name, &asked).await }).await
    }

    /// What happened to the versions of a plugin: at most `limit` records, the newest last.
    ///
    /// # Errors
    /// `deploy/not-deployed`, and those of reading.
    pub async fn history(&self, name: &PluginId, limit: usize) -> Result<Vec<Record>, HostError> {
        self.open_deployments()?.history(name, limit).await
    }

    /// Where the versions of a plugin stand.
    ///
    /// # Errors
    /// `deploy/not-deployed`, `deploy/no-storage`.
    pub fn deployment(&self, name: &PluginId) -> Result<DeploymentStatus, HostError> {
        let lane = self.open_deployments()?.lane(name).map(|lane| status(&lane));
        let known = lane.filter(|status| !status.deployment.versions.is_empty());
        known.ok_or_else(|| HostError::NotDeployed(name.clone()))
    }

    /// Where the versions of all plugins stand of which any was deployed, by name.
    pub fn deployments(&self) -> Vec<DeploymentStatus> {
        let lanes = self.inner.deployments.as_ref().map(|deployments| deployments.lanes());
        lanes.unwrap_or_default().iter().map(|lane| status(lane)).collect()
    }

    fn open_deployments(&self) -> Result<Arc<Deployments>, HostError> {
        if !self.is_ready() {
            return Err(HostError::ShuttingDown);
        }
        self.inner.deployments.clone().ok_or(HostError::NoDeployments)
    }
}

/// Does what must not be left half done, whether or not anybody waits for it.
async fn detached<R: Send + 'static>(
    work: impl Future<Output = Result<R, HostError>> + Send + 'static,
) -> Result<R, HostError> {
    // It does not panic; if it did, or the runtime goes down, the host does not know how it ended.
    tokio::spawn(work).await.unwrap_or(Err(HostError::ShuttingDown))
}

fn status(lane: &Lane) -> DeploymentStatus {
    let rollout = lane.trial().map(|trial| {
        let rollout = trial.rollout();
        let waits_for = match rollout.decide() {
            host_deploy::Decision::Stay(stay) => Some(stay),
            _ => None,
        };
        RolloutStatus { waits_for, summary: rollout.comparison().summary(), rollout }
    });
    let of = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    DeploymentStatus {
        deployment: lane.deployment(),
        rollout,
        shadow: lane.mirror().map(|mirror| mirror.counts()),
        counts: DeployCounts {
            swaps: of(&lane.counts.swaps),
            rollbacks: of(&lane.counts.rollbacks),
            advanced: of(&lane.counts.advanced),
            promoted: of(&lane.counts.promoted),
            rejected: of(&lane.counts.rejected),
        },
    }
}
