//! What an error means for those who decide what to do next: whose it is, and whether to try again.

use std::time::Duration;

use plugin_contract::PluginId;

use super::{CoreError, DependencyProblem};
use crate::Node;

impl CoreError {
    /// The error itself, where it was told to several.
    pub fn unshared(&self) -> &Self {
        match self {
            Self::Shared(error) => error.unshared(),
            error => error,
        }
    }

    /// The message, for whoever is not to know where things lie on the host, or what another's code is made
    /// of: no paths, no causes, no frames.
    pub fn public_message(&self) -> String {
        match self.unshared() {
            Self::Unreadable { .. } => "a file cannot be read".to_owned(),
            Self::Duplicate { plugin, version, .. } => {
                format!("`{plugin}` {version} is there already")
            }
            error => error.to_string().lines().next().unwrap_or_default().to_owned(),
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
            | Self::NotLoaded { .. }
            | Self::Dependency { .. }
            | Self::Unreadable { .. }
            | Self::CompileDeadline { .. }
            | Self::CompileExhausted { .. }
            | Self::CompilerBusy { .. }
            | Self::CompilerUnavailable { .. }
            | Self::CannotInstantiate { .. }
            | Self::Peer { .. } => true,
            Self::Shared(error) => error.is_outage(),
            error => error.is_breakage(),
        }
    }

    /// Whether the plugin was not asked at all, and takes calls again sooner or later: it has paused or
    /// recovers, or calls are kept from it for a while.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Recovering { .. }
            | Self::Quarantined { .. }
            | Self::CircuitOpen { .. }
            | Self::Paused { .. } => true,
            Self::Shared(error) => error.is_absence(),
            _ => false,
        }
    }

    /// Whether starting the plugin once more might end otherwise: what failed was the running guest or
    /// the machine, not what the plugin is.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::IdentityMismatch { .. } => false,
            Self::Shared(error) => error.may_pass(),
            Self::Dependency { problem, .. } => {
                matches!(problem, DependencyProblem::Failed | DependencyProblem::Missing)
            }
            Self::HostExhausted { .. }
            | Self::Unreadable { .. }
            | Self::Overloaded { .. }
            | Self::CompileDeadline { .. }
            | Self::CompileExhausted { .. }
            | Self::CompilerBusy { .. }
            | Self::CompilerUnavailable { .. }
            | Self::Engine(_) => true,
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
            Self::Peer { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// `node` cannot be started, since `needs` could not.
    pub fn dependency_failed(node: Node<'_>, needs: &PluginId) -> Self {
        Self::Dependency {
            plugin: node.name.clone(),
            needs: needs.clone(),
            wanted: node.dependencies.get(needs).map(|it| it.version.clone()).unwrap_or_default(),
            problem: DependencyProblem::Failed,
        }
    }
}
