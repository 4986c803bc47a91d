//! A canary on its way: how large a share it gets, for how long, and what comes next.
//!
//! A [`Rollout`] is a value that is told of calls and of time that has passed, and [decides](Rollout::decide).
//! It can be stored at any moment and goes on from there.

use std::time::Duration;

use plugin_contract::Explain;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Share,
    verdict::{Arm, Comparison, Finding, Harm, Outcome, VerdictSettings},
};

/// In which steps a canary becomes the active version.
///
/// | field     | unit         | limits                                             | default            |
/// |-----------|--------------|----------------------------------------------------|--------------------|
/// | `steps`   | share        | 1 to 20 of them, each more than the one before     | 1 %, 5 %, 25 %, 100 % |
/// | `hold`    | time         | 1 ms to a day, for each step                      | 60 s               |
/// | `verdict` |              | see [`VerdictSettings`]                            |                    |
///
/// A step of 100 % promotes. A plan that ends below holds its last share until an operator decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Plan {
    steps: Vec<Share>,
    hold: Duration,
    verdict: VerdictSettings,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fields {
    steps: Vec<Share>,
    hold_ms: u64,
    #[serde(default)]
    verdict: VerdictSettings,
}

/// Why something is no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no plan: {0}")]
pub struct InvalidPlan(&'static str);

impl Explain for InvalidPlan {
    fn code(&self) -> &'static str {
        "deploy/invalid-plan"
    }

    fn remedy(&self) -> &'static str {
        "name growing shares and a time, such as `--steps 1%,5%,25%,100% --hold 60s`"
    }
}

impl Plan {
    /// Most steps.
    pub const STEPS_MAX: usize = 20;
    /// Longest time for one step.
    pub const HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);

    /// A plan.
    ///
    /// # Errors
    /// [`InvalidPlan`] says what is wrong with it.
    pub fn new(
        steps: Vec<Share>,
        hold: Duration,
        verdict: VerdictSettings,
    ) -> Result<Self, InvalidPlan> {
        let first = steps.first().ok_or(InvalidPlan("it has no steps"))?;
        if steps.len() > Self::STEPS_MAX {
            return Err(InvalidPlan("it has more than 20 steps"));
        }
        if first.is_none() {
            return Err(InvalidPlan("a share of nothing tells nothing"));
        }
        if first.is_all() {
            return Err(InvalidPlan("a canary with all calls has nothing to be compared with"));
        }
        if !steps.is_sorted_by(|a, b| a < b) {
            return Err(InvalidPlan("each step must be more than the one before"));
        }
        if hold < Duration::from_millis(1) || hold > Self::HOLD_MAX {
            return Err(InvalidPlan("a step is held for 1 ms to a day"));
        }
        Ok(Self { steps, hold, verdict })
    }

    /// The shares, one after the other.
    pub fn steps(&self) -> &[Share] {
        &self.steps
    }

    /// How long each is held.
    pub fn hold(&self) -> Duration {
        self.hold
    }

    /// When a canary is found to do harm.
    pub fn verdict(&self) -> &VerdictSettings {
        &self.verdict
    }
}

impl Default for Plan {
    fn default() -> Self {
        let steps = [100, 500, 2_500, 10_000].into_iter().filter_map(Share::from_basis_points);
        let (hold, verdict) = (Duration::from_secs(60), VerdictSettings::default());
        Self { steps: steps.collect(), hold, verdict }
    }
}

impl TryFrom<Fields> for Plan {
    type Error = InvalidPlan;
    fn try_from(fields: Fields) -> Result<Self, InvalidPlan> {
        Self::new(fields.steps, Duration::from_millis(fields.hold_ms), fields.verdict)
    }
}

impl From<Plan> for Fields {
    fn from(plan: Plan) -> Self {
        let hold_ms = u64::try_from(plan.hold.as_millis()).unwrap_or(u64::MAX);
        Self { steps: plan.steps, hold_ms, verdict: plan.verdict }
    }
}

/// A canary and how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// The canary.
    pub version: Version,
    plan: Plan,
    step: usize,
    held: Duration,
    is_on_hold: bool,
    comparison: Comparison,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Nothing yet.
    Stay(Stay),
    /// The next step: [`Rollout::advance`].
    Advance,
    /// All steps were taken: the canary becomes the active version.
    Promote,
    /// The canary does harm.
    RollBack(Harm),
}

/// What a rollout waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "for")]
pub enum Stay {
    /// The time of the step.
    Time {
        /// How much is left, in milliseconds.
        left_ms: u64,
    },
    /// More calls: too few to tell anything.
    Calls {
        /// How many the canary had in this step.
        canary: u64,
        /// How many the active version had meanwhile.
        stable: u64,
        /// How many each must have.
        wanted: u64,
    },
    /// The operator: there are no further steps, or it was put on hold.
    Operator,
}

impl Rollout {
    /// At the first step of `plan`.
    pub fn new(version: Version, plan: Plan) -> Self {
        let comparison = Comparison::new(plan.verdict);
        Self { version, plan, step: 0, held: Duration::ZERO, is_on_hold: false, comparison }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which step it is at, from 0.
    pub fn step(&self) -> usize {
        self.step.min(self.plan.steps.len() - 1)
    }

    /// The share of the calls that the canary gets now.
    pub fn share(&self) -> Share {
        self.plan.steps[self.step()]
    }

    /// How long this step has been held.
    pub fn held(&self) -> Duration {
        self.held
    }

    /// Whether an operator put it on hold: then it takes no further step, and still is taken back if the
    /// canary does harm.
    pub fn is_on_hold(&self) -> bool {
        self.is_on_hold
    }

    /// What is known of canary and active version since this step began.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// A call ended.
    pub fn observe(&mut self, arm: Arm, outcome: Outcome) {
        self.comparison.observe(arm, outcome);
    }

    /// Time has passed in which calls were taken.
    pub fn pass(&mut self, time: Duration) {
        self.held = self.held.saturating_add(time).min(Plan::HOLD_MAX);
    }

    /// What comes next, by all that was told so far.
    pub fn decide(&self) -> Decision {
        let finding = match self.comparison.finding() {
            Finding::Harm(harm) => return Decision::RollBack(harm),
            finding => finding,
        };
        let next = self.plan.steps.get(self.step() + 1);
        let Some(next) = next.filter(|_| !self.is_on_hold) else {
            return Decision::Stay(Stay::Operator);
        };
        let left = self.plan.hold.saturating_sub(self.held);
        if !left.is_zero() {
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
            return Decision::Stay(Stay::Time { left_ms });
        }
        match finding {
            Finding::Waiting { canary_calls: canary, stable_calls: stable, wanted } => {
                Decision::Stay(Stay::Calls { canary, stable, wanted })
            }
            _ if next.is_all() => Decision::Promote,
            _ => Decision::Advance,
        }
    }

    /// Goes to the next step, where comparing begins anew. Returns whether there was one; one of 100 % is
    /// none, since it is a promotion.
    pub fn advance(&mut self) -> bool {
        let next = self.step() + 1;
        if self.plan.steps.get(next).is_none_or(|share| share.is_all()) {
            return false;
        }
        self.comparison = Comparison::new(self.plan.verdict);
        (self.step, self.held, self.is_on_hold) = (next, Duration::ZERO, false);
        true
    }

    /// Puts it on hold, or lets it go on.
    pub fn set_on_hold(&mut self, is_on_hold: bool) {
        self.is_on_hold = is_on_hold;
    }
}

#[cfg(test)]
mod tests;
