//! What can go wrong between the bytes of a component and a finished call.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use plugin_contract::{ComponentError, Explain, ManifestError, PluginId, escape};
use semver::{Version, VersionReq};

use crate::{Node, Operation};

/// One variant for each thing a caller would do differently. [`Explain`] gives code and remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A file could not be read. Nothing was loaded.
    #[error("`{}` cannot be read", shown(path))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes were refused before anyone compiled them.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// `plugin.toml` was refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// There is a component, but nothing says which plugin it is.
    #[error("nothing says which plugin this is: no `plugin.toml`, none embedded")]
    ManifestMissing,
    /// `plugin.toml` and the manifest inside the component are not the same.
    #[error("`{plugin}`: `plugin.toml` and the manifest inside the component differ")]
    ManifestDiffers {
        /// By `plugin.toml`.
        plugin: PluginId,
    },
    /// The plugin asks for another host.
    #[error("`{plugin}` wants a host {wanted}, this is {host}")]
    HostVersion {
        /// Which.
        plugin: PluginId,
        /// What it asks for.
        wanted: VersionReq,
        /// What there is.
        host: Version,
    },
    /// Contract version or shape do not fit. Nothing was instantiated.
    #[error("`{plugin}` does not fit this host's contract: {problem}")]
    ContractMismatch {
        /// Which.
        plugin: PluginId,
        /// Which part, and which side is newer.
        problem: String,
        /// The engine's view, where it came to that.
        source: Option<wasmtime::Error>,
    },
    /// An import that the host does not offer, or not to this plugin. Nothing was instantiated.
    #[error("`{plugin}` imports {}, which this host does not offer it", imports.join(", "))]
    UnknownImport {
        /// Which.
        plugin: PluginId,
        /// The names of the imports.
        imports: Vec<String>,
    },
    /// The engine refused the code.
    #[error("`{plugin}` does not compile")]
    Compile {
        /// Which.
        plugin: PluginId,
        /// The engine's reason.
        source: wasmtime::Error,
    },
    /// A dependency is not there.
    #[error("`{plugin}` needs `{needs}` {wanted}, {problem}")]
    Dependency {
        /// Which.
        plugin: PluginId,
        /// What it needs.
        needs: PluginId,
        /// In which version.
        wanted: VersionReq,
        /// What there is instead.
        problem: DependencyProblem,
    },
    /// Dependencies lead back to where they started.
    #[error("dependencies form a circle: {}", chain.join(" -> "))]
    DependencyCycle {
        /// The circle, its first name again at the end.
        chain: Vec<String>,
    },
    /// Another file has brought this version of this plugin already.
    #[error("`{plugin}` {version} is there already, from `{}`", shown(first))]
    Duplicate {
        /// Which.
        plugin: PluginId,
        /// In which version.
        version: Version,
        /// The file that was taken.
        first: PathBuf,
    },
    /// The plugin says another name or version than its manifest.
    #[error("`{plugin}` {version} calls itself {says}")]
    IdentityMismatch {
        /// By the manifest.
        plugin: PluginId,
        /// By the manifest.
        version: Version,
        /// By `get-metadata`.
        says: String,
    },
    /// `initialize` answered with an error. The instance is dropped.
    #[error("`{plugin}` could not initialize: {message}")]
    Initialize {
        /// Which.
        plugin: PluginId,
        /// The plugin's reason.
        message: String,
    },
    /// The plugin does not do this.
    #[error("`{plugin}` does not offer `{operation}`")]
    NotOffered {
        /// Which.
        plugin: PluginId,
        /// What was asked.
        operation: Operation,
    },
    /// The plugin takes text, and this is not UTF-8. The plugin was not called.
    #[error("`{plugin}` takes text, and the input is not UTF-8 from byte {valid_up_to} on")]
    InputNotText {
        /// Which.
        plugin: PluginId,
        /// Where the text ends.
        valid_up_to: usize,
    },
    /// The plugin answered, with an error. The instance can be used again.
    #[error("`{plugin}` refused: {message}")]
    Refused {
        /// Which.
        plugin: PluginId,
        /// The plugin's reason, escaped and cut at 4 KiB.
        message: String,
    },
    /// The guest trapped. The store is spent.
    #[error("`{plugin}` trapped in `{operation}`: {kind}{}", show(frames))]
    Trap {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
        /// How.
        kind: TrapKind,
        /// Where, the innermost frame first; at most 20.
        frames: Vec<GuestFrame>,
    },
    /// The guest ended itself. That is no way to answer a call. The store is spent.
    #[error("`{plugin}` exited with status {status} in `{operation}`")]
    GuestExit {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
        /// What it said.
        status: i32,
    },
    /// The guest failed after it was refused memory. The store is spent.
    #[error("`{plugin}` ran out of its memory in `{operation}`")]
    MemoryExceeded {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
    },
    /// The guest used up its time of execution. The store is spent.
    #[error("`{plugin}` was stopped in `{operation}` after {} ms of execution", limit.as_millis())]
    CpuTime {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
        /// What it was granted.
        limit: Duration,
    },
    /// The call was still running at its deadline. The store is spent.
    #[error("`{plugin}` was stopped in `{operation}` at its deadline")]
    Deadline {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
    },
    /// What the guest answered, or told the host, is larger than allowed. The store is spent.
    #[error("`{plugin}` handed over more than one call may carry, in `{operation}`")]
    TooMuchData {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
    },
    /// The guest holds more handles (resources, streams) than it may. The store is spent.
    #[error("`{plugin}` holds more handles than it may, in `{operation}`")]
    TooManyHandles {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
    },
    /// A call of the guest to the host failed: it passed what is not what its type says, or asked for
    /// more than it may, or the host's function failed. The store is spent.
    #[error("a call of `{plugin}` to the host failed, in `{operation}`")]
    HostCall {
        /// Which.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
        /// Why.
        source: wasmtime::Error,
    },
    /// All instances are busy, and as many calls as may wait do so already.
    #[error("all {instances} instances of `{plugin}` are busy")]
    Overloaded {
        /// Which.
        plugin: PluginId,
        /// How many there may be.
        instances: u32,
    },
    /// The host has no room for another instance, of whatever plugin.
    #[error("the host has no room for another instance of `{plugin}`")]
    HostExhausted {
        /// Which.
        plugin: PluginId,
        /// Of what there is no more.
        source: wasmtime::Error,
    },
    /// The engine could not make an instance: it asks for more than an instance may have.
    #[error("no instance of `{plugin}` can be made")]
    CannotInstantiate {
        /// Which.
        plugin: PluginId,
        /// The engine's reason.
        source: wasmtime::Error,
    },
    /// The instance was used after a trap, a deadline or a cancelled call.
    #[error("this instance of `{plugin}` is spent")]
    Spent {
        /// Which.
        plugin: PluginId,
    },
    /// The engine could not be set up.
    #[error("the engine could not be set up")]
    Engine(#[source] wasmtime::Error),
}

