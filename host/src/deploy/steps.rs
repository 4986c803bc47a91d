//! The steps of one plugin, each decided, stored, and then put into effect.
//!
//! What may fail comes first: a new revision is compiled, initialised and probed apart from all others. Only
//! then is the step stored, and only then do calls go elsewhere. If anything fails before, what served goes on
//! as if nothing had been.

use std::sync::Arc;

use futures::FutureExt;
use host_core::{CoreError, PluginState, Purpose};
use host_deploy::{
    Command, Deployment, Illegal, Note, PermissionDiff, Plan, PluginVersion, Record, Rollout,
    Shadow, Status,
};
use plugin_contract::{Explain, PluginId, SYSTEM_PACKAGE};
use semver::Version;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Asked, Contract, Deployments, Lane, Upload, by_host, count, effects::is_its_own_fault,
    intake::Intake, now_ms,
};
use crate::{HostError, routes::HostPlugin};

/// What is done with a version once it is staged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Then {
    /// The first version of a plugin answers calls at once; any other waits for what is decided.
    #[default]
    FirstServes,
    /// It waits, even if it is the first.
    Stage,
    /// It answers calls at once.
    Activate,
}

/// How a version is deployed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeployOptions {
    /// What comes next.
    pub then: Then,
    /// Takes a version that is older than what serves.
    pub allow_downgrade: bool,
    /// Takes a version that callers of the one before cannot live with.
    pub allow_breaking: bool,
}

/// What came of deploying a version.
#[derive(Debug, Clone, PartialEq)]
pub struct Deployed {
    /// The version, as it stands now.
    pub version: PluginVersion,
    /// How its contract compares with that of what served; `None` if nothing did.
    pub contract: Option<Contract>,
    /// What it asks for that what served did not, and the other way round.
    pub permissions: PermissionDiff,
    /// The revision of the deployment.
    pub revision: u64,
}

impl Deployments {
    /// Takes an upload in. Returns once it is staged, or serves.
    pub(crate) async fn deploy(
        &self,
        upload: Upload,
        options: DeployOptions,
        asked: &Asked,
    ) -> Result<Deployed, HostError> {
        let intake = Intake::read(upload, self.terms.clone(), self.admission.clone()).await?;
        let lane = self.lane_or_new(intake.name());
        let _turn = lane.turn().await;
        check_seen(&lane, asked)?;
        let adoption = self.adoption(&lane).await?;
        let deployment = match &adoption {
            Some(adoption) => adoption.deployment().clone(),
            None => lane.deployment(),
        };
        let note = asked.note("deployed");

        let known = deployment.versions.get(intake.version());
        let release = intake.release(&PermissionDiff::default(), now_ms());
        if known.is_some_and(|known| known.artifact == release.artifact) {
            // What was kept may have been damaged since: this mends it.
            self.keep(&intake).await?;
        }
        let contract =
            self.compare(&deployment, adoption.as_ref(), &intake, options.allow_breaking).await?;
        let active = self.active_plugin(&lane);
        let permissions = self.asks_beyond(&deployment, active.as_ref(), &intake).await;
        self.registry.check_fits(active.as_ref(), intake.manifest())?;

        let version = intake.version().clone();
        let is_news = known.is_none_or(|known| known.status == Status::Failed);
        let awaits_approval = permissions.widened.clone();
        let release = PluginVersion { awaits_approval, ..release };
        let stage = Command::Stage {
            version: Box::new(release.clone()),
            allow_downgrade: options.allow_downgrade,
        };
        // Refused before it is kept and run.
        deployment.apply(stage.clone(), &note)?;
        if let Some(adoption) = adoption {
            self.adopt(&lane, adoption).await?;
        }
        self.keep(&intake).await?;
        if is_news && release.awaits_approval.is_empty() {
            self.probe(&lane, &release, stage.clone(), &note).await?;
        }
        self.commit(&lane, stage, &note).await?;
        let serves = match options.then {
            Then::Activate => true,
            Then::FirstServes => deployment.active().is_none(),
            Then::Stage => false,
        };
        let staged = lane.deployment();
        let staged = staged.version(&version)?;
        if serves && staged.status == Status::Staged && staged.awaits_approval.is_empty() {
            self.take_over(&lane, &version, Command::Activate(version.clone()), &note).await?;
        }
        if staged.status == Status::Active && self.active_plugin(&lane).is_none() {
            // It could not be read when the host started.
            let new = self.start(&lane, &version, Purpose::Serve).await?;
            self.install(new, false, async { Ok(()) }).await?;
            // Before, there was nobody whose calls could be made once more.
            self.terms.routes.mirror(&lane.name, lane.mirror());
        }
        self.collect(&lane).await;
        let deployment = lane.deployment();
        Ok(Deployed {
            version: deployment.version(&version)?.clone(),
            contract,
            permissions,
            revision: deployment.revision,
        })
    }

