//! Asking plugins how they are.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use plugin_contract::Explain;
use tokio::time::Instant;

use super::{
    Active, Plugin,
    state::{State, later},
};
use crate::{
    CallBudget, CoreError, Operation, PluginStatus, StoreData, guard::breaker::BreakerState,
};

/// Longest time for a plugin to say how it is.
const CHECK_MAX: Duration = Duration::from_secs(5);

/// When plugins are asked how they are, and when those that failed are started again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthSettings {
    /// Time between two checks of a plugin, give or take a tenth, and to within half a second. A day at
    /// most. Default 30 s.
    pub interval: Duration,
    /// Wait before a plugin that failed is started again; doubled with each failure in a row, and up to a
    /// fifth longer by chance. Default 1 s.
    pub backoff_min: Duration,
    /// Longest such wait. Default 60 s.
    pub backoff_max: Duration,
    /// Failures in a row after which a plugin is quarantined. Default 5.
    pub failures_max: u32,
    /// How long a plugin stays in quarantine before it is tried once more. Default 10 min.
    pub quarantine: Duration,
    /// Time for calls under way to end when a plugin is taken out of service. Default 30 s.
    pub drain_max: Duration,
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(60),
            failures_max: 5,
            quarantine: Duration::from_secs(600),
            drain_max: Duration::from_secs(30),
        }
    }
}

impl<T: StoreData> Plugin<T> {
    /// Asks it how it is, where its world can say, and draws the consequences: a plugin that has paused is
    /// called no more until it has resumed; one that is broken is started anew, after a while.
    pub async fn check_health(self: &Arc<Self>) {
        let Some(active) = self.active() else { return };
        match self.ask(&active).await {
            Ok(None) => {}
            Ok(Some(PluginStatus::Paused)) => {
                self.pause(&active);
            }
            Ok(Some(PluginStatus::Ready | PluginStatus::Running)) => {
                if self.proven(&active) {
                    self.failures.store(0, Ordering::Relaxed);
                }
                self.resume(&active);
            }
            Ok(Some(PluginStatus::Errored | PluginStatus::Uninitialized)) => {
                self.take_down(&active, CoreError::Unhealthy { plugin: self.name().clone() });
            }
            Err(error) if error.is_breakage() => self.take_down(&active, error),
            // The host is busy, which says nothing of the plugin.
            Err(_) => {}
        }
    }

    /// What it says; `None` if it cannot say, or all instances are at work, which is an answer, too.
    async fn ask(&self, active: &Active<T>) -> Result<Option<PluginStatus>, CoreError> {
        if !active.pool.prepared().offers(Operation::Status) {
            return Ok(Some(PluginStatus::Ready));
        }
        let budget = || self.terms.budget_within(CHECK_MAX);
        let broken =
            |status| matches!(status, Some(PluginStatus::Errored | PluginStatus::Uninitialized));
        if let Some(mut idle) = active.pool.lease_idle() {
            let status = idle.status(&budget()).await;
            match status {
                Ok(status) if !broken(status) => return Ok(status),
                // One instance has had enough. Whether the plugin has, a new one tells.
                _ => idle.spend(),
            }
        } else if active.pool.status().busy > 0 {
            return Ok(None);
        }
        let budget: CallBudget = budget();
        let mut fresh = active.pool.lease_new(&budget).await?;
        let status = fresh.status(&budget).await?;
        if broken(status) {
            fresh.spend();
        }
        Ok(status)
    }

    /// Whether it has served for long enough, and does so now, for what was before to be forgotten.
    fn proven(&self, active: &Active<T>) -> bool {
        let Some(shelf) = self.shelf.upgrade() else { return false };
        self.breaker.state() == BreakerState::Closed
            && later(active.since, shelf.settings.health.backoff_max) <= Instant::now()
    }

    fn take_down(&self, active: &Arc<Active<T>>, error: CoreError) {
        tracing::warn!(plugin = %self.name(), code = error.code(), "a plugin is not well");
        self.put_down(Arc::new(error), |state| match state {
            State::Serving(now) | State::Paused(now) => Arc::ptr_eq(now, active),
            _ => false,
        });
        self.tell();
    }

    /// What is to be done for it in each round of maintenance.
    pub(crate) fn look_after(self: &Arc<Self>, now: Instant) {
        self.retry_if_due();
        self.metrics.sample(now.into_std());
        if let BreakerState::Open { .. } = self.breaker.state()
            && self.breaker.openings() >= OPENINGS_MAX
            && let Some(active) = self.active()
        {
            // Started anew, with a closed breaker, it may do better; if it does not, it ends in quarantine.
            self.take_down(&active, CoreError::Unhealthy { plugin: self.name().clone() });
        }
    }

    /// How many starts and checks have failed in a row.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// Times in a row that the breaker opened before the plugin as a whole is given up.
const OPENINGS_MAX: u32 = 5;
