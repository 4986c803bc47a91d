//! What the steps of a deployment are made of: storing, starting, and sending calls elsewhere.

use std::{path::Path, sync::Arc};

use host_core::{CoreError, Found, Newcomer, Purpose, read_artifact};
use host_deploy::{
    Change, Command, Deployment, Note, PermissionDiff, PluginVersion, Record, Rollout, Shadow,
    Split, compat,
    storage::{Collected, StorageError},
};
use plugin_contract::{Digest, Explain, PluginId};
use semver::Version;
use tokio::time::Instant;

use super::{
    Contract, Deployments, Lane, Mirror, Trial, Upload, by_host, intake::Intake, lock, now_ms,
    wit::Wit,
};
use crate::{
    HostError, blocking,
    routes::{Directive, HostPlugin},
    state::HostState,
};

/// What becomes of a plugin of a directory once a version of it is deployed.
pub(super) struct Adoption {
    intake: Intake,
    staged: Change,
    activated: Change,
}

impl Adoption {
    /// The deployment as it would be.
    pub(super) fn deployment(&self) -> &Arc<Deployment> {
        &self.activated.deployment
    }
}

impl Deployments {
    /// Decides, stores, and tells.
    pub(super) async fn commit(
        &self,
        lane: &Lane,
        command: Command,
        note: &Note,
    ) -> Result<Arc<Deployment>, HostError> {
        let change = lane.deployment().apply(command, note)?;
        self.store(lane, change).await
    }

    /// Stores what was decided, and tells.
    async fn store(&self, lane: &Lane, change: Change) -> Result<Arc<Deployment>, HostError> {
        let was = lane.deployment();
        if *change.deployment != *was {
            if let Err(error) = self.storage.commit(&change).await {
                // It may have been stored all the same, and only not been told so.
                let stored = match &error {
                    StorageError::Conflict { .. } | StorageError::Missing(_) => None,
                    _ => self.storage.deployment(&lane.name).await.ok().flatten(),
                };
                if stored.as_ref() != Some(&*change.deployment) {
                    return Err(error.into());
                }
                tracing::warn!(plugin = %lane.name, %error, "a change was stored, though the store says not");
            }
            let ends_shadow = was.shadow.is_some() && change.deployment.shadow.is_none();
            lane.set(change.deployment);
            if ends_shadow {
                self.end_mirror(lane);
            }
        }
        self.tell(lane, &change.records);
        Ok(lane.deployment())
    }

    /// What an operator did belongs into the audit log, and so does what the host did by itself.
    fn tell(&self, lane: &Lane, records: &[Record]) {
        for record in records {
            let Record { version, what, by, why, .. } = record;
            let (name, version) = (lane.name.as_str(), version.to_string());
            self.terms.audit.done(name, &version, what, &format!("by {by}: {why}"));
            tracing::info!(plugin = name, version, what, by, why, "a deployment changed");
        }
    }

    /// Compiles, links, initialises and probes a version, apart from all that serves.
    pub(super) async fn start(
        &self,
        lane: &Lane,
        version: &Version,
        purpose: Purpose,
    ) -> Result<Newcomer<HostState>, HostError> {
        let deployment = lane.deployment();
        let found = self.found(deployment.version(version)?).await?;
        let new = self.registry.prepare(found, purpose).await?;
        // Those that can say how they are, are asked before anybody depends on it.
        new.plugin().check_health().await;
        if let Some(trouble) = new.plugin().trouble() {
            new.discard(Instant::now()).await;
            return Err(CoreError::Shared(trouble).into());
        }
        Ok(new)
    }

    /// Whether a version that was not deployed yet would start. If not, that is stored, too.
    pub(super) async fn probe(
        &self,
        lane: &Lane,
        release: &PluginVersion,
        stage: Command,
        note: &Note,
    ) -> Result<(), HostError> {
        let found = self.found(release).await?;
        let problem = match self.registry.prepare(found, Purpose::Serve).await {
            Ok(new) => {
                new.plugin().check_health().await;
                let trouble = new.plugin().trouble();
                new.discard(Instant::now()).await;
                trouble.map(|trouble| HostError::from(CoreError::Shared(trouble)))
            }
            Err(error) => Some(error.into()),
        };
        let Some(error) = problem else { return Ok(()) };
        if is_its_own_fault(&error) {
            self.commit(lane, stage, note).await?;
            let why = by_host(&format!("it did not start: {}", error.code()));
            self.commit(lane, Command::Fail(release.version.clone()), &why).await?;
        }
        Err(error)
    }

    /// A version, as the registry finds plugins.
    pub(super) async fn found(&self, version: &PluginVersion) -> Result<Found, HostError> {
        let stored = self.stored(version).await?;
        blocking(move || Ok(stored.read())).await
    }

    pub(super) async fn part(&self, part: &Option<Digest>) -> Result<Option<Vec<u8>>, HostError> {
        match part {
            Some(part) => Ok(Some(self.storage.get(part).await?.to_vec())),
            None => Ok(None),
        }
    }

