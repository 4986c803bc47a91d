//! All versions of one plugin, and the steps from one to the next.
//!
//! A [`Deployment`] is a value: [`Deployment::apply`] gives the next one, with a record of each transition,
//! or says why there is none. Whoever keeps it stores the [`Change`] first and acts on it then.

mod command;

use std::{collections::BTreeMap, sync::Arc};

use plugin_contract::{Digest, Explain, PluginId};
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};

use crate::{Event, Plan, Rollout, Share, Status};

pub use command::{Command, Note};

/// A version of a plugin that was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// The plugin.
    pub name: PluginId,
    /// Its version.
    pub version: Version,
    /// What it is made of.
    pub artifact: Artifact,
    /// The hosts it works with; none: any.
    pub min_host_version: Option<VersionReq>,
    /// Of the text of what it imports and exports. A name for people: compatibility is told from structure.
    pub wit_hash: Digest,
    /// When it was deployed, in milliseconds since 1970-01-01 UTC.
    pub deployed_at: u64,
    /// Where it stands.
    pub status: Status,
    /// What it asks for beyond the version that was active when it was deployed, and nobody has agreed to.
    pub awaits_approval: Vec<String>,
}

impl PluginVersion {
    /// Of its component.
    pub fn checksum(&self) -> Digest {
        self.artifact.component
    }
}

/// The parts of a version, by the digests of their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The component.
    pub component: Digest,
    /// Its length in bytes.
    pub bytes: u64,
    /// The manifest that came beside it.
    pub manifest: Option<Digest>,
    /// The signature that came beside it.
    pub signature: Option<Digest>,
    /// The text of what it imports and exports.
    pub wit: Digest,
}

impl Artifact {
    /// Everything that must be kept for it.
    pub fn parts(&self) -> impl Iterator<Item = Digest> {
        [Some(self.component), self.manifest, self.signature, Some(self.wit)].into_iter().flatten()
    }
}

/// A version whose answers are compared with those of the active one, and go to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Which.
    pub version: Version,
    /// The share of the calls that is mirrored.
    pub share: Share,
}

/// All versions of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// The plugin.
    pub name: PluginId,
    /// Counts changes. Whoever changes a deployment says which one they have seen.
    pub revision: u64,
    /// The versions there are.
    pub versions: BTreeMap<Version, PluginVersion>,
    /// Those that were active, the last one at the end.
    pub was_active: Vec<Version>,
    /// The canary and how far it has come.
    pub rollout: Option<Rollout>,
    /// A version that is tried on mirrored calls.
    pub shadow: Option<Shadow>,
}

/// One thing that happened to a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its place in the history of the plugin, from 1.
    pub seq: u64,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
    /// To which version.
    pub version: Version,
    /// What: an [`Event`]'s name, or a word for what does not change the status.
    pub what: String,
    /// Where it stood before.
    pub from: Option<Status>,
    /// Where it stands since; `None` once it is forgotten.
    pub to: Option<Status>,
    /// Who did it.
    pub by: String,
    /// Why.
    pub why: String,
}

/// The next state of a deployment, and how it came about. Nothing of it is so until it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The revision that this was decided on.
    pub seen: u64,
    /// The deployment from now on.
    pub deployment: Arc<Deployment>,
    /// The parts of the versions that it did not have before.
    pub new_parts: Vec<Digest>,
    /// What is added to the history. Their `seq` is set where they are stored.
    pub records: Vec<Record>,
}

/// How many versions are kept that do not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retention {
    /// Versions that were active, the newest of which stay. Default 5.
    pub deprecated: usize,
    /// Versions that never were active, or failed, the newest of which stay. Default 5.
    pub others: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { deprecated: 5, others: 5 }
    }
}

/// Why a step is not taken. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Illegal {
    /// There is no such version.
    #[error("`{name}` was never deployed in version {version}, or it is kept no longer")]
    UnknownVersion {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
    },
    /// The version does not stand where the step begins.
    #[error("`{name}` {version} is {status}: {event} is not possible")]
    Transition {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
        /// Where it stands.
        status: Status,
        /// What should have happened.
        event: Event,
    },
    /// Nobody has agreed to what it asks for.
    #[error("`{name}` {version} asks for more than the version before it: {}", widened.join("; "))]
    AwaitsApproval {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
        /// What it asks for.
        widened: Vec<String>,
    },
    /// It asks for nothing that has to be agreed to.
    #[error("`{name}` {version} waits for no approval")]
    NothingToApprove {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
    },
    /// There is no canary.
    #[error("`{name}` has no canary")]
    NoCanary {
        /// The plugin.
        name: PluginId,
    },
    /// There is a canary already.
    #[error("`{name}` {version} is the canary")]
    CanaryUnderWay {
        /// The plugin.
        name: PluginId,
        /// The canary.
        version: Version,
    },
    /// There is nothing to compare with.
    #[error("`{name}` has no active version to compare with")]
    NoActive {
        /// The plugin.
        name: PluginId,
    },
    /// There is no earlier version.
    #[error("`{name}` has no earlier version to go back to")]
    NothingToRollBackTo {
        /// The plugin.
        name: PluginId,
    },
    /// Another component was deployed as this version.
    #[error("`{name}` {version} was deployed already, and is another component")]
    VersionTaken {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
    },
    /// It is older than what serves.
    #[error("`{name}` {version} is older than {active}, which is active")]
    Downgrade {
        /// The plugin.
        name: PluginId,
        /// The version.
        version: Version,
        /// What serves.
        active: Version,
    },
    /// No version is tried on mirrored calls.
    #[error("`{name}` has no shadow")]
    NoShadow {
        /// The plugin.
        name: PluginId,
    },
}

