//! What there is to tell of deployments: who gets which share, and what became of canaries.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeGaugeValue},
    metrics::MetricType,
    registry::Unit,
};

use super::{Labels, counter};
use crate::{DeployCounts, DeploymentStatus, ShadowCounts, Status};

/// One plugin of which versions were deployed.
#[derive(Debug, Default)]
pub(in crate::http) struct DeploymentFigures {
    pub(super) plugin: String,
    pub(super) versions: Vec<VersionFigures>,
    pub(super) counts: DeployCounts,
    /// The canary, and the evidence against it: that it fails more often, and that it is slower.
    pub(super) evidence: Option<(String, f64, f64)>,
    /// What is tried on mirrored calls.
    pub(super) shadow: Option<(String, ShadowCounts)>,
}

/// One version.
#[derive(Debug)]
pub(in crate::http) struct VersionFigures {
    pub(super) version: String,
    pub(super) status: Status,
    /// Of the calls that name no version, from 0 to 1.
    pub(super) share: f64,
}

impl DeploymentFigures {
    pub(super) fn of(status: &DeploymentStatus) -> Self {
        let DeploymentStatus { deployment, rollout, shadow, counts } = status;
        let canary = rollout
            .as_ref()
            .map_or(0.0, |rollout| f64::from(rollout.rollout.share().basis_points()) / 10_000.0);
        let version = |version: &host_deploy::PluginVersion| VersionFigures {
            version: version.version.to_string(),
            status: version.status,
            share: match version.status {
                Status::Active => 1.0 - canary,
                Status::Canary => canary,
                _ => 0.0,
            },
        };
        let shadowed = deployment.shadow.as_ref().map(|shadow| shadow.version.to_string());
        Self {
            plugin: deployment.name.to_string(),
            versions: deployment.versions.values().map(version).collect(),
            counts: *counts,
            evidence: rollout.as_ref().map(|rollout| {
                let summary = &rollout.summary;
                let version = rollout.rollout.version.to_string();
                (version, summary.errors_e_value, summary.latency_e_value)
            }),
            shadow: shadowed.zip(shadow.clone()),
        }
    }

    fn label(&self) -> (&'static str, String) {
        ("plugin", self.plugin.clone())
    }

    fn labels(&self, version: &str, name: &'static str, value: &str) -> Labels<3> {
        [self.label(), ("version", version.to_owned()), (name, value.to_owned())]
    }
}

/// Writes all of it down.
pub(super) fn encode(
    deployments: &[DeploymentFigures],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let kind = MetricType::Gauge;
    let help = "Share of the calls that name no version.";
    let unit = Unit::Other("ratio".to_owned());
    let mut shares = encoder.encode_descriptor("plugin_share", help, Some(&unit), kind)?;
    for deployment in deployments {
        for VersionFigures { version, status, share } in &deployment.versions {
            let labels = deployment.labels(version, "status", status.name());
            gauge(&mut shares, &labels, *share)?;
        }
    }
    let help = "How often one revision took the place of another.";
    let mut swaps = counter(encoder, "plugin_swaps", help)?;
    for deployment in deployments {
        swaps.one(&[deployment.label()], deployment.counts.swaps)?;
    }
    let help =
        "How often it went back: by an operator, or by the host, from a canary that did harm.";
    let mut rollbacks = counter(encoder, "plugin_rollbacks", help)?;
    for deployment in deployments {
        let DeployCounts { rollbacks: operator, rejected: host, .. } = deployment.counts;
        for (by, count) in [("operator", operator), ("host", host)] {
            rollbacks.one(&[deployment.label(), ("by", by.to_owned())], count)?;
        }
    }
    let help = "What the host decided on canaries.";
    let mut verdicts = counter(encoder, "rollout_verdicts", help)?;
    for deployment in deployments {
        let DeployCounts { advanced, promoted, rejected, .. } = deployment.counts;
        for (verdict, count) in [("advance", advanced), ("promote", promoted), ("reject", rejected)]
        {
            verdicts.one(&[deployment.label(), ("verdict", verdict.to_owned())], count)?;
        }
    }
    let help = "Evidence that a canary does harm, as e-values; 1 is none.";
    let mut evidence = encoder.encode_descriptor("rollout_evidence", help, None, kind)?;
    for deployment in deployments {
        let Some((version, errors, latency)) = &deployment.evidence else { continue };
        for (of, value) in [("errors", errors), ("latency", latency)] {
            gauge(&mut evidence, &deployment.labels(version, "of", of), *value)?;
        }
    }
    let help = "Mirrored calls, by how the two answers compare.";
    let mut shadows = counter(encoder, "shadow_calls", help)?;
    for deployment in deployments {
        let Some((version, counts)) = &deployment.shadow else { continue };
        let ShadowCounts { same, different, skipped, .. } = counts;
        for (outcome, count) in [("same", same), ("different", different), ("skipped", skipped)] {
            shadows.one(&deployment.labels(version, "outcome", outcome), *count)?;
        }
    }
    Ok(())
}

fn gauge(
    encoder: &mut prometheus_client::encoding::MetricEncoder<'_>,
    labels: &Labels<3>,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    encoder.encode_family(labels)?.encode_gauge(&value)
}