    /// Keeps the parts of an upload.
    pub(super) async fn keep(&self, intake: &Intake) -> Result<(), HostError> {
        for part in intake.parts() {
            self.storage.put(part).await?;
        }
        Ok(())
    }

    /// How the contract of an upload compares with that of what serves.
    pub(super) async fn compare(
        &self,
        deployment: &Deployment,
        adopted: Option<&Adoption>,
        intake: &Intake,
        allow_breaking: bool,
    ) -> Result<Option<Contract>, HostError> {
        let Some(active) = deployment.active() else { return Ok(None) };
        let report = match adopted {
            Some(adopted) => intake.wit.compared_with(&adopted.intake.wit),
            None => match self.wit_of(active, allow_breaking).await? {
                Some(old) => intake.wit.compared_with(&old),
                None => return Ok(None),
            },
        };
        if report.verdict() == compat::Verdict::Breaking && !allow_breaking {
            return Err(HostError::BreakingChange {
                plugin: intake.name().clone(),
                version: intake.version().clone(),
                active: active.version.clone(),
                changes: report.breaking().map(ToString::to_string).collect(),
            });
        }
        Ok(Some(report.into()))
    }

    /// What a version that is kept imports and exports.
    async fn wit_of(
        &self,
        version: &PluginVersion,
        allow_breaking: bool,
    ) -> Result<Option<Wit>, HostError> {
        let bytes = match self.storage.get(&version.artifact.component).await {
            // Nobody could be told what changes; who takes any change does not ask.
            Err(StorageError::Missing(_) | StorageError::Corrupt { .. }) if allow_breaking => {
                return Ok(None);
            }
            bytes => bytes?,
        };
        let name = version.name.clone();
        blocking(move || Wit::of(&name, &bytes)).await.map(Some)
    }

    /// What a directory brought and serves, as the version before the first that is deployed: so that there is
    /// something to compare with, and to go back to.
    pub(super) async fn adoption(&self, lane: &Lane) -> Result<Option<Adoption>, HostError> {
        if lane.is_known() {
            return Ok(None);
        }
        let Some(serving) = self.terms.routes.stable(&lane.name) else { return Ok(None) };
        let upload = match read_upload(serving.path(), &self.admission).await {
            Ok(upload) => upload,
            Err(error) => {
                let plugin = &lane.name;
                tracing::warn!(%plugin, %error, "what serves is kept nowhere: there is no going back to it");
                return Ok(None);
            }
        };
        let intake = Intake::read(upload, self.terms.clone(), self.admission.clone()).await?;
        if intake.digest() != serving.description().info.digest {
            // It was changed since, and what serves is nowhere to be had.
            return Ok(None);
        }
        let release = intake.release(&PermissionDiff::default(), now_ms());
        let version = release.version.clone();
        let note = by_host("it served from a directory before anything was deployed");
        let stage = Command::Stage { version: Box::new(release), allow_downgrade: true };
        let staged = lane.deployment().apply(stage, &note)?;
        let activated = staged.deployment.apply(Command::Activate(version), &note)?;
        Ok(Some(Adoption { intake, staged, activated }))
    }

    /// From now on its versions are those that are deployed.
    pub(super) async fn adopt(&self, lane: &Lane, adoption: Adoption) -> Result<(), HostError> {
        self.keep(&adoption.intake).await?;
        for change in [adoption.staged, adoption.activated] {
            self.store(lane, change).await?;
        }
        self.direct(lane);
        Ok(())
    }

    /// What an upload asks for beyond what serves does, or would if it could.
    pub(super) async fn asks_beyond(
        &self,
        deployment: &Deployment,
        serving: Option<&HostPlugin>,
        intake: &Intake,
    ) -> PermissionDiff {
        if let Some(serving) = serving {
            return intake.asks_beyond(&serving.description().manifest);
        }
        // Of the first version, the policy has decided, and there is nothing it could have crept beyond.
        let Some(active) = deployment.active() else { return PermissionDiff::default() };
        match self.found(active).await.map(|found| found.artifact) {
            Ok(Ok(artifact)) => intake.asks_beyond(&artifact.description.manifest),
            // Nobody can tell what it asked for: all there is has to be agreed to.
            _ => intake.asks_for(),
        }
    }

    /// The plugin that answers calls, whether it was deployed or lies in a directory.
    pub(super) fn active_plugin(&self, lane: &Lane) -> Option<HostPlugin> {
        let deployment = lane.deployment();
        match deployment.active() {
            Some(active) => self.registry.get(&lane.name, &active.version),
            None => self.terms.routes.stable(&lane.name),
        }
    }