    /// Agrees to what a version asks for.
    pub(crate) async fn approve(
        &self,
        name: &PluginId,
        version: &Version,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        self.commit(&lane, Command::Approve(version.clone()), &asked.note("approved")).await
    }

    /// Has a version answer all calls.
    pub(crate) async fn activate(
        &self,
        name: &PluginId,
        version: &Version,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        let command = Command::Activate(version.clone());
        self.take_over(&lane, version, command, &asked.note("activated")).await?;
        Ok(lane.deployment())
    }

    /// Gives a version the first share of a plan.
    pub(crate) async fn canary(
        &self,
        name: &PluginId,
        version: &Version,
        plan: Plan,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        let note = asked.note("a canary");
        let command = Command::StartCanary { version: version.clone(), plan: plan.clone() };
        let deployment = lane.deployment();
        deployment.apply(command.clone(), &note)?;
        let active = self.active_plugin(&lane);
        if active.as_ref().is_some_and(hands_over) {
            // Each would have a state of its own, and one of the two would be lost.
            return Err(HostError::StatefulCanary { plugin: name.clone() });
        }
        let new = self.start(&lane, version, Purpose::Serve).await?;
        let manifest = new.plugin().description().manifest.clone();
        if let Err(error) = self.registry.check_fits(active.as_ref(), &manifest) {
            new.discard(Instant::now()).await;
            return Err(error.into());
        }
        self.install(new, true, self.commit(&lane, command, &note).map(|done| done.map(drop)))
            .await?;
        self.lead_trial(&lane, Rollout::new(version.clone(), plan));
        Ok(lane.deployment())
    }

    /// Has the canary answer all calls.
    pub(crate) async fn promote(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        self.promote_now(&lane, &asked.note("promoted")).await?;
        Ok(lane.deployment())
    }

    pub(super) async fn promote_now(&self, lane: &Lane, note: &Note) -> Result<(), HostError> {
        let old = self.active_plugin(lane);
        let deployment = lane.deployment();
        let next = deployment.apply(Command::Promote, note)?.deployment;
        let new = next.active().and_then(|new| self.registry.get(&lane.name, &new.version));
        let new = new.filter(|new| new.state() != PluginState::Unloaded);
        // It would have all calls, and answer none.
        let new = new.ok_or_else(|| CoreError::NotLoaded { plugin: lane.name.clone() })?;
        if let Some(trouble) = new.trouble() {
            return Err(CoreError::Shared(trouble).into());
        }
        self.commit(lane, Command::Promote, note).await?;
        new.set_candidate(false);
        self.end_trial(lane);
        count(&lane.counts.swaps);
        if let Some(old) = old {
            self.remove(&old);
        }
        Ok(())
    }

    /// Goes back: from the canary to what serves, or from what serves to `to`, or to what served before.
    pub(crate) async fn roll_back(
        &self,
        name: &PluginId,
        to: Option<&Version>,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        let note = asked.note("rolled back");
        let deployment = lane.deployment();
        let active = deployment.active().map(|active| &active.version);
        if deployment.canary().is_some() && (to.is_none() || to == active) {
            self.end_canary(&lane, Command::Withdraw, &note).await?;
        } else {
            let to = match to {
                Some(to) => to.clone(),
                None => deployment.previous()?.version.clone(),
            };
            if deployment.canary().is_some() {
                // If it cannot go there, the canary is not to pay for it.
                let without = deployment.apply(Command::Withdraw, &note)?.deployment;
                without.apply(Command::Restore(to.clone()), &note)?;
                self.end_canary(&lane, Command::Withdraw, &note).await?;
            }
            self.take_over(&lane, &to, Command::Restore(to.clone()), &note).await?;
        }
        count(&lane.counts.rollbacks);
        Ok(lane.deployment())
    }

    /// Takes the canary out.
    pub(super) async fn end_canary(
        &self,
        lane: &Lane,
        command: Command,
        note: &Note,
    ) -> Result<(), HostError> {
        let canary = lane.deployment().canary().map(|canary| canary.version.clone());
        self.commit(lane, command, note).await?;
        self.end_trial(lane);
        let plugin = canary.and_then(|version| self.registry.get(&lane.name, &version));
        if let Some(plugin) = plugin {
            self.remove(&plugin);
        }
        Ok(())
    }

    /// Changes how a rollout goes on: `what` becomes of it is decided by `change`, which says whether it may.
    pub(crate) async fn steer(
        &self,
        name: &PluginId,
        what: &'static str,
        asked: &Asked,
        change: impl FnOnce(&mut Rollout) -> bool + Send,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        let none = || Illegal::NoCanary { name: name.clone() };
        let mut rollout = lane.trial().ok_or_else(none)?.rollout();
        if !change(&mut rollout) {
            return Err(HostError::LastStep { plugin: name.clone() });
        }
        self.go_on(&lane, rollout, what, &asked.note(what)).await?;
        Ok(lane.deployment())
    }

