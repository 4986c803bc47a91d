//! From a directory to plugins that serve.
//!
//! One plugin that fails does not stop the others: it is refused, with what depends on it.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use host_core::{
    Admission, Artifact, CallBudget, CoreError, Node, Operation, Pool, PoolConfig, Prepared,
    Runtime, discover, start_plan,
};
use host_ipc::{ConfigStore, EventLog, IpcCtx, is_event_type};
use host_security::{Grant, Policy, Request, enforce::HostMemory};
use plugin_contract::{Manifest, PluginId, PluginSection, escape};

use crate::{HostError, Refused, peer::Peer, plugin_host::Inner, state::HostState};

/// What all plugins of a host share.
pub(crate) struct Parts {
    pub(crate) runtime: Runtime<HostState>,
    pub(crate) policy: Policy,
    pub(crate) admission: Admission,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) config: Arc<dyn ConfigStore>,
    pub(crate) events: EventLog,
}

/// One revision of a plugin that serves.
pub(crate) struct Loaded {
    pub(crate) path: PathBuf,
    pub(crate) grant: Grant,
    pub(crate) pool: Pool<HostState>,
    /// The event types it wants, exact or `prefix.*`.
    pub(crate) subscriptions: Vec<String>,
}

impl Loaded {
    pub(crate) fn prepared(&self) -> &Prepared<HostState> {
        self.pool.prepared()
    }

    /// The budget of a call that begins now.
    pub(crate) fn budget(&self) -> CallBudget {
        budget(&self.grant)
    }
}

fn budget(grant: &Grant) -> CallBudget {
    CallBudget::new(grant.limits().timeout, grant.limits().cpu_time)
}

/// Longest time for the first instance of a plugin to start, whatever it was granted for calls: others
/// wait for it.
const START_MAX: Duration = Duration::from_secs(5);

/// Most event types that one plugin may subscribe to.
const SUBSCRIPTIONS_MAX: usize = 64;

/// An artifact with where it came from and what it may do.
struct Candidate {
    path: PathBuf,
    artifact: Artifact,
    grant: Grant,
}

/// Loads what is in `directory`, all of it or one plugin and what it needs. Each plugin serves as soon
/// as it has started, so that those that need it can call it from their first moment. The rest is
/// returned as refused.
pub(crate) async fn load(
    host: &Arc<Inner>,
    directory: &Path,
    only: Option<&PluginId>,
) -> Result<Vec<Refused>, HostError> {
    let serving = host.all();
    let (candidates, mut refused) = {
        let (host, directory, only) = (host.clone(), directory.to_owned(), only.cloned());
        let there = serving.clone();
        blocking(move || candidates(&host.parts, &there, &directory, only.as_ref())).await?
    };
    // What serves already comes after the candidates: it satisfies them, and is not started again.
    let manifests: Vec<&Manifest> =
        (candidates.iter().map(|candidate| &candidate.artifact.manifest))
            .chain(serving.iter().map(|loaded| loaded.prepared().manifest()))
            .collect();
    let nodes: Vec<Node<'_>> = manifests.iter().map(|manifest| Node::of(manifest)).collect();
    let plan = start_plan(&nodes);
    let refuse = |at: usize, error: HostError| Refused::new(&candidates[at].path, error);
    refused.extend(plan.refused.into_iter().map(|(at, error)| refuse(at, error.into())));

    let mut failed = HashSet::new();
    for at in plan.order.into_iter().filter(|at| *at < candidates.len()) {
        // What it needs was started before it, or failed to.
        let broken = plan.satisfied_by[at].iter().find(|(_, needs)| failed.contains(*needs));
        let result = match broken {
            Some((needs, _)) => Err(CoreError::dependency_failed(nodes[at], needs).into()),
            None => start(host, &candidates[at]).await,
        };
        match result {
            Ok(plugin) => host.insert(Arc::new(plugin)),
            Err(error) => {
                failed.insert(at);
                refused.push(refuse(at, error));
            }
        }
    }
    Ok(refused)
}

