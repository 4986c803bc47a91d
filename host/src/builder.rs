//! Setting up a host.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use host_core::{
    Admission, CodeSettings, EngineSettings, HealthSettings, Registry, RegistrySettings, Runtime,
};
use host_deploy::{PluginStorage, SplitKey, storage::EmbeddedStorage};
use host_ipc::{
    BusSettings, ConfigLimits, ConfigStore, EventBus, EventLog, EventLogLimits, MemoryConfigStore,
    RedbConfigStore,
    channel::{ChannelSettings, Exchange},
};
use host_security::{
    Policy,
    audit::Usage,
    enforce::{
        self, HostMemory, HostShares,
        fs::FsShared,
        net::{NetSettings, NetShared},
    },
    sign::TrustPolicy,
};
use plugin_contract::{EnvName, PluginId};

use crate::{
    DeploySettings, HostConfig, HostError, PluginHost, PluginSettings, audit::HostAudit, blocking,
    deploy::Deployments, mail::Mail, state, subscribers::Subscribers, terms::HostTerms,
};

/// Where plugins' configuration is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// Nowhere: it is forgotten with the host.
    Memory,
    /// In this directory, which is made if it is not there. One host at a time may use it.
    Directory(PathBuf),
}

/// Configures a [`PluginHost`]; see [`PluginHost::builder`].
#[derive(Debug, Clone)]
pub struct PluginHostBuilder {
    pub(crate) plugins: Option<PathBuf>,
    pub(crate) only: Option<PluginId>,
    storage: Storage,
    pub(crate) policy: Policy,
    trust: TrustPolicy,
    certificates: Vec<Vec<u8>>,
    usage: Option<Usage>,
    plugin_settings: BTreeMap<PluginId, PluginSettings>,
    registry: RegistrySettings,
    engine: EngineSettings,
    code: CodeSettings,
    guest_memory_bytes_max: u64,
    events: EventLogLimits,
    bus: BusSettings,
    deploy: DeploySettings,
    deployments: Option<Elsewhere>,
}

/// A store of the embedder's.
#[derive(Clone)]
struct Elsewhere(Arc<dyn PluginStorage>);

impl std::fmt::Debug for Elsewhere {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a store")
    }
}

impl Default for PluginHostBuilder {
    fn default() -> Self {
        Self {
            plugins: None,
            only: None,
            storage: Storage::Memory,
            policy: Policy::default(),
            trust: TrustPolicy::default(),
            certificates: Vec::new(),
            usage: None,
            plugin_settings: BTreeMap::new(),
            registry: RegistrySettings::default(),
            engine: EngineSettings::default(),
            code: CodeSettings::default(),
            guest_memory_bytes_max: 4 << 30,
            events: EventLogLimits::default(),
            bus: BusSettings::default(),
            deploy: DeploySettings::default(),
            deployments: None,
        }
    }
}

impl PluginHostBuilder {
    /// Loads the plugins of this directory. Default: none; [`PluginHost::load`] loads more.
    #[must_use]
    pub fn plugins(mut self, directory: impl AsRef<Path>) -> Self {
        self.plugins = Some(directory.as_ref().to_owned());
        self
    }

    /// Loads only this plugin of the directory, and what it depends on.
    #[must_use]
    pub fn only(mut self, plugin: PluginId) -> Self {
        self.only = Some(plugin);
        self
    }

