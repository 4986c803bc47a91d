//! Messages to plugins: an inbox for each that takes them, and the calls that empty it.

use std::sync::{Arc, Weak};

use dashmap::{DashMap, Entry};
use host_core::{CoreError, MessageCall, Operation, PluginState};
use host_ipc::channel::{Delivery, Exchange, Inbox, MessageError};
use plugin_contract::{Address, PluginId};
use tokio::{sync::Semaphore, task::AbortHandle};

use crate::{
    HostError,
    routes::{HostPlugin, Routes, routed},
};

/// Messages that one plugin works on at the same time; further ones wait in its inbox. How many instances
/// it has for them is in its grant.
const AT_ONCE_MAX: usize = 32;

/// The inboxes of plugins.
pub(crate) struct Mail {
    exchange: Exchange,
    /// What empties each inbox. Ended, it closes the inbox.
    carriers: DashMap<PluginId, Carrier>,
}

impl Mail {
    pub(crate) fn new(exchange: Exchange) -> Self {
        Self { exchange, carriers: DashMap::new() }
    }

    pub(crate) fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Has messages to `name` delivered for as long as one of its versions takes them.
    pub(crate) fn update(&self, name: &PluginId, versions: &[HostPlugin], routes: &Arc<Routes>) {
        let takes = versions.iter().any(|plugin| {
            // What has failed comes back, and what waits for it is told so if it takes too long.
            let gone = matches!(plugin.state(), PluginState::Unloaded | PluginState::Failed);
            plugin.offers(Operation::OnMessage) && !gone
        });
        match self.carriers.entry(name.clone()) {
            Entry::Occupied(carrier) if !takes => drop(carrier.remove()),
            Entry::Vacant(free) if takes => match self.exchange.open(Address::Plugin(name.clone()))
            {
                Ok(inbox) => {
                    let carrying = tokio::spawn(carry(inbox, name.clone(), Arc::downgrade(routes)));
                    free.insert(Carrier(carrying.abort_handle()));
                }
                Err(error) => tracing::error!(plugin = %name, %error, "no messages for a plugin"),
            },
            _ => {}
        }
    }
}

struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Takes messages out of the inbox as fast as the plugin works on them.
async fn carry(mut inbox: Inbox, name: PluginId, routes: Weak<Routes>) {
    let turns = Arc::new(Semaphore::new(AT_ONCE_MAX));
    while let Some(delivery) = inbox.next().await {
        // The semaphore is never closed.
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let Some(routes) = routes.upgrade() else { return };
        let name = name.clone();
        // On a task of its own, so that whoever answers late keeps nobody else's message waiting.
        tokio::spawn(async move {
            deliver(delivery, &name, &routes).await;
            drop(turn);
        });
    }
}

async fn deliver(mut delivery: Delivery, name: &PluginId, routes: &Routes) {
    let mut call = MessageCall {
        sender: delivery.sender.to_string(),
        message_type: std::mem::take(&mut delivery.message.message_type),
        payload: std::mem::take(&mut delivery.message.payload),
        request_id: delivery.request_id(),
    };
    let handled: Result<Option<Vec<u8>>, HostError> =
        routed!(routes.find(name), found => found.on_message(&delivery.caller, &mut call).await);
    match handled {
        Ok(Some(answer)) => delivery.answer(Ok(answer)),
        Ok(None) => delivery.answer_later(),
        Err(HostError::Core(CoreError::Refused { message, .. })) => delivery.answer(Err(message)),
        Err(error) => {
            if delivery.request_id().is_none() {
                tracing::warn!(plugin = %name, sender = %delivery.sender, %error, "a message was not handled");
            }
            delivery.refuse(match &error {
                HostError::UnknownPlugin(_)
                | HostError::Core(CoreError::NotOffered { .. } | CoreError::NotLoaded { .. }) => {
                    MessageError::UnknownTarget(name.to_string())
                }
                HostError::Core(CoreError::Overloaded { .. }) => MessageError::QueueFull,
                error => MessageError::Failed(error.public_message()),
            });
        }
    }
}