    /// Says which versions answer from the next look on.
    pub(super) fn direct(&self, lane: &Lane) {
        let deployment = lane.deployment();
        let canary = lane.trial().map(|trial| (trial.rollout().version, trial));
        let directive = deployment.active().map(|active| Directive {
            active: active.version.clone(),
            canary: canary.map(|(version, trial)| {
                let salt = salt(&lane.name, &version);
                let split = Split::new(&self.split_key, salt.as_bytes(), trial.rollout().share());
                (version, split)
            }),
        });
        self.terms.routes.direct(&lane.name, directive);
    }

    /// Has calls go by what was decided.
    pub(super) fn lead(&self, lane: &Lane) {
        self.direct(lane);
        self.registry.look_anew(&lane.name);
    }

    pub(super) fn lead_trial(&self, lane: &Lane, rollout: Rollout) {
        let trial = Arc::new(Trial::new(rollout));
        *lock(&lane.trial) = Some(trial.clone());
        self.terms.routes.judge(&lane.name, Some(trial));
        self.lead(lane);
    }

    pub(super) fn end_trial(&self, lane: &Lane) {
        *lock(&lane.trial) = None;
        self.terms.routes.judge(&lane.name, None);
        self.lead(lane);
    }

    pub(super) fn mirror(&self, lane: &Lane, new: Newcomer<HostState>, shadow: &Shadow) {
        self.end_mirror(lane);
        let split =
            Split::new(&self.split_key, salt(&lane.name, &shadow.version).as_bytes(), shadow.share);
        let mirror = Arc::new(Mirror::new(new, split));
        *lock(&lane.mirror) = Some(mirror.clone());
        self.terms.routes.mirror(&lane.name, Some(mirror));
    }

    pub(super) fn end_mirror(&self, lane: &Lane) {
        self.terms.routes.mirror(&lane.name, None);
        if let Some(mirror) = lock(&lane.mirror).take() {
            mirror.end();
        }
    }

    /// Takes a revision out that gets no calls any more. Those under way end by themselves.
    pub(super) fn remove(&self, plugin: &HostPlugin) {
        let deadline = Instant::now() + self.settings.drain_timeout;
        if let Err(error) = self.registry.remove(plugin, deadline) {
            // Others need this very version: it stays for them.
            let (plugin, version) = (plugin.name(), plugin.version());
            tracing::warn!(%plugin, %version, %error, "a revision stays beside its successor");
        }
    }

    /// Has a revision serve beside what serves, or, as a candidate, be tried there. Stored is that by `commit`,
    /// once nothing is left that could fail.
    pub(super) async fn install(
        &self,
        new: Newcomer<HostState>,
        is_candidate: bool,
        commit: impl Future<Output = Result<(), HostError>>,
    ) -> Result<(), HostError> {
        let deadline = Instant::now() + self.settings.drain_timeout;
        let there = self.registry.get(new.plugin().name(), new.plugin().version());
        if let Some(there) = there {
            // It stayed for others that need it, or lay in a directory.
            new.plugin().set_candidate(is_candidate);
            self.registry.replace(&there, new, deadline, commit).await?;
            return Ok(());
        }
        if let Err(error) = commit.await {
            new.discard(deadline).await;
            return Err(error);
        }
        self.registry.install(new, is_candidate).await?;
        Ok(())
    }

    /// Forgets what is not worth keeping. Done when a version comes, since then there is one more; if it fails,
    /// with the next one.
    pub(super) async fn collect(&self, lane: &Lane) {
        let command = Command::Collect(self.settings.retention);
        let done = async {
            self.commit(lane, command, &by_host("beyond what is kept")).await?;
            Ok::<_, HostError>(self.storage.collect().await?)
        };
        match done.await {
            Ok(Collected { parts, bytes }) if parts > 0 => {
                tracing::info!(parts, bytes, "artifacts were collected");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "old versions could not be forgotten"),
        }
    }
}

/// Whether what kept a version from starting will do so again.
pub(super) fn is_its_own_fault(error: &HostError) -> bool {
    matches!(error, HostError::Core(error) if !is_shut_down(error) && (!error.may_pass() || error.is_breakage()))
}

/// Whether the host goes down, and so does what it was about to start.
fn is_shut_down(error: &CoreError) -> bool {
    match error {
        CoreError::Shared(error) => is_shut_down(error),
        error => matches!(error, CoreError::Retired { .. }),
    }
}

/// What distinguishes one rollout from the next in who falls into its share.
fn salt(name: &PluginId, version: &Version) -> String {
    format!("{name} {version}")
}

/// What lies at a path, as it would be uploaded.
async fn read_upload(path: &Path, admission: &host_core::Admission) -> Result<Upload, HostError> {
    let (path, admission) = (path.to_owned(), admission.clone());
    blocking(move || {
        let artifact = read_artifact(&path, &admission)?;
        let description = &artifact.description;
        Ok(Upload {
            component: artifact.bytes.to_vec(),
            manifest: description
                .info
                .embedded
                .is_none()
                .then(|| description.manifest.to_toml().into_bytes()),
            signature: description.signature.as_ref().map(|signature| signature.to_vec()),
        })
    })
    .await
}