    /// Keeps what must be kept in this directory. Default: in memory.
    #[must_use]
    pub fn data_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.storage = Storage::Directory(directory.as_ref().to_owned());
        self
    }

    /// What plugins may be granted. Default: no authority, moderate amounts.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Whose signatures are trusted, and whether there must be one. Default: anyone's, and no.
    #[must_use]
    pub fn signatures(mut self, trust: TrustPolicy) -> Self {
        self.trust = trust;
        self
    }

    /// Notes in `usage` what plugins use and are refused, and lets them have all that the policy allows,
    /// whether or not their manifests ask for it: to find out what they should ask for.
    #[must_use]
    pub fn learn(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Gives this environment variable to every plugin that asks for it.
    #[must_use]
    pub fn grant_env(mut self, name: EnvName, value: String) -> Self {
        self.policy.all.env.insert(name, value);
        self
    }

    /// What is admitted at all.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.registry.admission = admission;
        self
    }

    /// Sets all that a `host.toml` says.
    #[must_use]
    pub fn config(mut self, config: HostConfig) -> Self {
        self.registry.health = config.health;
        self.policy = config.policy;
        self.trust = config.signatures;
        self.certificates = config.certificates;
        self.plugin_settings.extend(config.plugins);
        self
    }

    /// What the operator decides for one plugin, beside what it is granted.
    #[must_use]
    pub fn plugin(mut self, plugin: PluginId, settings: PluginSettings) -> Self {
        self.plugin_settings.insert(plugin, settings);
        self
    }

    /// Starts plugins when they are first called. Default: when they are loaded.
    #[must_use]
    pub fn lazy(mut self, lazy: bool) -> Self {
        self.registry.lazy = lazy;
        self
    }

    /// When plugins are asked how they are, and started again.
    #[must_use]
    pub fn health(mut self, settings: HealthSettings) -> Self {
        self.registry.health = settings;
        self
    }

    /// How components are compiled, and where compiled code is kept. Default: in this process, and nowhere.
    /// Whoever lets strangers bring components has them compiled by a helper, which can be stopped.
    #[must_use]
    pub fn code(mut self, settings: CodeSettings) -> Self {
        self.code = settings;
        self
    }

    /// Admits components that nothing says the name of, by that of their file, as version 0.0.0.
    #[must_use]
    pub fn unnamed(mut self, admitted: bool) -> Self {
        self.registry.admission.unnamed = admitted;
        self
    }

    /// How the engines are set up.
    #[must_use]
    pub fn engine(mut self, settings: EngineSettings) -> Self {
        self.engine = settings;
        self
    }

    /// Bytes of linear memory for all guests together. Default 4 GiB.
    #[must_use]
    pub fn guest_memory_bytes_max(mut self, bytes: u64) -> Self {
        self.guest_memory_bytes_max = bytes;
        self
    }

    /// How many events are kept.
    #[must_use]
    pub fn events(mut self, limits: EventLogLimits) -> Self {
        self.events = limits;
        self
    }

    /// How events are handed on, and how often that is tried.
    #[must_use]
    pub fn bus(mut self, settings: BusSettings) -> Self {
        self.bus = settings;
        self
    }

    /// How deployments are put into effect, and which old versions are kept.
    #[must_use]
    pub fn deploy(mut self, settings: DeploySettings) -> Self {
        self.deploy = settings;
        self
    }

    /// Keeps deployments elsewhere. Default: in the data directory, if there is one; else nothing can be deployed.
    #[must_use]
    pub fn deployments(mut self, storage: Arc<dyn PluginStorage>) -> Self {
        self.deployments = Some(Elsewhere(storage));
        self
    }

    /// Sets up the host and loads its plugins. What cannot be loaded is left out, and found in
    /// [`PluginHost::refused`].
    ///
    /// # Errors
    /// If the host itself cannot be set up: `host/data-dir`, `ipc/storage-failed`, `core/engine`,
    /// or `core/unreadable` if the plugin directory cannot be listed.
    pub async fn build(self) -> Result<PluginHost, HostError> {
        let (storage, elsewhere) = (self.storage, self.deployments.map(|store| store.0));
        let Kept { config, audit, data, deployments } =
            blocking(move || open(storage, elsewhere)).await?;
        let runtime = Runtime::builder(self.engine)
            .code(self.code)
            .link(&enforce::interfaces(), enforce::add_to_linker)
            .link(&host_ipc::INTERFACES, state::link_ipc)
            .build()?;
        let net = NetSettings { extra_roots: self.certificates, ..NetSettings::default() };
        let shares = HostShares {
            memory: HostMemory::new(self.guest_memory_bytes_max),
            fs: FsShared::default(),
            net: NetShared::new(net)?,
        };
        let terms = Arc::new(HostTerms {
            policy: self.policy,
            plugins: self.plugin_settings,
            trust: self.trust,
            shares,
            audit,
            usage: self.usage,
            data,
            config,
            subscribers: Subscribers::new(EventBus::new(self.bus, EventLog::new(self.events))),
            mail: Mail::new(Exchange::new(ChannelSettings::default())),
            routes: Arc::default(),
        });
        let admission = self.registry.admission.clone();
        let registry = Registry::new(runtime, terms.clone(), self.registry);
        let deployments = match deployments {
            Some(storage) => {
                let (terms, registry) = (terms.clone(), registry.clone());
                let opened = Deployments::open(storage, self.deploy, terms, registry, admission);
                Some(Arc::new(opened.await?))
            }
            None => None,
        };
        let host = PluginHost::new(terms, registry, deployments);
        host.load_first(self.plugins.as_deref(), self.only.as_ref()).await?;
        if self.plugins.is_some() && self.only.is_none() {
            host.warn_of_names_that_are_none();
        }
        Ok(host)
    }
}

/// What is kept.
struct Kept {
    config: Arc<dyn ConfigStore>,
    audit: Arc<HostAudit>,
    /// Private directories of plugins.
    data: Option<PathBuf>,
    deployments: Option<Arc<dyn PluginStorage>>,
}

fn open(storage: Storage, elsewhere: Option<Arc<dyn PluginStorage>>) -> Result<Kept, HostError> {
    let limits = ConfigLimits::default();
    let Storage::Directory(path) = storage else {
        let config = Arc::new(MemoryConfigStore::new(limits));
        let audit = HostAudit::open(None)?;
        return Ok(Kept { config, audit, data: None, deployments: elsewhere });
    };
    if let Err(source) = make_private(&path) {
        return Err(HostError::DataDir { path, source });
    }
    let config = Arc::new(RedbConfigStore::open(&path.join("config.redb"), limits)?);
    let audit = HostAudit::open(Some(&path))?;
    let deployments = match elsewhere {
        Some(elsewhere) => elsewhere,
        None => {
            let directory = path.join("deployments");
            if let Err(source) = make_private(&directory) {
                return Err(HostError::DataDir { path: directory, source });
            }
            // A version 4 id is 122 random bits, of the system's.
            let key = SplitKey::from_bytes(*uuid::Uuid::new_v4().as_bytes());
            Arc::new(EmbeddedStorage::open(&directory, key)?) as Arc<dyn PluginStorage>
        }
    };
    Ok(Kept { config, audit, data: Some(path.join("data")), deployments: Some(deployments) })
}

/// Makes a directory that is the host's alone.
fn make_private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