/// Why a dependency is not satisfied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DependencyProblem {
    /// No plugin of this name.
    #[error("which is not there")]
    Missing,
    /// Other versions only.
    #[error("and there is only {}", .0.iter().map(Version::to_string).collect::<Vec<_>>().join(", "))]
    OtherVersions(Vec<Version>),
    /// It was refused itself.
    #[error("which could not be started itself")]
    Failed,
}

/// How a guest trapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrapKind {
    /// Outside its linear memory.
    Memory,
    /// Recursion too deep.
    Stack,
    /// `unreachable`: a panic, an abort.
    Unreachable,
    /// Division by zero, overflow, or a float that is no integer.
    Arithmetic,
    /// A table or an indirect call went wrong.
    Table,
    /// Values across the component boundary were not what their types say.
    Boundary,
    /// Anything else.
    Other,
}

impl fmt::Display for TrapKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "access outside its memory",
            Self::Stack => "its stack overflowed",
            Self::Unreachable => "it gave up (a panic or abort)",
            Self::Arithmetic => "impossible arithmetic",
            Self::Table => "a call through a table that leads nowhere",
            Self::Boundary => "values that are not what their types say",
            Self::Other => "an operation the engine does not allow",
        })
    }
}

/// One frame of a guest's stack. Names are the guest's own, escaped and cut at 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFrame {
    /// The function, by name where the component keeps names, else by index.
    pub function: String,
    /// Byte offset in the core module, for symbolising elsewhere.
    pub module_offset: Option<usize>,
    /// Source file and line, where the component keeps debug information.
    pub source: Option<String>,
}

/// Paths are strangers' texts, too.
fn shown(path: &Path) -> String {
    escape(&path.display().to_string(), 1_000)
}

fn show(frames: &[GuestFrame]) -> String {
    use std::fmt::Write;
    frames.iter().fold(String::new(), |mut out, frame| {
        let at = frame.source.clone().or(frame.module_offset.map(|o| format!("{o:#x}")));
        // Writing to a string does not fail.
        let _ = write!(out, "\n    at {} ({})", frame.function, at.as_deref().unwrap_or("?"));
        out
    })
}

impl CoreError {
    /// `node` cannot be started, since `needs` could not.
    pub fn dependency_failed(node: Node<'_>, needs: &PluginId) -> Self {
        Self::Dependency {
            plugin: node.name.clone(),
            needs: needs.clone(),
            wanted: node.dependencies.get(needs).cloned().unwrap_or_default(),
            problem: DependencyProblem::Failed,
        }
    }
}

