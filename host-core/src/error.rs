//! What can go wrong between the bytes of a component and a finished call.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plugin_contract::{ComponentError, Digest, Explain, ManifestError, PluginId, escape};
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
    /// The embedder does not let it run. Nothing was compiled.
    #[error("{0}")]
    Denied(Box<dyn Explain + Send + Sync>),
    /// What went wrong when it was started, told to all who waited for that.
    #[error(transparent)]
    Shared(Arc<CoreError>),
    /// The plugin is known, and was unloaded. Nothing was called.
    #[error("`{plugin}` is not loaded")]
    NotLoaded {
        /// Which.
        plugin: PluginId,
    },
    /// The plugin says that it takes no calls for now. Nothing was called.
    #[error("`{plugin}` is paused")]
    Paused {
        /// Which.
        plugin: PluginId,
    },
    /// The plugin says that it is broken, or breaks on most calls. It is started anew.
    #[error("`{plugin}` is not well")]
    Unhealthy {
        /// Which.
        plugin: PluginId,
    },
    /// The plugin failed, and will be started again. Nothing was called.
    #[error("`{plugin}` has failed and will be started again")]
    Recovering {
        /// Which.
        plugin: PluginId,
        /// When.
        retry_after: Duration,
        /// What went wrong.
        source: Arc<CoreError>,
    },
    /// The plugin failed too often, and is left alone for a long while. Nothing was called.
    #[error("`{plugin}` has failed again and again and is in quarantine")]
    Quarantined {
        /// Which.
        plugin: PluginId,
        /// When it will be tried once more.
        retry_after: Duration,
        /// What went wrong last.
        source: Arc<CoreError>,
    },
    /// Most of the latest calls have broken the revision. Nothing was called.
    #[error(
        "`{plugin}` has broken on most of its latest calls, and is called no more for a moment"
    )]
    CircuitOpen {
        /// Which.
        plugin: PluginId,
        /// When calls are tried again.
        retry_after: Duration,
    },
    /// This very input has broken the revision before, several times. Nothing was called.
    #[error("`{plugin}` has broken on this very input before")]
    PoisonInput {
        /// Which.
        plugin: PluginId,
        /// When that is forgotten.
        retry_after: Duration,
    },
    /// Other plugins depend on this one. Nothing was changed.
    #[error("`{plugin}` is needed by {}", by.join(", "))]
    StillNeeded {
        /// Which.
        plugin: PluginId,
        /// By which.
        by: Vec<String>,
    },
    /// The caller went away before the call had ended. Seen in metrics alone.
    #[error("the caller of `{plugin}` went away")]
    Cancelled {
        /// Which.
        plugin: PluginId,
    },
    /// The revision answers no more calls: it was unloaded, or another has taken its place.
    #[error("this revision of `{plugin}` was retired")]
    Retired {
        /// Which.
        plugin: PluginId,
    },
    /// The plugin was still being compiled at the deadline for that. Its helper was killed.
    #[error("`{plugin}` was not compiled within {} ms", deadline.as_millis())]
    CompileDeadline {
        /// Which.
        plugin: PluginId,
        /// How long it may take.
        deadline: Duration,
    },
    /// The helper died of compiling the plugin: it ran out of memory, or was killed.
    #[error("compiling `{plugin}` took more than it may: {how}")]
    CompileExhausted {
        /// Which.
        plugin: PluginId,
        /// How the helper ended, and what it said, escaped and cut.
        how: String,
    },
    /// As many plugins wait to be compiled as may.
    #[error("`{plugin}` cannot be compiled now: {waiting} others wait for that")]
    CompilerBusy {
        /// Which.
        plugin: PluginId,
        /// How many wait.
        waiting: usize,
    },
    /// The program that compiles cannot be started, or is not what it should be. Nothing was compiled.
    #[error("the program that compiles plugins does not work")]
    CompilerUnavailable {
        /// Why.
        source: std::io::Error,
    },
    /// The component is not the one that was admitted. Nothing was compiled.
    #[error("`{plugin}` is not what it was when it was admitted: {found}, and not {expected}")]
    DigestChanged {
        /// Which.
        plugin: PluginId,
        /// When it was admitted.
        expected: Digest,
        /// Now.
        found: Digest,
    },
    /// No function of this name, or several. The plugin was not called.
    #[error("`{plugin}` exports no single function `{function}`{}", offering(offered))]
    NoSuchFunction {
        /// Which.
        plugin: PluginId,
        /// What was asked for.
        function: String,
        /// What there is, or what the name may mean; at most eight.
        offered: Vec<String>,
    },
    /// The arguments are not what the function takes. The plugin was not called.
    #[error("the arguments for `{function}` of `{plugin}` do not fit: {problem}")]
    InvalidArguments {
        /// Which.
        plugin: PluginId,
        /// The function.
        function: String,
        /// Where, what was expected, and what was there instead.
        problem: String,
    },
    /// The function takes or returns what cannot be written down, or is for the host alone to call. The
    /// plugin was not called.
    #[error("`{function}` of `{plugin}` cannot be called by name: {why}")]
    NotCallable {
        /// Which.
        plugin: PluginId,
        /// The function.
        function: String,
        /// Why.
        why: String,
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

fn offering(functions: &[String]) -> String {
    match functions {
        [] => ", nor any other".to_owned(),
        functions => format!(", but {}", functions.join(", ")),
    }
}

impl CoreError {
    /// The error itself, where it was told to several.
    pub fn unshared(&self) -> &Self {
        match self {
            Self::Shared(error) => error.unshared(),
            error => error,
        }
    }

    /// Whether the plugin broke: a trap, a deadline, a limit. Its instance is spent, and the next call is
    /// no surer to succeed. Refusals, and a host that is busy, are no such thing.
    pub fn is_breakage(&self) -> bool {
        match self {
            Self::Trap { .. }
            | Self::GuestExit { .. }
            | Self::MemoryExceeded { .. }
            | Self::CpuTime { .. }
            | Self::Deadline { .. }
            | Self::TooMuchData { .. }
            | Self::TooManyHandles { .. }
            | Self::HostCall { .. }
            | Self::Unhealthy { .. }
            | Self::IdentityMismatch { .. }
            | Self::Initialize { .. } => true,
            Self::Shared(error) => error.is_breakage(),
            _ => false,
        }
    }

    /// Whether another revision, or nobody, might do better: the plugin broke, or could not be had.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::Recovering { .. }
            | Self::Quarantined { .. }
            | Self::CircuitOpen { .. }
            | Self::PoisonInput { .. }
            | Self::Overloaded { .. }
            | Self::HostExhausted { .. }
            | Self::NotLoaded { .. } => true,
            Self::Shared(error) => error.is_outage(),
            error => error.is_breakage(),
        }
    }

    /// Whether starting the plugin once more might end otherwise: what failed was the running guest or
    /// the machine, not what the plugin is.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::IdentityMismatch { .. } => false,
            Self::Shared(error) => error.may_pass(),
            Self::Dependency { problem, .. } => *problem == DependencyProblem::Failed,
            Self::HostExhausted { .. } | Self::Unreadable { .. } | Self::Overloaded { .. } => true,
            error => error.is_breakage(),
        }
    }

    /// When a call that was refused is worth another try, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Recovering { retry_after, .. }
            | Self::Quarantined { retry_after, .. }
            | Self::CircuitOpen { retry_after, .. }
            | Self::PoisonInput { retry_after, .. } => Some(*retry_after),
            Self::Shared(error) => error.retry_after(),
            _ => None,
        }
    }

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
            Self::Retired { .. } => "core/retired",
            Self::Denied(error) => error.code(),
            Self::Shared(error) => error.code(),
            Self::NotLoaded { .. } => "core/not-loaded",
            Self::Paused { .. } => "core/plugin-paused",
            Self::Unhealthy { .. } => "core/plugin-unhealthy",
            Self::Recovering { .. } => "core/plugin-recovering",
            Self::Quarantined { .. } => "core/plugin-quarantined",
            Self::CircuitOpen { .. } => "core/circuit-open",
            Self::PoisonInput { .. } => "core/poison-input",
            Self::StillNeeded { .. } => "core/still-needed",
            Self::Cancelled { .. } => "core/cancelled",
            Self::CompileDeadline { .. } => "core/compile-deadline",
            Self::CompileExhausted { .. } => "core/compile-exhausted",
            Self::CompilerBusy { .. } => "core/compiler-busy",
            Self::CompilerUnavailable { .. } => "core/compiler-unavailable",
            Self::DigestChanged { .. } => "core/changed-on-disk",
            Self::NoSuchFunction { .. } => "core/no-such-function",
            Self::InvalidArguments { .. } => "core/invalid-arguments",
            Self::NotCallable { .. } => "core/not-callable",
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
            Self::Retired { .. } => "call the revision that serves now",
            Self::Denied(error) => error.remedy(),
            Self::Shared(error) => error.remedy(),
            Self::NotLoaded { .. } => "load the plugin again",
            Self::Paused { .. } => {
                "try again when the plugin has resumed; `plugin-host list` shows it"
            }
            Self::Unhealthy { .. } => "look into the plugin's own log for the reason",
            Self::Recovering { .. } => {
                "try again later; the cause is what has to be mended if it stays so"
            }
            Self::Quarantined { .. } => {
                "mend what the cause names, then reload the plugin; it is tried again in any case"
            }
            Self::CircuitOpen { .. } => {
                "try again later; the errors before this one say what breaks the plugin"
            }
            Self::PoisonInput { .. } => {
                "change the input, or report it to the plugin's author; in time it is tried again"
            }
            Self::StillNeeded { .. } => "unload those that need it first",
            Self::Cancelled { .. } => "nothing needs to be done",
            Self::CompileDeadline { .. } => "split the plugin, or raise the compiler's `timeout`",
            Self::CompileExhausted { .. } => {
                "split the plugin, or raise the compiler's `memory_bytes_max`"
            }
            Self::CompilerBusy { .. } => "try again later, or raise the compiler's `waiting_max`",
            Self::CompilerUnavailable { .. } => {
                "see that the helper program is of the same release as the host, and may be started; restart the host after an upgrade"
            }
            Self::DigestChanged { .. } => {
                "load the plugin again, so that it is admitted as it is now"
            }
            Self::NoSuchFunction { .. } => {
                "take a name as the component exports it; `plugin-host inspect` lists them"
            }
            Self::InvalidArguments { .. } => {
                "give the argument that is named a value of the type that is expected"
            }
            Self::NotCallable { .. } => {
                "have the plugin export a function for it that takes and returns plain values"
            }
            Self::Engine(_) => "run `plugin-host doctor`, which checks what the engine needs",
        }
    }
}
