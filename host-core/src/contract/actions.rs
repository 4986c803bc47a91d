//! `type-best-practices`: actions of users. The option `action` says what is wanted, the input is
//! the action's metadata.

use wasmtime::Store;

use super::{
    GuestCall, ProcessCall, ProcessReply, Processor, Refusal,
    wit::type_best_practices::{ActionResult, Guest, UserAction},
};

pub(super) struct Actions(pub(super) Guest);

impl<T: Send + 'static> Processor<T> for Actions {
    fn process<'a>(
        &'a self,
        store: &'a mut Store<T>,
        call: &'a mut ProcessCall,
    ) -> GuestCall<'a, Result<ProcessReply, Refusal>> {
        Box::pin(async move {
            let action = match user_action(call) {
                Ok(action) => action,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let reply = |output, warning| ProcessReply {
                output,
                content_type: "application/octet-stream".to_owned(),
                items_processed: 1,
                warning,
                degraded: None,
            };
            Ok(match self.0.call_process_action(store, &action).await? {
                ActionResult::Success(output) => Ok(reply(output, None)),
                ActionResult::PartialSuccess((output, missing)) => Ok(reply(output, Some(missing))),
                ActionResult::ValidationError(message) => Err(Refusal::Plugin(message)),
                ActionResult::SystemError((message, code)) => {
                    Err(Refusal::Plugin(format!("{message} (system error {code})")))
                }
            })
        })
    }
}

fn user_action(call: &ProcessCall) -> Result<UserAction, Refusal> {
    let Some(action) = call.option("action") else {
        return Err(Refusal::Plugin("the option `action` is missing".to_owned()));
    };
    let user_id = call.caller.user_id.as_deref().or(call.option("user-id")).unwrap_or("anonymous");
    let metadata = Some(call.text()?).filter(|text| !text.is_empty());
    Ok(UserAction {
        user_id: user_id.to_owned(),
        action: action.to_owned(),
        timestamp: call.timestamp_ms,
        metadata: metadata.map(str::to_owned),
    })
}
