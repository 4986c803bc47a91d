//! What takes rollouts from step to step: looks at each again and again, and does what it decides.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use host_core::PluginState;
use host_deploy::{Command, Decision};
use plugin_contract::Explain;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Deployments, Lane, Trial, by_host, count};
use crate::HostError;

/// How often.
const LOOK: Duration = Duration::from_millis(100);

/// When it is tried again to do what could not be stored.
const RETRY: Duration = Duration::from_secs(2);

/// How often it is stored what was seen of calls. A host that is killed loses no more.
const SAVE: Duration = Duration::from_secs(2);

/// Looks after rollouts for as long as there is a host.
pub(crate) async fn drive(deployments: Weak<Deployments>) {
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut saved = Instant::now();
    loop {
        looks.tick().await;
        let Some(deployments) = deployments.upgrade() else { return };
        let save = saved.elapsed() >= SAVE;
        if save {
            saved = Instant::now();
        }
        for lane in deployments.lanes() {
            let Some(trial) = lane.trial() else { continue };
            if trial.waits() {
                continue;
            }
            if let Err(error) = deployments.look(&lane, &trial, save).await {
                // It is tried again; what serves goes on.
                trial.wait(RETRY);
                tracing::warn!(plugin = %lane.name, code = error.code(), %error, "a rollout cannot go on");
            }
        }
    }
}

impl Deployments {
    /// Looks at one rollout.
    async fn look(
        &self,
        lane: &Arc<Lane>,
        trial: &Arc<Trial>,
        save: bool,
    ) -> Result<(), HostError> {
        let version = trial.rollout().version;
        let canary = self.registry.get(&lane.name, &version);
        let state = canary.as_ref().map_or(PluginState::Unloaded, |canary| canary.state());
        let decision = trial.look(state == PluginState::Serving);
        if matches!(decision, Decision::RollBack(_)) {
            // A step may take long, such as that of compiling another version.
            trial.take_out();
        }
        // An operator takes a step: theirs counts.
        let Some(_turn) = lane.try_turn() else { return Ok(()) };
        // They may have taken it since.
        if !lane.trial().is_some_and(|now| Arc::ptr_eq(&now, trial)) {
            return Ok(());
        }
        let decision = match decision {
            Decision::RollBack(_) => decision,
            _ => trial.rollout().decide(),
        };
        if matches!(state, PluginState::Failed | PluginState::Quarantined | PluginState::Recovering)
            || canary.is_none()
        {
            let trouble = canary.and_then(|canary| canary.trouble());
            let code = trouble.map_or("host/unknown-plugin", |trouble| trouble.code());
            return self.reject(lane, &format!("the canary does not serve: {code}")).await;
        }
        // An operator has unloaded it, or it is paused: it goes no further until it serves.
        let goes_on = matches!(decision, Decision::RollBack(_)) || state == PluginState::Serving;
        match decision {
            _ if !goes_on => Ok(()),
            Decision::RollBack(harm) => self.reject(lane, &harm.to_string()).await,
            Decision::Advance => {
                let mut rollout = trial.rollout();
                let (was, why) = (rollout.share(), "held without harm");
                if rollout.advance() {
                    let why = format!("{why} at {was}; now {}", rollout.share());
                    self.go_on(lane, rollout, "advance", &by_host(&why)).await?;
                    count(&lane.counts.advanced);
                }
                Ok(())
            }
            Decision::Promote => {
                let why =
                    format!("held without harm at {}, the last step", trial.rollout().share());
                self.promote_now(lane, &by_host(&why)).await?;
                count(&lane.counts.promoted);
                Ok(())
            }
            Decision::Stay(_) if save => match trial.news() {
                Some(rollout) => {
                    let save = Command::Progress { rollout: Box::new(rollout), what: None };
                    self.commit(lane, save, &by_host("")).await.map(drop)
                }
                None => Ok(()),
            },
            Decision::Stay(_) => Ok(()),
        }
    }

    async fn reject(&self, lane: &Lane, why: &str) -> Result<(), HostError> {
        tracing::warn!(plugin = %lane.name, why, "a canary is taken back");
        // A disk that is full does not make harm less harmful.
        if let Some(trial) = lane.trial() {
            trial.take_out();
        }
        self.end_canary(lane, Command::Reject, &by_host(why)).await?;
        count(&lane.counts.rejected);
        Ok(())
    }
}