/// Reads a directory and decides on each plugin in it, without compiling anything.
fn candidates(
    parts: &Parts,
    there: &[Arc<Loaded>],
    directory: &Path,
    only: Option<&PluginId>,
) -> Result<(Vec<Candidate>, Vec<Refused>), HostError> {
    let (mut candidates, mut refused) = (Vec::<Candidate>::new(), Vec::new());
    let identity = |plugin: &PluginSection| (plugin.name.clone(), plugin.version.clone());
    let mut first_of: HashMap<_, _> = there
        .iter()
        .map(|loaded| (identity(&loaded.prepared().manifest().plugin), loaded.path.clone()))
        .collect();
    for found in discover(directory, parts.admission.clone())? {
        let decided = found.artifact.map_err(HostError::from).and_then(|artifact| {
            let plugin = &artifact.manifest.plugin;
            let identity = identity(plugin);
            if let Some(first) = first_of.get(&identity) {
                return Err(CoreError::Duplicate {
                    plugin: identity.0,
                    version: identity.1,
                    first: PathBuf::clone(first),
                }
                .into());
            }
            let grant = parts.policy.grant(&Request::from_manifest(&artifact.manifest)?);
            first_of.insert(identity, found.path.clone());
            Ok(Candidate { path: found.path.clone(), artifact, grant })
        });
        match decided {
            Ok(candidate) => candidates.push(candidate),
            Err(error) => refused.push(Refused::new(&found.path, error)),
        }
    }
    if let Some(only) = only {
        retain_needed(&mut candidates, only);
    }
    Ok((candidates, refused))
}

/// Keeps one plugin and, step by step, what it depends on.
fn retain_needed(candidates: &mut Vec<Candidate>, only: &PluginId) {
    let mut needed = HashSet::from([only.clone()]);
    loop {
        let before = needed.len();
        for candidate in candidates.iter() {
            let manifest = &candidate.artifact.manifest;
            if needed.contains(&manifest.plugin.name) {
                needed.extend(manifest.dependencies.keys().cloned());
            }
        }
        if needed.len() == before {
            break;
        }
    }
    candidates.retain(|candidate| needed.contains(&candidate.artifact.manifest.plugin.name));
}

/// Compiles, links and initialises one plugin. An instance that is ready waits in its pool.
async fn start(host: &Arc<Inner>, candidate: &Candidate) -> Result<Loaded, HostError> {
    let imports = Peer::imports(host, &candidate.artifact)?;
    let prepared = {
        let (runtime, artifact) = (host.parts.runtime.clone(), candidate.artifact.clone());
        blocking(move || Ok(runtime.prepare(&artifact, &imports)?)).await?
    };
    let grant = candidate.grant.clone();
    let pool = Pool::new(
        prepared.clone(),
        PoolConfig::new(grant.limits().max_instances),
        store_data(host, &prepared, &grant),
    );
    let limits = grant.limits();
    let budget = CallBudget::new(limits.timeout.min(START_MAX), limits.cpu_time.min(START_MAX));
    let mut first = pool.lease(&budget).await?;
    let mut subscriptions = Vec::new();
    if prepared.offers(Operation::SupportedEvents) {
        subscriptions = first.supported_events(&budget).await?;
        check_subscriptions(prepared.plugin(), &subscriptions)?;
    }
    drop(first);
    Ok(Loaded { path: candidate.path.clone(), grant, pool, subscriptions })
}

fn check_subscriptions(plugin: &PluginId, subscriptions: &[String]) -> Result<(), CoreError> {
    let is_subscription = |wanted: &String| {
        is_event_type(wanted.strip_suffix(".*").unwrap_or(wanted)) && wanted.len() <= 128
    };
    let problem = match subscriptions.iter().find(|wanted| !is_subscription(wanted)) {
        Some(wanted) => {
            format!("it wants events of the type `{}`, which is none", escape(wanted, 128))
        }
        None if subscriptions.len() > SUBSCRIPTIONS_MAX => {
            format!("it wants more than {SUBSCRIPTIONS_MAX} types of events")
        }
        None => return Ok(()),
    };
    Err(CoreError::ContractMismatch { plugin: plugin.clone(), problem, source: None })
}

/// Makes the data of each new store of a plugin.
fn store_data(
    host: &Arc<Inner>,
    prepared: &Prepared<HostState>,
    grant: &Grant,
) -> impl Fn() -> HostState + Send + Sync + 'static {
    let parts = &host.parts;
    let (memory, config, events) =
        (parts.memory.clone(), parts.config.clone(), parts.events.clone());
    let (plugin, version) = (prepared.plugin().clone(), prepared.version().to_string());
    let grant = grant.clone();
    move || {
        let ipc = IpcCtx::builder(plugin.clone(), &version)
            .config(config.clone())
            .events(events.clone())
            .env(grant.env())
            .build();
        HostState::new(&grant, memory.clone(), ipc)
    }
}

/// Runs what blocks (files, the compiler) where that harms nobody.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, HostError> + Send + 'static,
) -> Result<R, HostError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime goes down, or the compiler panicked on a plugin: that plugin is refused.
        Err(error) => Err(CoreError::Engine(error.into()).into()),
    }
}