    /// Stores how a rollout goes on, and has calls go by it.
    pub(super) async fn go_on(
        &self,
        lane: &Lane,
        rollout: Rollout,
        what: &'static str,
        note: &Note,
    ) -> Result<(), HostError> {
        let progress = Command::Progress { rollout: Box::new(rollout.clone()), what: Some(what) };
        self.commit(lane, progress, note).await?;
        if let Some(trial) = lane.trial() {
            trial.set(rollout);
        }
        self.lead(lane);
        Ok(())
    }

    /// Mirrors a share of the calls to a version.
    pub(crate) async fn shadow(
        &self,
        name: &PluginId,
        shadow: Shadow,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        let note = asked.note("a shadow");
        let command = Command::StartShadow(shadow.clone());
        lane.deployment().apply(command.clone(), &note)?;
        let new = self.start(&lane, &shadow.version, Purpose::Shadow).await?;
        if let Err(error) = self.commit(&lane, command, &note).await {
            new.discard(Instant::now()).await;
            return Err(error);
        }
        self.mirror(&lane, new, &shadow);
        Ok(lane.deployment())
    }

    /// Mirrors no more.
    pub(crate) async fn end_shadow(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<Arc<Deployment>, HostError> {
        let (lane, _turn) = self.begin(name, asked).await?;
        self.commit(&lane, Command::StopShadow, &asked.note("no shadow")).await?;
        Ok(lane.deployment())
    }

    /// What happened to a plugin, the newest last.
    pub(crate) async fn history(
        &self,
        name: &PluginId,
        limit: usize,
    ) -> Result<Vec<Record>, HostError> {
        self.known(name)?;
        Ok(self.storage.history(name, limit).await?)
    }

    /// Waits for the steps before, and sees that what was decided on is still so.
    async fn begin(
        &self,
        name: &PluginId,
        asked: &Asked,
    ) -> Result<(Arc<Lane>, OwnedSemaphorePermit), HostError> {
        let lane = self.known(name)?;
        let turn = lane.turn().await;
        check_seen(&lane, asked)?;
        Ok((lane, turn))
    }

    fn known(&self, name: &PluginId) -> Result<Arc<Lane>, HostError> {
        let lane = self.lane(name).filter(|lane| lane.is_known());
        lane.ok_or_else(|| HostError::NotDeployed(name.clone()))
    }

    /// Has a version take the place of what serves.
    async fn take_over(
        &self,
        lane: &Lane,
        version: &Version,
        command: Command,
        note: &Note,
    ) -> Result<(), HostError> {
        let deployment = lane.deployment();
        // Refused before anything is run.
        deployment.apply(command.clone(), note)?;
        let new = match self.start(lane, version, Purpose::Serve).await {
            Ok(new) => new,
            Err(error) => {
                // What serves again and again is no worse for a host that has no room for it now.
                let was = deployment.version(version)?.status;
                if was == Status::Staged && is_its_own_fault(&error) {
                    let why = by_host(&format!("it did not start: {}", error.code()));
                    self.commit(lane, Command::Fail(version.clone()), &why).await?;
                }
                return Err(error);
            }
        };
        let commit = self.commit(lane, command, note).map(|done| done.map(|_| self.direct(lane)));
        match self.active_plugin(lane) {
            Some(old) => {
                // It drains on its own; whoever asked is not to wait for the longest call.
                let deadline = Instant::now() + self.settings.drain_timeout;
                self.registry.replace(&old, new, deadline, commit).await?;
                count(&lane.counts.swaps);
            }
            None => {
                let manifest = &new.plugin().description().manifest;
                if let Err(error) = self.registry.check_fits(None, manifest) {
                    new.discard(Instant::now()).await;
                    return Err(error.into());
                }
                self.install(new, false, commit).await?;
            }
        }
        Ok(())
    }
}

fn check_seen(lane: &Lane, asked: &Asked) -> Result<(), HostError> {
    let found = lane.deployment().revision;
    match asked.seen {
        Some(seen) if seen != found => {
            let name = lane.name.clone();
            Err(host_deploy::storage::StorageError::Conflict { name, seen, found }.into())
        }
        _ => Ok(()),
    }
}

/// Whether a revision keeps something that its successor is handed.
fn hands_over(plugin: &HostPlugin) -> bool {
    let mut exported = plugin.description().info.exported_interfaces();
    exported.any(|name| name.package == SYSTEM_PACKAGE && name.interface == "state-transfer")
}
