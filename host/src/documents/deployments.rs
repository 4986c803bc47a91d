//! What is deployed, as JSON and for people.

use std::{
    fmt::Write,
    time::{Duration, UNIX_EPOCH},
};

use host_deploy::{Deployment, Record, Stay, verdict::ArmSummary};
use plugin_contract::escape;
use serde::{Deserialize, Serialize};

use crate::{DeployCounts, Deployed, DeploymentStatus, RolloutStatus, ShadowCounts};

/// Where the versions of one plugin stand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeploymentDocument {
    /// The plugin.
    pub name: String,
    /// Counts changes. Whoever decides on what is here sends it along, as `if-match`.
    pub revision: u64,
    /// The version that answers calls.
    pub active: Option<String>,
    /// All versions that are kept, the newest first.
    pub versions: Vec<VersionDocument>,
    /// The canary.
    pub rollout: Option<RolloutDocument>,
    /// What is tried on mirrored calls.
    pub shadow: Option<ShadowDocument>,
    /// What happened since the host started.
    pub counts: CountsDocument,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VersionDocument {
    /// Which.
    pub version: String,
    /// `staged`, `canary`, `active`, `deprecated` or `failed`.
    pub status: String,
    /// Of its component.
    pub checksum: String,
    /// Of the text of what it imports and exports.
    pub wit_hash: String,
    /// The hosts it works with, as a requirement on their version.
    pub min_host_version: Option<String>,
    /// Of its component, in bytes.
    pub bytes: u64,
    /// When it was deployed, as in RFC 3339.
    pub deployed_at: String,
    /// What it asks for, and nobody has agreed to.
    pub awaits_approval: Vec<String>,
}

/// A canary on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutDocument {
    /// The canary.
    pub version: String,
    /// The share of the calls that it gets now.
    pub share: String,
    /// The shares of all steps.
    pub steps: Vec<String>,
    /// Which of them it is at, from 0.
    pub step: usize,
    /// How long it has been there, in milliseconds.
    pub held_ms: u64,
    /// How long each step is held, in milliseconds.
    pub hold_ms: u64,
    /// Whether an operator keeps it where it is.
    pub on_hold: bool,
    /// What it waits for; `null` if it is about to take a step.
    pub waits_for: Option<Stay>,
    /// The active version, since this step began.
    pub stable: SideDocument,
    /// The canary, since this step began.
    pub canary: SideDocument,
    /// The evidence that the canary fails more often, and that it is slower; harm is found at `wanted`.
    pub evidence: EvidenceDocument,
}

/// How one side is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideDocument {
    /// Calls that it answered.
    pub calls: u64,
    /// Those that failed.
    pub failures: u64,
    /// Half of the calls took at most this long, in microseconds.
    pub p50_us: Option<u64>,
    /// Nine in ten did.
    pub p90_us: Option<u64>,
    /// Ninety-nine in a hundred did.
    pub p99_us: Option<u64>,
}

/// E-values of the two tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EvidenceDocument {
    /// That it fails more often.
    pub errors: f64,
    /// That it is slower.
    pub latency: f64,
    /// What either has to reach.
    pub wanted: f64,
}

/// A version that is tried on mirrored calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowDocument {
    /// Which.
    pub version: String,
    /// The share of the calls that is mirrored.
    pub share: String,
    /// What came of it.
    pub counts: ShadowCounts,
}

/// What happened since the host started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "they are told at `DeployCounts`")]
pub struct CountsDocument {
    pub swaps: u64,
    pub rollbacks: u64,
    pub advanced: u64,
    pub promoted: u64,
    pub rejected: u64,
}

/// What came of deploying a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeployedDocument {
    /// The plugin.
    pub name: String,
    /// The version, as it stands now.
    pub version: VersionDocument,
    /// `identical`, `additive` or `breaking` to callers of what served; `null` if nothing did.
    pub contract: Option<String>,
    /// Each item of the contract that is not as it was.
    pub changes: Vec<String>,
    /// What it asks for beyond what served.
    pub widened: Vec<String>,
    /// What it can do without, unlike what served.
    pub narrowed: Vec<String>,
    /// The revision of the deployment.
    pub revision: u64,
}

/// One thing that happened to a version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RecordDocument {
    /// Its place in the history of the plugin.
    pub seq: u64,
    /// When, as in RFC 3339.
    pub at: String,
    /// To which version.
    pub version: String,
    /// What.
    pub what: String,
    /// Where the version stood before.
    pub from: Option<String>,
    /// Where it stands since.
    pub to: Option<String>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// The history of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryDocument {
    /// The newest last.
    pub records: Vec<RecordDocument>,
}

