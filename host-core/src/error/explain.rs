//! Code and remedy of each error.

use plugin_contract::{Explain, RelayRefused};

use super::{CoreError, DependencyProblem, TrapKind};

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
            Self::StateNotGiven { .. } => "core/state-not-given",
            Self::StateTooLarge { .. } => "core/state-too-large",
            Self::StateUnknownFormat { .. } => "core/state-unknown-format",
            Self::StateRefused { .. } => "core/state-refused",
            Self::StateBusy { .. } => "core/state-busy",
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
            Self::Peer { .. } => "core/peer-failed",
            Self::StreamBroken { .. } => "core/stream-broken",
            Self::StreamStalled { .. } => "core/stream-stalled",
            Self::NotRelayed { refused: RelayRefused::Cycle(_), .. } => "core/call-cycle",
            Self::NotRelayed { refused: RelayRefused::TooDeep, .. } => "core/call-too-deep",
            Self::DependencyTooDeep { .. } => "core/dependency-too-deep",
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
            Self::StateNotGiven { .. } => {
                "reload again when the plugin can give up its state; to do without it, unload the plugin first"
            }
            Self::StateTooLarge { .. } => {
                "have the plugin keep less, or keep it in the host; to do without it, unload the plugin first"
            }
            Self::StateUnknownFormat { .. } => {
                "take a version that knows the form; to do without the state, unload the plugin first"
            }
            Self::StateRefused { .. } => {
                "mend the new version as its message says; to do without the state, unload the plugin first"
            }
            Self::StateBusy { .. } => {
                "reload again when the plugin has less to do, or end the streams it works on"
            }
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
            Self::Peer { .. } => "read the cause: it is of the plugin that was needed",
            Self::StreamBroken { .. } => "send the whole input; what came out is of a part of it",
            Self::StreamStalled { .. } => "send, and read, without long pauses",
            Self::NotRelayed { .. } => {
                "have plugins wait for fewer others, and never for each other"
            }
            Self::DependencyTooDeep { .. } => "have plugins depend on fewer others in a row",
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
