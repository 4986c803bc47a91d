//! What can be asked of a deployment, and what comes of it.

use plugin_contract::escape;

use super::{
    Change, Deployment, Event, Illegal, Plan, PluginVersion, Record, Retention, Rollout, Shadow,
    Status, Version,
};

/// Who asks, when and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Who.
    pub by: String,
    /// Why.
    pub why: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub at: u64,
}

impl Note {
    /// Longest name and reason, in bytes; what is longer is cut.
    pub const BYTES_MAX: usize = 1_000;

    /// With what people wrote made fit to be shown.
    pub fn new(by: &str, why: &str, at: u64) -> Self {
        Self { by: escape(by, Self::BYTES_MAX), why: escape(why, Self::BYTES_MAX), at }
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// Deploys a version. The same once more changes nothing, or stages again what had failed.
    Stage {
        /// It, as [`Status::Staged`].
        version: Box<PluginVersion>,
        /// Takes it though a newer one is active.
        allow_downgrade: bool,
    },
    /// Agrees to all that the version asks for.
    Approve(Version),
    /// Gives the version the first share of a plan.
    StartCanary {
        /// Which.
        version: Version,
        /// In which steps.
        plan: Plan,
    },
    /// Stores how far a rollout has come.
    Progress {
        /// The rollout as it is now.
        rollout: Box<Rollout>,
        /// What happened, for the history: `advance`, `hold`, `resume`. `None` for a mere saving.
        what: Option<&'static str>,
    },
    /// Gives all calls to a version that was no canary.
    Activate(Version),
    /// Gives all calls to the canary.
    Promote,
    /// Takes the canary back; it may be tried again.
    Withdraw,
    /// Takes the canary back for good.
    Reject,
    /// Goes back to a version that was active before.
    Restore(Version),
    /// The version could not be started.
    Fail(Version),
    /// Mirrors a share of the calls to the version.
    StartShadow(Shadow),
    /// Mirrors no more.
    StopShadow,
    /// Forgets versions that are not worth keeping.
    Collect(Retention),
}

impl Deployment {
    /// Decides on a step. Nothing is changed: the result is to be stored, and acted upon then.
    ///
    /// # Errors
    /// [`Illegal`] says why it is not taken.
    pub fn apply(&self, command: Command, note: &Note) -> Result<Change, Illegal> {
        let mut step = Step { next: self.clone(), records: Vec::new(), note };
        step.run(command)?;
        // Saving how far a rollout has come is no change that anybody could have missed.
        if !step.records.is_empty() {
            step.next.revision = self.revision.saturating_add(1);
        }
        let Step { next, records, .. } = step;
        let is_new = |version: &&PluginVersion| {
            self.versions.get(&version.version).is_none_or(|was| was.artifact != version.artifact)
        };
        let new_parts = next.versions.values().filter(is_new).flat_map(|new| new.artifact.parts());
        let (seen, new_parts) = (self.revision, new_parts.collect());
        Ok(Change { seen, deployment: next.into(), new_parts, records })
    }
}

/// A step being taken.
struct Step<'a> {
    next: Deployment,
    records: Vec<Record>,
    note: &'a Note,
}

