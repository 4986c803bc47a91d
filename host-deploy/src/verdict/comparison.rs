//! From outcomes to a finding.

use std::{mem, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Arm, ArmSummary, Finding, Harm, Outcome, Percentile, Sound, Summary, Symptom, VerdictSettings,
    block::Block,
    latencies::Latencies,
    sound,
    wealth::{Wealth, e_value},
};

/// Compares a canary with the revision that serves, at one step of a rollout. [How](super#how).
///
/// Start a new one with each step: shares differ between them, and so may the time of day. Calls are
/// to be dealt to the arms by chance, in the same way for the whole step.
///
/// It can be kept in a file and goes on where it stood. A few kilobytes, however many calls; a call
/// costs less than 100 ns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Comparison {
    settings: VerdictSettings,
    stable: Tally,
    canary: Tally,
    /// From which latency on a call of each arm is slow, for each percentile, in ns. Stays for a
    /// whole block, so that it is fixed before anything is bet on. `None`: not yet known.
    slow_from: Option<[[u64; 3]; 2]>,
    #[serde(deserialize_with = "sound")]
    block: Block,
    #[serde(deserialize_with = "sound")]
    errors: Wealth,
    #[serde(deserialize_with = "sound")]
    slow: [Wealth; 3],
    #[serde(deserialize_with = "sound")]
    harm: Option<Harm>,
}

/// What is known of one arm by itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Tally {
    calls: u64,
    failures: u64,
    /// Of calls that did not fail.
    latencies: Latencies,
}

impl Comparison {
    /// Good calls of stable from which percentiles are told.
    const LATENCIES_MIN: usize = 50;

    /// One that has seen nothing yet.
    pub fn new(settings: VerdictSettings) -> Self {
        Self {
            settings,
            stable: Tally::default(),
            canary: Tally::default(),
            slow_from: None,
            block: Block::default(),
            errors: Wealth::default(),
            slow: Default::default(),
            harm: None,
        }
    }

    /// Takes in how a call ended. In the order in which calls end, whatever their arm: what is near
    /// in time is compared.
    pub fn observe(&mut self, arm: Arm, outcome: Outcome) {
        let (failed, ns) = (outcome.failed, nanoseconds(outcome.latency));
        let tally = match arm {
            Arm::Stable => &mut self.stable,
            Arm::Canary => &mut self.canary,
        };
        tally.add(failed, ns);
        let [p50, p90, p99] = match &self.slow_from {
            Some(slow_from) => slow_from[arm as usize].map(|from| failed || ns >= from),
            None => [false; 3],
        };
        self.block.add(arm, [failed, p50, p90, p99]);
        if self.block.is_full() {
            self.settle();
        }
    }

    /// What is known by now. Costs next to nothing: ask as often as you like.
    pub fn finding(&self) -> Finding {
        let (stable_calls, canary_calls) = (self.stable.calls, self.canary.calls);
        let wanted = self.settings.sample_min();
        match self.harm {
            Some(harm) => Finding::Harm(harm),
            None if stable_calls.min(canary_calls) >= wanted => Finding::Healthy,
            None => Finding::Waiting { stable_calls, canary_calls, wanted },
        }
    }

    /// Everything there is to see.
    pub fn summary(&self) -> Summary {
        Summary {
            stable: self.stable.summary(),
            canary: self.canary.summary(),
            errors_e_value: e_value(self.errors.ln()),
            latency_e_value: self.latency().0,
            e_value_wanted: self.settings.e_value_wanted(),
        }
    }

    /// By which settings it judges.
    pub fn settings(&self) -> &VerdictSettings {
        &self.settings
    }

    fn settle(&mut self) {
        let [failed, slow @ ..] = mem::take(&mut self.block).tables();
        self.errors.bet(failed);
        self.slow.iter_mut().zip(slow).for_each(|(wealth, table)| wealth.bet(table));
        if self.harm.is_none() {
            self.harm = self.judge();
        }
        if self.stable.latencies.len() >= Self::LATENCIES_MIN {
            self.slow_from =
                self.stable.latencies.percentiles(Percentile::PERCENTS).map(|stable| {
                    let slack = nanoseconds(self.settings.latency_slack());
                    let tolerated = |ns| (ns as f64 * self.settings.latency_ratio()) as u64 + slack;
                    [stable.map(|ns| ns + 1), stable.map(|ns| tolerated(ns) + 1)]
                });
        }
    }

    fn judge(&self) -> Option<Harm> {
        let errors = e_value(self.errors.ln());
        let (latency, percentile) = self.latency();
        let (symptom, e_value) = match self.settings.e_value_wanted() {
            wanted if errors >= wanted => (Symptom::Errors, errors),
            wanted if latency >= wanted => (Symptom::Latency(percentile), latency),
            _ => return None,
        };
        let (stable, canary) = (self.stable.summary(), self.canary.summary());
        Some(Harm { symptom, stable, canary, e_value })
    }

    /// What was made by betting on slow calls, and at which percentile most of it.
    fn latency(&self) -> (f64, Percentile) {
        let mut most = (0.0, Percentile::P50);
        let mut sum = 0.0;
        for (wealth, percentile) in self.slow.iter().zip(Percentile::WATCHED) {
            let e_value = e_value(wealth.ln());
            sum += e_value;
            if e_value > most.0 {
                most = (e_value, percentile);
            }
        }
        (sum / self.slow.len() as f64, most.1)
    }
}

impl Tally {
    fn add(&mut self, failed: bool, ns: u64) {
        self.calls = self.calls.saturating_add(1);
        if failed {
            self.failures = self.failures.saturating_add(1);
        } else {
            self.latencies.add(ns);
        }
    }

    fn summary(&self) -> ArmSummary {
        let percentiles = self.latencies.percentiles(Percentile::PERCENTS);
        let at = |i: usize| percentiles.map(|ns| Duration::from_nanos(ns[i]));
        let (calls, failures) = (self.calls, self.failures.min(self.calls));
        let failure_rate = failures as f64 / calls.max(1) as f64;
        ArmSummary { calls, failures, failure_rate, p50: at(0), p90: at(1), p99: at(2) }
    }
}

impl Sound for [Wealth; 3] {
    fn is_sound(&self) -> bool {
        self.iter().all(Sound::is_sound)
    }
}

/// More than 584 years are 584 years.
pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
