//! World `action-plugin`: works on actions of users, and keeps a log of them.

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::type_best_practices as wit;
use crate::{Plugin, Result};

/// The code of a `system-error` that the SDK itself answers with: `initialize` was not called.
const CODE_UNINITIALIZED: u32 = 1;

/// Something a user did or wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserAction {
    /// Who.
    pub user_id: String,
    /// What, in the words of the plugin.
    pub action: String,
    /// When, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// Anything more.
    pub metadata: Option<String>,
}

/// How an action ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionResult {
    /// Done; the result.
    Success(Vec<u8>),
    /// Done in part.
    PartialSuccess {
        /// The result.
        data: Vec<u8>,
        /// What is missing.
        missing: String,
    },
    /// Refused, because of the action itself.
    ValidationError(String),
    /// Failed for another reason.
    SystemError {
        /// What.
        message: String,
        /// A code of the plugin's own.
        code: u32,
    },
}

/// How much an entry of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// For the author of the plugin.
    Debug,
    /// Worth knowing.
    Info,
    /// Odd.
    Warn,
    /// Failed.
    Error,
    /// Failed, and somebody has to look.
    Critical,
}

/// One entry of the log of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When, in milliseconds since 1970-01-01 UTC.
    pub timestamp_ms: u64,
    /// How much it matters.
    pub severity: Severity,
    /// What happened.
    pub text: String,
}

/// Works on actions of users.
pub trait ActionPlugin: Plugin {
    /// Works on one action.
    fn process_action(&self, action: UserAction) -> ActionResult;

    /// What this instance remembers of a user, oldest first.
    fn log_of(&self, user_id: &str) -> Vec<LogEntry>;
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: ActionPlugin,
{
    fn process_action(action: wit::UserAction) -> wit::ActionResult {
        let action = UserAction {
            user_id: action.user_id,
            action: action.action,
            timestamp_ms: action.timestamp,
            metadata: action.metadata,
        };
        let result: Result<_> = super::with::<E, _>(|plugin| Ok(plugin.process_action(action)));
        match result {
            Ok(ActionResult::Success(data)) => wit::ActionResult::Success(data),
            Ok(ActionResult::PartialSuccess { data, missing }) => {
                wit::ActionResult::PartialSuccess((data, missing))
            }
            Ok(ActionResult::ValidationError(why)) => wit::ActionResult::ValidationError(why),
            Ok(ActionResult::SystemError { message, code }) => {
                wit::ActionResult::SystemError((message, code))
            }
            Err(error) => wit::ActionResult::SystemError((error.into_wire(), CODE_UNINITIALIZED)),
        }
    }

    fn get_log(user: wit::UserId) -> wit::ActionLog {
        let log = super::with::<E, _>(|plugin| Ok(plugin.log_of(&user))).unwrap_or_default();
        let entry = |entry: LogEntry| {
            let severity = match entry.severity {
                Severity::Debug => wit::Severity::Debug,
                Severity::Info => wit::Severity::Info,
                Severity::Warn => wit::Severity::Warn,
                Severity::Error => wit::Severity::Error,
                Severity::Critical => wit::Severity::Critical,
            };
            (entry.timestamp_ms, severity, entry.text)
        };
        log.into_iter().map(entry).collect()
    }
}

/// Exports an [`ActionPlugin`] as the world `action-plugin`.
#[macro_export]
macro_rules! action_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::ActionPlugin, ACTION_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            type_best_practices __export_toolsku_plugin_system_type_best_practices_1_1_0_cabi
        );
    };
}