impl Step<'_> {
    fn run(&mut self, command: Command) -> Result<(), Illegal> {
        match command {
            Command::Stage { version, allow_downgrade } => self.stage(*version, allow_downgrade),
            Command::Approve(version) => self.approve(&version),
            Command::StartCanary { version, plan } => self.start_canary(version, plan),
            Command::Progress { rollout, what } => self.progress(*rollout, what),
            Command::Activate(version) => {
                self.check_approved(&version)?;
                self.no_canary()?;
                self.end_shadow_of(&version);
                self.take_over(&version, Event::Activate)
            }
            Command::Promote => {
                let version = self.canary()?;
                self.next.rollout = None;
                self.take_over(&version, Event::Promote)
            }
            Command::Withdraw => self.end_canary(Event::Withdraw),
            Command::Reject => self.end_canary(Event::Reject),
            Command::Restore(version) => {
                self.check_approved(&version)?;
                self.no_canary()?;
                self.take_over(&version, Event::Restore)
            }
            Command::Fail(version) => {
                self.end_shadow_of(&version);
                self.transition(&version, Event::Fail)
            }
            Command::StartShadow(shadow) => self.start_shadow(shadow),
            Command::StopShadow => self.stop_shadow(),
            Command::Collect(retention) => {
                self.collect(retention);
                Ok(())
            }
        }
    }

    fn stage(&mut self, new: PluginVersion, allow_downgrade: bool) -> Result<(), Illegal> {
        let (name, version) = (new.name.clone(), new.version.clone());
        if let Some(known) = self.next.versions.get(&version) {
            if known.artifact != new.artifact {
                return Err(Illegal::VersionTaken { name, version });
            }
            // What is there in good order stays as it is.
            if known.status != Status::Failed {
                return Ok(());
            }
        }
        if let Some(active) = self.next.active()
            && version < active.version
            && !allow_downgrade
        {
            let active = active.version.clone();
            return Err(Illegal::Downgrade { name, version, active });
        }
        let from = self.next.versions.get(&version).map(|known| known.status);
        let staged = PluginVersion { status: Status::Staged, ..new };
        self.next.versions.insert(version.clone(), staged);
        self.record(&version, Event::Stage.name(), from, Some(Status::Staged));
        Ok(())
    }

    fn approve(&mut self, version: &Version) -> Result<(), Illegal> {
        if self.next.version(version)?.awaits_approval.is_empty() {
            let (name, version) = (self.next.name.clone(), version.clone());
            return Err(Illegal::NothingToApprove { name, version });
        }
        self.transition(version, Event::Approve)?;
        if let Some(found) = self.next.versions.get_mut(version) {
            found.awaits_approval.clear();
        }
        Ok(())
    }

    fn start_canary(&mut self, version: Version, plan: Plan) -> Result<(), Illegal> {
        self.check_approved(&version)?;
        self.no_canary()?;
        if self.next.active().is_none() {
            return Err(Illegal::NoActive { name: self.next.name.clone() });
        }
        self.end_shadow_of(&version);
        self.transition(&version, Event::StartCanary)?;
        self.next.rollout = Some(Rollout::new(version, plan));
        Ok(())
    }

    fn progress(&mut self, rollout: Rollout, what: Option<&'static str>) -> Result<(), Illegal> {
        let version = self.canary()?;
        if rollout.version != version {
            return Err(Illegal::CanaryUnderWay { name: self.next.name.clone(), version });
        }
        self.next.rollout = Some(rollout);
        if let Some(what) = what {
            self.record(&version, what, Some(Status::Canary), Some(Status::Canary));
        }
        Ok(())
    }

    /// `version` becomes active, and what was active is so no longer.
    fn take_over(&mut self, version: &Version, event: Event) -> Result<(), Illegal> {
        let before = self.next.active().map(|active| active.version.clone());
        // Decided on the newcomer first: if it may not, nothing happens to the other.
        self.transition(version, event)?;
        if let Some(before) = before {
            self.transition(&before, Event::Supersede)?;
            self.next.was_active.retain(|version| *version != before);
            self.next.was_active.push(before);
        }
        self.next.was_active.retain(|was| was != version);
        Ok(())
    }

    fn end_canary(&mut self, event: Event) -> Result<(), Illegal> {
        let version = self.canary()?;
        self.next.rollout = None;
        self.transition(&version, event)
    }

    fn start_shadow(&mut self, shadow: Shadow) -> Result<(), Illegal> {
        self.check_approved(&shadow.version)?;
        let found = self.next.version(&shadow.version)?;
        if found.status != Status::Staged {
            let (version, status) = (shadow.version, found.status);
            let (name, event) = (self.next.name.clone(), Event::StartCanary);
            return Err(Illegal::Transition { name, version, status, event });
        }
        if self.next.active().is_none() {
            return Err(Illegal::NoActive { name: self.next.name.clone() });
        }
        let version = shadow.version.clone();
        self.next.shadow = Some(shadow);
        self.record(&version, "start-shadow", Some(Status::Staged), Some(Status::Staged));
        Ok(())
    }

    fn stop_shadow(&mut self) -> Result<(), Illegal> {
        let none = || Illegal::NoShadow { name: self.next.name.clone() };
        let version = self.next.shadow.as_ref().ok_or_else(none)?.version.clone();
        self.end_shadow_of(&version);
        Ok(())
    }

    fn end_shadow_of(&mut self, version: &Version) {
        if self.next.shadow.take_if(|shadow| shadow.version == *version).is_some() {
            self.record(version, "stop-shadow", Some(Status::Staged), Some(Status::Staged));
        }
    }

    fn collect(&mut self, retention: Retention) {
        let mut deprecated: Vec<Version> = self.next.was_active.clone();
        let is = |next: &Deployment, version: &Version, wanted: Status| {
            next.versions.get(version).is_some_and(|found| found.status == wanted)
        };
        deprecated.retain(|version| is(&self.next, version, Status::Deprecated));
        let shadowed = self.next.shadow.as_ref().map(|shadow| shadow.version.clone());
        let mut others: Vec<(u64, Version)> = (self.next.versions.values())
            .filter(|found| matches!(found.status, Status::Staged | Status::Failed))
            .filter(|found| shadowed.as_ref() != Some(&found.version))
            .map(|found| (found.deployed_at, found.version.clone()))
            .collect();
        others.sort();
        let too_many = |have: usize, keep: usize| have.saturating_sub(keep);
        let old = deprecated.drain(..too_many(deprecated.len(), retention.deprecated));
        let stale = others.drain(..too_many(others.len(), retention.others));
        let gone: Vec<Version> = old.chain(stale.map(|(_, version)| version)).collect();
        for version in gone {
            let from = self.next.versions.remove(&version).map(|found| found.status);
            self.next.was_active.retain(|was| *was != version);
            self.record(&version, "forget", from, None);
        }
    }

    fn transition(&mut self, version: &Version, event: Event) -> Result<(), Illegal> {
        let from = self.next.version(version)?.status;
        let Some(to) = event.leads(Some(from)) else {
            let (name, version) = (self.next.name.clone(), version.clone());
            return Err(Illegal::Transition { name, version, status: from, event });
        };
        if let Some(found) = self.next.versions.get_mut(version) {
            found.status = to;
        }
        self.record(version, event.name(), Some(from), Some(to));
        Ok(())
    }

    fn record(&mut self, version: &Version, what: &str, from: Option<Status>, to: Option<Status>) {
        let Note { by, why, at } = self.note.clone();
        let (version, what) = (version.clone(), what.to_owned());
        self.records.push(Record { seq: 0, at, version, what, from, to, by, why });
    }

    fn canary(&self) -> Result<Version, Illegal> {
        let canary = self.next.canary().map(|canary| canary.version.clone());
        canary.ok_or_else(|| Illegal::NoCanary { name: self.next.name.clone() })
    }

    fn no_canary(&self) -> Result<(), Illegal> {
        match self.next.canary() {
            None => Ok(()),
            Some(canary) => Err(Illegal::CanaryUnderWay {
                name: self.next.name.clone(),
                version: canary.version.clone(),
            }),
        }
    }

    fn check_approved(&self, version: &Version) -> Result<(), Illegal> {
        let widened = self.next.version(version)?.awaits_approval.clone();
        match widened.is_empty() {
            true => Ok(()),
            false => Err(Illegal::AwaitsApproval {
                name: self.next.name.clone(),
                version: version.clone(),
                widened,
            }),
        }
    }
}