/// All deployments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeploymentsDocument {
    /// By name.
    pub deployments: Vec<DeploymentDocument>,
}

impl DeploymentDocument {
    /// Of a deployment as it is now.
    pub fn of(status: &DeploymentStatus) -> Self {
        let DeploymentStatus { deployment, rollout, shadow, counts } = status;
        let Deployment { name, revision, versions, .. } = &**deployment;
        let shadow = deployment.shadow.as_ref().map(|told| ShadowDocument {
            version: told.version.to_string(),
            share: told.share.to_string(),
            counts: shadow.clone().unwrap_or_default(),
        });
        Self {
            name: name.to_string(),
            revision: *revision,
            active: deployment.active().map(|active| active.version.to_string()),
            versions: versions.values().rev().map(VersionDocument::of).collect(),
            rollout: rollout.as_ref().map(RolloutDocument::of),
            shadow,
            counts: (*counts).into(),
        }
    }

    /// The same for people.
    pub fn table(&self) -> String {
        let mut text = format!("{} (revision {})", self.name, self.revision);
        for version in &self.versions {
            let VersionDocument { version, status, deployed_at, checksum, .. } = version;
            let short: String = checksum.chars().take("sha256:".len() + 12).collect();
            let _ = write!(text, "\n  {version:<12} {status:<11} {deployed_at}  {short}");
        }
        for version in self.versions.iter().filter(|version| !version.awaits_approval.is_empty()) {
            let VersionDocument { version, awaits_approval, .. } = version;
            let _ = write!(text, "\n  {version} awaits approval of:");
            for line in awaits_approval {
                let _ = write!(text, "\n    {}", escape(line, 500));
            }
        }
        if let Some(rollout) = &self.rollout {
            text.push_str(&rollout.lines());
        }
        if let Some(ShadowDocument { version, share, counts }) = &self.shadow {
            let ShadowCounts { mirrored, same, different, skipped, samples } = counts;
            let _ = write!(
                text,
                "\n  shadow {version} at {share}: {mirrored} mirrored, {same} the same, {different} different, {skipped} skipped"
            );
            for sample in samples {
                let _ = write!(
                    text,
                    "\n    {}: served {}, shadow {}",
                    sample.request_id, sample.served, sample.shadow
                );
            }
        }
        text
    }
}

impl VersionDocument {
    fn of(version: &host_deploy::PluginVersion) -> Self {
        Self {
            version: version.version.to_string(),
            status: version.status.to_string(),
            checksum: version.checksum().to_string(),
            wit_hash: version.wit_hash.to_string(),
            min_host_version: version.min_host_version.as_ref().map(ToString::to_string),
            bytes: version.artifact.bytes,
            deployed_at: time(version.deployed_at),
            awaits_approval: version.awaits_approval.clone(),
        }
    }
}

impl RolloutDocument {
    fn of(status: &RolloutStatus) -> Self {
        let RolloutStatus { rollout, waits_for, summary } = status;
        Self {
            version: rollout.version.to_string(),
            share: rollout.share().to_string(),
            steps: rollout.plan().steps().iter().map(ToString::to_string).collect(),
            step: rollout.step(),
            held_ms: millis(rollout.held()),
            hold_ms: millis(rollout.plan().hold()),
            on_hold: rollout.is_on_hold(),
            waits_for: *waits_for,
            stable: (&summary.stable).into(),
            canary: (&summary.canary).into(),
            evidence: EvidenceDocument {
                errors: summary.errors_e_value,
                latency: summary.latency_e_value,
                wanted: summary.e_value_wanted,
            },
        }
    }

    fn lines(&self) -> String {
        let Self { version, share, steps, step, .. } = self;
        let waits = match self.waits_for {
            Some(Stay::Time { left_ms }) => format!("{:.1} s to go", left_ms as f64 / 1_000.0),
            Some(Stay::Calls { canary, stable, wanted }) => {
                format!("waits for calls: canary {canary}, stable {stable}, of {wanted}")
            }
            Some(Stay::Operator) if self.on_hold => "on hold, by the operator".to_owned(),
            Some(Stay::Operator) => "all steps taken, waits for the operator".to_owned(),
            None => "about to take the next step".to_owned(),
        };
        let steps = steps.iter().enumerate().map(|(at, share)| match at == *step {
            true => format!("[{share}]"),
            false => share.clone(),
        });
        let steps: Vec<_> = steps.collect();
        let mut text = format!("\n  canary {version} at {share}: {} - {waits}", steps.join(" "));
        let _ = write!(
            text,
            "\n    {:<8} {:>10} {:>10} {:>10} {:>10} {:>10}",
            "", "calls", "failures", "p50", "p90", "p99"
        );
        for (name, side) in [("stable", &self.stable), ("canary", &self.canary)] {
            let time = |us: Option<u64>| {
                us.map_or("-".to_owned(), |us| format!("{:?}", Duration::from_micros(us)))
            };
            let SideDocument { calls, failures, p50_us, p90_us, p99_us } = side;
            let _ = write!(
                text,
                "\n    {name:<8} {calls:>10} {failures:>10} {:>10} {:>10} {:>10}",
                time(*p50_us),
                time(*p90_us),
                time(*p99_us)
            );
        }
        let EvidenceDocument { errors, latency, wanted } = &self.evidence;
        let _ = write!(
            text,
            "\n    evidence of harm: errors {errors:.2}, latency {latency:.2} (taken back at {wanted:.0})"
        );
        text
    }
}

