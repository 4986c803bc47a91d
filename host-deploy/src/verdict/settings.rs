//! What an operator may choose, and within which limits.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a [`Comparison`](super::Comparison) judges.
///
/// | setting         | unit           | default | from, to   | meaning                                           |
/// |-----------------|----------------|---------|------------|---------------------------------------------------|
/// | `alpha`         | probability    | 0.002   | 1e-9, 0.1  | false alarms of one comparison, however long       |
/// | `sample_min`    | calls each arm | 100     | 1, 1e9     | before that, a canary is not called healthy        |
/// | `latency_ratio` | ratio          | 1.1     | 1, 100     | a canary slower by up to this factor does no harm  |
/// | `latency_slack` | duration       | 50 µs   | 0, 1 hour  | and by this much, besides                          |
///
/// With the default `alpha`, five compared steps of a rollout together roll back at most one
/// healthy candidate in a hundred. The slack is for cold caches: a revision with little traffic finds
/// them so, and on a call of microseconds that is far more than a tenth.
///
/// In files, names are in kebab-case, and the slack is `latency-slack-us`, in whole microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct VerdictSettings {
    alpha: f64,
    sample_min: u64,
    latency_ratio: f64,
    latency_slack: Duration,
}

impl Default for VerdictSettings {
    fn default() -> Self {
        Self {
            alpha: 0.002,
            sample_min: 100,
            latency_ratio: 1.1,
            latency_slack: Duration::from_micros(50),
        }
    }
}

/// Which setting is outside of its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Also if it is no number.
    #[error("`alpha`, the rate of false alarms, is from 1e-9 to 0.1")]
    Alpha,
    /// Nothing can be said of no calls.
    #[error("`sample-min` is from 1 to 1,000,000,000 calls")]
    SampleMin,
    /// Also if it is no number.
    #[error("`latency-ratio` is from 1 (no slower) to 100")]
    LatencyRatio,
    /// It would hide everything.
    #[error("`latency-slack-us` is at most an hour")]
    LatencySlack,
}

impl VerdictSettings {
    /// With this chance of a false alarm.
    ///
    /// # Errors
    /// [`SettingsError::Alpha`].
    pub fn with_alpha(self, alpha: f64) -> Result<Self, SettingsError> {
        let fits = (1e-9..=0.1).contains(&alpha);
        if fits { Ok(Self { alpha, ..self }) } else { Err(SettingsError::Alpha) }
    }

    /// With this many calls of each arm before a canary is called healthy.
    ///
    /// # Errors
    /// [`SettingsError::SampleMin`].
    pub fn with_sample_min(self, sample_min: u64) -> Result<Self, SettingsError> {
        let fits = (1..=1_000_000_000).contains(&sample_min);
        if fits { Ok(Self { sample_min, ..self }) } else { Err(SettingsError::SampleMin) }
    }

    /// With this factor by which a canary may be slower.
    ///
    /// # Errors
    /// [`SettingsError::LatencyRatio`].
    pub fn with_latency_ratio(self, latency_ratio: f64) -> Result<Self, SettingsError> {
        let fits = (1.0..=100.0).contains(&latency_ratio);
        if fits { Ok(Self { latency_ratio, ..self }) } else { Err(SettingsError::LatencyRatio) }
    }

    /// With this much by which a canary may be slower besides. Less than a microsecond is cut off,
    /// so that the settings are the same after they were kept in a file.
    ///
    /// # Errors
    /// [`SettingsError::LatencySlack`].
    pub fn with_latency_slack(self, slack: Duration) -> Result<Self, SettingsError> {
        let whole = Duration::from_micros(slack.as_micros().min(u128::from(u64::MAX)) as u64);
        let fits = whole <= Duration::from_secs(3_600);
        if fits {
            Ok(Self { latency_slack: whole, ..self })
        } else {
            Err(SettingsError::LatencySlack)
        }
    }

    /// The chance that a canary that does no harm is ever said to.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Calls of each arm before a canary is called healthy.
    pub fn sample_min(&self) -> u64 {
        self.sample_min
    }

    /// The factor by which a canary may be slower.
    pub fn latency_ratio(&self) -> f64 {
        self.latency_ratio
    }

    /// By how much a canary may be slower besides.
    pub fn latency_slack(&self) -> Duration {
        self.latency_slack
    }

    /// What each of the two tests, of failures and of latency, has to win for harm to be called.
    pub(super) fn e_value_wanted(&self) -> f64 {
        2.0 / self.alpha
    }
}

/// As in a file.
#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Unchecked {
    alpha: f64,
    sample_min: u64,
    latency_ratio: f64,
    latency_slack_us: u64,
}

impl Default for Unchecked {
    fn default() -> Self {
        VerdictSettings::default().into()
    }
}

impl From<VerdictSettings> for Unchecked {
    fn from(settings: VerdictSettings) -> Self {
        Self {
            alpha: settings.alpha,
            sample_min: settings.sample_min,
            latency_ratio: settings.latency_ratio,
            latency_slack_us: settings.latency_slack.as_micros() as u64,
        }
    }
}

impl TryFrom<Unchecked> for VerdictSettings {
    type Error = SettingsError;

    fn try_from(unchecked: Unchecked) -> Result<Self, SettingsError> {
        Self::default()
            .with_alpha(unchecked.alpha)?
            .with_sample_min(unchecked.sample_min)?
            .with_latency_ratio(unchecked.latency_ratio)?
            .with_latency_slack(Duration::from_micros(unchecked.latency_slack_us))
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, SettingsError, VerdictSettings};

    #[track_caller]
    fn check(text: &str, expected: Result<VerdictSettings, &str>) {
        let read = serde_json::from_str(text).map_err(|error| error.to_string());
        match expected {
            Ok(settings) => assert_eq!(read, Ok(settings)),
            Err(part) => assert!(read.as_ref().is_err_and(|e| e.contains(part)), "{read:?}"),
        }
    }

    #[test]
    fn what_a_file_leaves_out_is_the_default() {
        let settings = VerdictSettings::default();
        check("{}", Ok(settings));
        check(r#"{"alpha": 0.01}"#, settings.with_alpha(0.01).map_err(|_| ""));
        check(&serde_json::to_string(&settings).unwrap(), Ok(settings));
    }

    #[test]
    fn a_value_outside_of_its_limits_is_named() {
        for hostile in ["0", "-1", "0.11", "1e-10", "1e308"] {
            check(&format!(r#"{{"alpha": {hostile}}}"#), Err("`alpha`"));
        }
        check(r#"{"sample-min": 0}"#, Err("`sample-min`"));
        check(r#"{"sample-min": 18446744073709551615}"#, Err("`sample-min`"));
        check(r#"{"latency-ratio": 0.99}"#, Err("`latency-ratio`"));
        check(r#"{"latency-slack-us": 18446744073709551615}"#, Err("`latency-slack-us`"));
        check(r#"{"sample": 5}"#, Err("unknown field"));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let settings = VerdictSettings::default();
        assert_eq!(settings.with_alpha(f64::NAN), Err(SettingsError::Alpha));
        assert_eq!(settings.with_latency_ratio(f64::NAN), Err(SettingsError::LatencyRatio));
        assert_eq!(settings.with_latency_ratio(f64::INFINITY), Err(SettingsError::LatencyRatio));
        assert_eq!(settings.with_latency_slack(Duration::MAX), Err(SettingsError::LatencySlack));
    }
}
