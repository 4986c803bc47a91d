//! Remembers the actions of users. The name of an action says how it ends: `success`,
//! `partial-success`, `validation-error` or `system-error`.

use std::cell::RefCell;
use std::collections::BTreeMap;

use guest_sdk::prelude::*;

#[derive(Default)]
struct Actions {
    log: RefCell<BTreeMap<String, Vec<LogEntry>>>,
}

impl Plugin for Actions {
    fn initialize() -> Result<Self> {
        Ok(Self::default())
    }
}

impl ActionPlugin for Actions {
    fn process_action(&self, action: UserAction) -> ActionResult {
        let (severity, result) = match action.action.as_str() {
            "success" => {
                let data = action.metadata.unwrap_or_default().into_bytes();
                (Severity::Info, ActionResult::Success(data))
            }
            "partial-success" => {
                let data = action.metadata.unwrap_or_default().into_bytes();
                let missing = "the other half".to_owned();
                (Severity::Warn, ActionResult::PartialSuccess { data, missing })
            }
            "system-error" => {
                let message = "the backend is gone".to_owned();
                (Severity::Critical, ActionResult::SystemError { message, code: 503 })
            }
            "validation-error" => {
                let why = "asked to be refused".to_owned();
                (Severity::Error, ActionResult::ValidationError(why))
            }
            other => {
                let why = format!("unknown action `{other}`");
                (Severity::Error, ActionResult::ValidationError(why))
            }
        };
        let entry = LogEntry { timestamp_ms: action.timestamp_ms, severity, text: action.action };
        self.log.borrow_mut().entry(action.user_id).or_default().push(entry);
        result
    }

    fn log_of(&self, user_id: &str) -> Vec<LogEntry> {
        self.log.borrow().get(user_id).cloned().unwrap_or_default()
    }
}

guest_sdk::action_plugin!(Actions);

#[test]
fn actions_are_remembered_for_their_user() {
    let actions = Actions::initialize().unwrap();
    for action in ["success", "partial-success", "validation-error", "system-error", "other"] {
        actions.process_action(UserAction {
            user_id: "ann".to_owned(),
            action: action.to_owned(),
            timestamp_ms: 7,
            metadata: None,
        });
    }
    assert_eq!(actions.log_of("ann").len(), 5);
    assert_eq!(actions.log_of("ann")[3].severity, Severity::Critical);
    assert!(actions.log_of("bob").is_empty());
}
