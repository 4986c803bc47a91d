//! What was seen, for an operator's screen and for the log.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Sound;

/// Where both arms stand.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// The revision that serves.
    pub stable: ArmSummary,
    /// The candidate.
    pub canary: ArmSummary,
    /// What betting on more failures has made of 1. Without harm, it stays about there or below.
    pub errors_e_value: f64,
    /// What betting on slower calls has made of 1.
    pub latency_e_value: f64,
    /// Either of them reaches this: harm.
    pub e_value_wanted: f64,
}

/// Where one arm stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ArmSummary {
    /// Calls that ended.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Failures per call; 0 without calls.
    pub failure_rate: f64,
    /// Half of the last few thousand good calls took no longer, to 6 %. `None` without any. In
    /// files, a number of nanoseconds.
    #[serde(with = "nanoseconds", rename = "p50-ns")]
    pub p50: Option<Duration>,
    /// The same, of nine in ten.
    #[serde(with = "nanoseconds", rename = "p90-ns")]
    pub p90: Option<Duration>,
    /// The same, of 99 in a hundred.
    #[serde(with = "nanoseconds", rename = "p99-ns")]
    pub p99: Option<Duration>,
}

/// How a canary does harm, and what showed it.
///
/// As text, one line for the log.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Harm {
    /// What is worse than with the revision that serves.
    pub symptom: Symptom,
    /// The revision that serves, when the harm was found.
    pub stable: ArmSummary,
    /// The canary, when the harm was found.
    pub canary: ArmSummary,
    /// The evidence: a canary without harm comes to this e-value or a higher one with a chance of at
    /// most 1 in as many.
    pub e_value: f64,
}

/// What is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Symptom {
    /// Calls fail more often.
    Errors,
    /// Calls take longer than tolerated, most clearly so at this percentile.
    Latency(Percentile),
}

/// A percentile that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Percentile {
    /// The median.
    P50,
    /// Of ten calls, the slowest.
    P90,
    /// Of a hundred calls, the slowest.
    P99,
}

impl Percentile {
    pub(super) const WATCHED: [Self; 3] = [Self::P50, Self::P90, Self::P99];
    pub(super) const PERCENTS: [u8; 3] = [50, 90, 99];
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stable, canary, e_value, .. } = self;
        let at = |arm: &ArmSummary, percentile| match percentile {
            Percentile::P50 => arm.p50.unwrap_or_default(),
            Percentile::P90 => arm.p90.unwrap_or_default(),
            Percentile::P99 => arm.p99.unwrap_or_default(),
        };
        match self.symptom {
            Symptom::Errors => write!(
                f,
                "the canary fails more often: {:.2} % of {} calls, stable {:.2} % of {}",
                canary.failure_rate * 100.0,
                canary.calls,
                stable.failure_rate * 100.0,
                stable.calls,
            )?,
            Symptom::Latency(percentile) => write!(
                f,
                "the canary is slower: {percentile:?} about {:.1?} in {} calls, stable {:.1?} in {}",
                at(canary, percentile),
                canary.calls,
                at(stable, percentile),
                stable.calls,
            )?,
        }
        write!(f, " (evidence {e_value:.0} to 1)")
    }
}

impl Sound for ArmSummary {
    fn is_sound(&self) -> bool {
        (0.0..=1.0).contains(&self.failure_rate)
    }
}

impl Sound for Option<Harm> {
    fn is_sound(&self) -> bool {
        self.is_none_or(|harm| {
            harm.e_value.is_finite() && harm.stable.is_sound() && harm.canary.is_sound()
        })
    }
}

/// A duration as a number that every reader of JSON understands.
mod nanoseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(super::super::comparison::nanoseconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}