impl From<&ArmSummary> for SideDocument {
    fn from(side: &ArmSummary) -> Self {
        let us = |time: Option<Duration>| {
            time.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Self {
            calls: side.calls,
            failures: side.failures,
            p50_us: us(side.p50),
            p90_us: us(side.p90),
            p99_us: us(side.p99),
        }
    }
}

impl From<DeployCounts> for CountsDocument {
    fn from(counts: DeployCounts) -> Self {
        let DeployCounts { swaps, rollbacks, advanced, promoted, rejected } = counts;
        Self { swaps, rollbacks, advanced, promoted, rejected }
    }
}

impl From<&Deployed> for DeployedDocument {
    fn from(deployed: &Deployed) -> Self {
        let contract = deployed.contract.as_ref();
        Self {
            name: deployed.version.name.to_string(),
            version: VersionDocument::of(&deployed.version),
            contract: contract.map(|contract| contract.verdict.to_string()),
            changes: contract.map(|contract| contract.changes.clone()).unwrap_or_default(),
            widened: deployed.permissions.widened.clone(),
            narrowed: deployed.permissions.narrowed.clone(),
            revision: deployed.revision,
        }
    }
}

impl DeployedDocument {
    /// The same for people, with what to do next.
    pub fn text(&self) -> String {
        let Self { name, version: VersionDocument { version, status, .. }, .. } = self;
        let mut text = format!("{name} {version} is {status}");
        if let Some(contract) = &self.contract {
            let _ = write!(text, "\ncontract: {contract}");
        }
        let mut list = |title: &str, lines: &[String]| {
            for line in lines {
                let _ = write!(text, "\n  {title}{}", escape(line, 500));
            }
        };
        list("", &self.changes);
        list("asks for more: ", &self.widened);
        list("asks for less: ", &self.narrowed);
        let next = match (status.as_str(), self.version.awaits_approval.is_empty()) {
            ("staged", false) => format!("plugin-host approve {name} {version}"),
            ("staged", true) => {
                format!(
                    "plugin-host canary {name} {version}, or plugin-host activate {name} {version}"
                )
            }
            _ => return text,
        };
        let _ = write!(text, "\nnext: {next}");
        text
    }
}

impl HistoryDocument {
    /// Of these records.
    pub fn of(records: &[Record]) -> Self {
        let status = |status: &Option<host_deploy::Status>| status.map(|status| status.to_string());
        let record = |record: &Record| RecordDocument {
            seq: record.seq,
            at: time(record.at),
            version: record.version.to_string(),
            what: record.what.clone(),
            from: status(&record.from),
            to: status(&record.to),
            by: record.by.clone(),
            why: record.why.clone(),
        };
        Self { records: records.iter().map(record).collect() }
    }

    /// The same for people: a line for each.
    pub fn table(&self) -> String {
        let line = |record: &RecordDocument| {
            let RecordDocument { at, version, what, from, to, by, why, .. } = record;
            let leads = match (from.as_deref().unwrap_or("-"), to.as_deref().unwrap_or("-")) {
                (from, to) if from == to => to.to_owned(),
                (from, to) => format!("{from} -> {to}"),
            };
            format!("{at}  {version:<12} {what:<13} {leads:<22} {by}: {why}")
        };
        self.records.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

impl DeploymentsDocument {
    /// The same for people.
    pub fn table(&self) -> String {
        match self.deployments.is_empty() {
            true => "nothing was deployed".to_owned(),
            false => {
                let tables = self.deployments.iter().map(DeploymentDocument::table);
                tables.collect::<Vec<_>>().join("\n\n")
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// As in RFC 3339, in seconds; dates that there will not be are told as the last one that has a form.
fn time(at_ms: u64) -> String {
    const YEAR_10_000: u64 = 253_402_300_799_000;
    let at = UNIX_EPOCH + Duration::from_millis(at_ms.min(YEAR_10_000));
    humantime::format_rfc3339_seconds(at).to_string()
}
