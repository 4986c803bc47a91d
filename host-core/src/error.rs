//! What can go wrong between the bytes of a component and a finished call.

mod blame;
mod explain;

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use plugin_contract::{
    ComponentError, Digest, Explain, ManifestError, PluginId, RelayRefused, escape,
};
use semver::{Version, VersionReq};

use crate::Operation;

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
    /// The plugin does not give up its state now. It serves on with it.
    #[error("`{plugin}` does not give up its state: {message}")]
    StateNotGiven {
        /// Which.
        plugin: PluginId,
        /// The plugin's reason, escaped and cut at 4 KiB.
        message: String,
    },
    /// The state that a plugin gave up is larger than may be handed over. It serves on with it.
    #[error("the state of `{plugin}` has {bytes} bytes, of at most {bytes_max}")]
    StateTooLarge {
        /// Which.
        plugin: PluginId,
        /// How many there are.
        bytes: u64,
        /// How many there may be.
        bytes_max: u64,
    },
    /// The revision that was to take over a state does not know its form. Its instance is spent; the old
    /// revision serves on.
    #[error(
        "`{plugin}` {version} knows forms of state up to {newest}, and was handed form {offered}"
    )]
    StateUnknownFormat {
        /// Which.
        plugin: PluginId,
        /// The version that was to take over.
        version: Version,
        /// The newest form it knows.
        newest: u32,
        /// The form there is.
        offered: u32,
    },
    /// The revision that was to take over a state does not take it for one. Its instance is spent; the old
    /// revision serves on.
    #[error("`{plugin}` {version} does not take over the state: {message}")]
    StateRefused {
        /// Which.
        plugin: PluginId,
        /// The version that was to take over.
        version: Version,
        /// The plugin's reason, escaped and cut at 4 KiB.
        message: String,
    },
    /// The instance that holds the state did not come free in time. It serves on.
    #[error("`{plugin}` was busy for so long that its state could not be handed over")]
    StateBusy {
        /// Which.
        plugin: PluginId,
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
    /// A plugin that it called failed, or could not be had. The store is spent: an interface of the
    /// guests' own has no words for that.
    #[error("`{plugin}` could not go on in `{operation}`, since a plugin it needs failed")]
    Peer {
        /// The one that called.
        plugin: PluginId,
        /// In which operation.
        operation: Operation,
        /// What went wrong there.
        source: Arc<CoreError>,
    },
    /// The input of a stream broke off. The store is spent; what came out so far is not whole.
    #[error("a stream through `{plugin}` ended: its input broke off")]
    StreamBroken {
        /// Through which.
        plugin: PluginId,
        /// Why.
        source: crate::StreamInputError,
    },
    /// A stream stood still for too long, and not because of the plugin. The store is spent.
    #[error("a stream through `{plugin}` ended: {why}")]
    StreamStalled {
        /// Through which.
        plugin: PluginId,
        /// Who kept it waiting.
        why: String,
    },
    /// A plugin asked for another that waits for it, or at the end of too long a chain. Nothing was called.
    #[error("`{plugin}` cannot be called here: {refused}")]
    NotRelayed {
        /// The one that was asked for.
        plugin: PluginId,
        /// Why.
        refused: RelayRefused,
    },
    /// Dependencies lead too far.
    #[error("`{plugin}` stands at the end of a chain of more than {depth_max} dependencies")]
    DependencyTooDeep {
        /// Which.
        plugin: PluginId,
        /// How many there may be.
        depth_max: usize,
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