impl Explain for Illegal {
    fn code(&self) -> &'static str {
        match self {
            Self::UnknownVersion { .. } => "deploy/unknown-version",
            Self::Transition { .. } => "deploy/illegal-transition",
            Self::AwaitsApproval { .. } => "deploy/awaiting-approval",
            Self::NothingToApprove { .. } => "deploy/nothing-to-approve",
            Self::NoCanary { .. } => "deploy/no-canary",
            Self::CanaryUnderWay { .. } => "deploy/canary-under-way",
            Self::NoActive { .. } => "deploy/no-active",
            Self::NothingToRollBackTo { .. } => "deploy/nothing-to-roll-back-to",
            Self::VersionTaken { .. } => "deploy/version-taken",
            Self::Downgrade { .. } => "deploy/downgrade",
            Self::NoShadow { .. } => "deploy/no-shadow",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownVersion { .. } => "see `plugin-host history NAME` for what is kept",
            Self::Transition { .. } => {
                "see `plugin-host rollout NAME` for where the versions stand"
            }
            Self::AwaitsApproval { .. } => {
                "look at what it asks for, and agree with `plugin-host approve NAME VERSION`"
            }
            Self::NothingToApprove { .. } => "go on with `plugin-host canary` or `activate`",
            Self::NoCanary { .. } => "start one with `plugin-host canary NAME VERSION`",
            Self::CanaryUnderWay { .. } => {
                "promote it or roll it back first: `plugin-host promote NAME`, `plugin-host rollback NAME`"
            }
            Self::NoActive { .. } => "activate a version with `plugin-host activate NAME VERSION`",
            Self::NothingToRollBackTo { .. } => "deploy a version that works",
            Self::VersionTaken { .. } => "give what has changed a version of its own",
            Self::Downgrade { .. } => {
                "to go back, use `plugin-host rollback NAME VERSION`; to deploy it all the same, `--allow-downgrade`"
            }
            Self::NoShadow { .. } => "start one with `plugin-host shadow NAME VERSION`",
        }
    }
}

impl Deployment {
    /// A plugin of which nothing was deployed yet.
    pub fn new(name: PluginId) -> Self {
        Self {
            name,
            revision: 0,
            versions: BTreeMap::new(),
            was_active: Vec::new(),
            rollout: None,
            shadow: None,
        }
    }

    /// The version that answers calls.
    pub fn active(&self) -> Option<&PluginVersion> {
        self.of_status(Status::Active)
    }

    /// The version that answers a share of them.
    pub fn canary(&self) -> Option<&PluginVersion> {
        self.of_status(Status::Canary)
    }

    fn of_status(&self, status: Status) -> Option<&PluginVersion> {
        self.versions.values().find(|version| version.status == status)
    }

    /// One version.
    ///
    /// # Errors
    /// [`Illegal::UnknownVersion`].
    pub fn version(&self, version: &Version) -> Result<&PluginVersion, Illegal> {
        self.versions.get(version).ok_or_else(|| Illegal::UnknownVersion {
            name: self.name.clone(),
            version: version.clone(),
        })
    }

    /// Where a rollback leads that names no version: the one that was active before.
    ///
    /// # Errors
    /// [`Illegal::NothingToRollBackTo`].
    pub fn previous(&self) -> Result<&PluginVersion, Illegal> {
        let deprecated = |version: &&Version| {
            self.versions.get(version).is_some_and(|found| found.status == Status::Deprecated)
        };
        let found = self.was_active.iter().rev().find(deprecated);
        found
            .and_then(|version| self.versions.get(version))
            .ok_or_else(|| Illegal::NothingToRollBackTo { name: self.name.clone() })
    }

    /// Everything that must be kept for its versions.
    pub fn parts(&self) -> impl Iterator<Item = Digest> {
        self.versions.values().flat_map(|version| version.artifact.parts())
    }

    /// Whether all that is always true of a deployment is true of this one: what is read from outside is not
    /// to be trusted.
    pub fn is_consistent(&self) -> bool {
        let count = |status| self.versions.values().filter(|found| found.status == status).count();
        let named = self.versions.iter().all(|(version, found)| {
            found.version == *version
                && found.name == self.name
                && (found.awaits_approval.is_empty()
                    || found.status == Status::Staged
                    || found.status == Status::Failed)
        });
        let canary = self.canary().map(|canary| &canary.version);
        let shadowed = self.shadow.as_ref().is_none_or(|shadow| {
            self.versions.get(&shadow.version).is_some_and(|found| found.status == Status::Staged)
        });
        named
            && count(Status::Active) <= 1
            && count(Status::Canary) <= 1
            && canary == self.rollout.as_ref().map(|rollout| &rollout.version)
            && (canary.is_none() || self.active().is_some())
            && shadowed
    }
}

#[cfg(test)]
mod tests;