impl Explain for CoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "core/unreadable",
            Self::Component(error) => error.code(),
            Self::Manifest(error) => error.code(),
            Self::ManifestMissing => "core/manifest-missing",
            Self::ManifestDiffers { .. } => "core/manifest-differs",
            Self::HostVersion { .. } => "core/host-version",
            Self::ContractMismatch { .. } => "core/contract-mismatch",
            Self::UnknownImport { .. } => "core/unknown-import",
            Self::Compile { .. } => "core/compile-failed",
            Self::Dependency { problem: DependencyProblem::Missing, .. } => {
                "core/dependency-missing"
            }
            Self::Dependency { problem: DependencyProblem::OtherVersions(_), .. } => {
                "core/dependency-conflict"
            }
            Self::Dependency { problem: DependencyProblem::Failed, .. } => "core/dependency-failed",
            Self::DependencyCycle { .. } => "core/dependency-cycle",
            Self::Duplicate { .. } => "core/duplicate-plugin",
            Self::IdentityMismatch { .. } => "core/identity-mismatch",
            Self::Initialize { .. } => "core/initialize-failed",
            Self::NotOffered { .. } => "core/not-offered",
            Self::InputNotText { .. } => "core/input-not-text",
            Self::Refused { .. } => "core/plugin-refused",
            Self::Trap { kind, .. } => match kind {
                TrapKind::Memory => "core/trap-memory",
                TrapKind::Stack => "core/trap-stack",
                TrapKind::Unreachable => "core/trap-unreachable",
                TrapKind::Arithmetic => "core/trap-arithmetic",
                TrapKind::Table => "core/trap-table",
                TrapKind::Boundary => "core/trap-boundary",
                TrapKind::Other => "core/trap",
            },
            Self::GuestExit { .. } => "core/guest-exit",
            Self::MemoryExceeded { .. } => "security/memory-exceeded",
            Self::CpuTime { .. } => "security/cpu-time-exceeded",
            Self::Deadline { .. } => "core/deadline",
            Self::TooMuchData { .. } => "core/too-much-data",
            Self::TooManyHandles { .. } => "security/handles-exceeded",
            Self::HostCall { .. } => "core/host-call",
            Self::Overloaded { .. } => "core/overloaded",
            Self::HostExhausted { .. } => "core/host-exhausted",
            Self::CannotInstantiate { .. } => "core/cannot-instantiate",
            Self::Spent { .. } => "core/instance-spent",
            Self::Engine(_) => "core/engine",
        }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => {
                "see that the file is there, is a regular file, and may be read by the host"
            }
            Self::Component(error) => error.remedy(),
            Self::Manifest(error) => error.remedy(),
            Self::ManifestMissing => {
                "put a `plugin.toml` beside the component, or package it with `cargo xtask build-plugins`"
            }
            Self::ManifestDiffers { .. } => {
                "package the plugin again after editing `plugin.toml`; the manifest inside is the one that counts"
            }
            Self::HostVersion { .. } => {
                "upgrade the host, or take a version of the plugin that was made for it"
            }
            Self::ContractMismatch { .. } => {
                "build the plugin against the `wit/` of this host, or take a host that speaks the plugin's version"
            }
            Self::UnknownImport { .. } => {
                "grant what the import needs, name the plugin that exports it under `[dependencies]`, or do without it"
            }
            Self::Compile { .. } => {
                "build with the features that plugins may use: `cargo xtask build-plugins` checks them"
            }
            Self::Dependency { .. } => {
                "put the missing plugin into the plugin directory, in a version that fits"
            }
            Self::DependencyCycle { .. } => "remove one of the dependencies in the circle",
            Self::Duplicate { .. } => "remove one of the two, or give it a version of its own",
            Self::IdentityMismatch { .. } => {
                "give crate, `plugin.toml` and `get-metadata` the same name and version"
            }
            Self::Initialize { .. } => "give the plugin the configuration its message asks for",
            Self::NotOffered { .. } => {
                "ask for something that the plugin's world offers; `plugin-host inspect` lists it"
            }
            Self::InputNotText { .. } => "send UTF-8",
            Self::Refused { .. } => "correct the input or the options as the plugin's message says",
            Self::Trap { kind: TrapKind::Stack, .. } => {
                "bound the recursion in the plugin, or raise the engine's `wasm_stack_bytes`"
            }
            Self::Trap { .. } => {
                "report the trap to the plugin's author, with the input that caused it"
            }
            Self::GuestExit { .. } => "have the plugin return an error instead of exiting",
            Self::MemoryExceeded { .. } => {
                "raise `permissions.memory`, or have the plugin work on smaller pieces"
            }
            Self::CpuTime { .. } => {
                "raise `permissions.cpu-time`, or have the plugin do less per call"
            }
            Self::Deadline { .. } => {
                "raise `permissions.timeout`, or have the plugin answer in parts"
            }
            Self::TooMuchData { .. } => "have the plugin hand over less at a time",
            Self::TooManyHandles { .. } => "have the plugin drop handles it no longer needs",
            Self::HostCall { .. } => {
                "read the cause in the host's log: it says whose the mistake is"
            }
            Self::Overloaded { .. } => "try again later, or raise `permissions.max-instances`",
            Self::HostExhausted { .. } => "try again later, or raise the host's pool settings",
            Self::CannotInstantiate { .. } => {
                "have the component ask for fewer or smaller memories and tables"
            }
            Self::Spent { .. } => "take a new instance",
            Self::Engine(_) => "run `plugin-host doctor`, which checks what the engine needs",
        }
    }
}
