//! Whether a canary does harm, told while calls arrive.
//!
//! A [`Comparison`] takes the [`Outcome`] of every call of both arms and can be asked at any time,
//! after every call if need be. It answers [`Finding::Harm`] if the canary fails more often or
//! answers later than tolerated; for a canary that does neither, the chance that it ever says so is
//! at most the `alpha` of its [`VerdictSettings`], however often one looks and however long it runs.
//!
//! ```
//! use std::time::Duration;
//! use host_deploy::verdict::{Arm, Comparison, Finding, Outcome, VerdictSettings};
//!
//! let mut comparison = Comparison::new(VerdictSettings::default());
//! for call in 0..10_000 {
//!     let arm = if call % 20 == 0 { Arm::Canary } else { Arm::Stable };
//!     let failed = arm == Arm::Canary && call % 400 == 0; // one in twenty
//!     comparison.observe(arm, Outcome { failed, latency: Duration::from_millis(3) });
//! }
//! let Finding::Harm(harm) = comparison.finding() else { panic!("seen before") };
//! assert!(harm.to_string().starts_with("the canary fails more often"));
//! ```
//!
//! # How
//!
//! Testing by betting: somebody who believes in harm starts with one unit of money and bets on
//! which calls will fail. The bets are fair or worse if there is no harm, so a fortune of 1,000 is
//! made with a chance of at most 1 in 1,000, at any time (Ville's inequality). Two such players have
//! half of `alpha` each: one bets on failures, one on calls that are *slow*.
//!
//! * Outcomes are taken in blocks of 64, in the order in which they arrive, whatever their arms.
//!   Within a block only the draw is bet on: *these* calls failed; how many of them are the
//!   canary's? That needs no rate to be known or to stay the same, nor the true share of traffic.
//!   A fault or a load that hits both arms favours neither. This is the stratified (Mantel–Haenszel)
//!   form of the sequential logrank test for ties; `block` has the formula and the proof.
//! * How bad the harm is, nobody knows before: the money is spread over eight odds ratios from 1.15
//!   to 64, and the best of them takes over (`wealth`).
//! * When it sets in, nobody knows either: part of the money is kept as cash, and fresh bets are
//!   opened all along, so that a long healthy time does not use up what a late harm is found with.
//! * A call is *slow* if it took longer than a percentile of what the stable arm took so far; the
//!   median, p90 and p99 have a third of the money each. For the canary the bar is raised by the
//!   tolerances, which makes "slower by up to that" a part of what is no harm. A call that failed
//!   is slow: it gave no answer at any time. So failing fast does not look quick, and a canary that
//!   answers late where stable gave up is not blamed. Nothing is counted twice by this, since the
//!   two players do not share their money.
//!
//! What it takes for granted is that calls come to the arms by chance and independently, as by a
//! [`Split`](crate::Split) over ids that are new with each call. Ten retries under one id are one
//! draw, not ten: hand in the first.
//!
//! Not here: what follows from a finding (promote, hold, roll back), and how long a step lasts.
//!
//! # Sources
//!
//! J. ter Schure, M. Pérez-Ortiz, A. Ly, P. Grünwald, "The anytime-valid logrank test", NEJSDS 2(2),
//! 2024 (bets on who has the event, given that there is one). R. Turner, A. Ly, P. Grünwald,
//! "Generic E-variables for exact sequential k-sample tests that allow for optional stopping", JSPI
//! 230, 2024 (blocks of two samples), and R. Turner, P. Grünwald, "Safe sequential testing and
//! effect estimation in stratified count data", AISTATS 2023. G. Shafer, "Testing by betting", JRSS A
//! 184(2), 2021.

use std::time::Duration;

use serde::{Deserialize, Serialize};

mod block;
mod comparison;
mod latencies;
mod report;
mod settings;
mod wealth;

pub use comparison::Comparison;
pub use report::{ArmSummary, Harm, Percentile, Summary, Symptom};
pub use settings::{SettingsError, VerdictSettings};

/// Whose call it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// The revision that serves.
    Stable,
    /// The candidate.
    Canary,
}

/// How one call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// It gave no good answer. What counts as one is the caller's choice, but the same for both arms:
    /// an answer that refuses bad input is usually a good one.
    pub failed: bool,
    /// From the call to its end.
    pub latency: Duration,
}

/// What a [`Comparison`] has found so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Finding {
    /// Too few calls to say that the canary is healthy. Harm needs no minimum.
    Waiting {
        /// Calls that stable has answered.
        stable_calls: u64,
        /// Calls that the canary has answered.
        canary_calls: u64,
        /// Calls that each of them should have answered.
        wanted: u64,
    },
    /// Both arms answered enough calls, and no harm was seen in them. How small a harm would have
    /// been seen depends on their number.
    Healthy,
    /// The canary does harm. Stays, whatever comes later.
    Harm(Harm),
}

/// State that is read back is checked, so that whatever is in the file, nothing panics.
trait Sound {
    fn is_sound(&self) -> bool;
}

/// For `#[serde(deserialize_with = "sound")]`.
fn sound<'de, D: serde::Deserializer<'de>, T: Sound + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = T::deserialize(deserializer)?;
    let refusal = || serde::de::Error::custom("no state that a comparison can be in");
    if value.is_sound() { Ok(value) } else { Err(refusal()) }
}

#[cfg(test)]
mod tests;
