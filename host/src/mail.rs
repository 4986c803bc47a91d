//! Messages to plugins: an inbox for each that takes them, and the calls that empty it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use dashmap::{DashMap, Entry};
use host_core::{CoreError, MessageCall, Operation, PluginState};
use host_deploy::Key;
use host_ipc::channel::{Delivery, Exchange, Inbox, MessageError};
use plugin_contract::{Address, PluginId};
use tokio::{sync::Semaphore, task::AbortHandle};

use crate::{
    HostError,
    routes::{Routes, routed},
};

/// How often a message that nobody waits for is tried again while all instances are busy.
const RETRIES: u32 = 6;

/// Wait before the first of them; doubled with each.
const RETRY_WAIT: Duration = Duration::from_millis(200);

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

    /// Has messages to `name` delivered for as long as the version that serves takes them. One that
    /// recovers comes back, and what waits for it is told so if that takes too long.
    pub(crate) fn update(&self, name: &PluginId, routes: &Arc<Routes>) {
        let serving = routes.stable(name).filter(|plugin| {
            let gone = matches!(plugin.state(), PluginState::Unloaded | PluginState::Failed);
            plugin.offers(Operation::OnMessage) && !gone
        });
        let address = Address::Plugin(name.clone());
        match (self.carriers.entry(name.clone()), serving) {
            (Entry::Occupied(carrier), None) => {
                // At once, so that it can be opened again; what ends the carrier may take a while.
                self.exchange.evict(&address);
                drop(carrier.remove());
            }
            (Entry::Vacant(free), Some(plugin)) => match self.exchange.open(address) {
                Ok(inbox) => {
                    // As many as there are instances: further ones wait in the inbox.
                    let turns = plugin.terms().pool.instances_max as usize;
                    let carry = carry(inbox, name.clone(), Arc::downgrade(routes), turns);
                    free.insert(Carrier(tokio::spawn(carry).abort_handle()));
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
async fn carry(mut inbox: Inbox, name: PluginId, routes: Weak<Routes>, turns: usize) {
    let turns = Arc::new(Semaphore::new(turns.max(1)));
    loop {
        // The turn first: a message waits in the inbox, where it can be seen to. The semaphore is never closed.
        let Ok(turn) = turns.clone().acquire_owned().await else { return };
        let Some(delivery) = inbox.next().await else { return };
        let Some(routes) = routes.upgrade() else { return };
        let name = name.clone();
        // On a task of its own, so that whoever answers late keeps nobody else's message waiting.
        tokio::spawn(async move {
            deliver(delivery, &name, &routes).await;
            drop(turn);
        });
    }
}

/// Whether the sender waits no longer, or is about to see that it need not.
fn is_over(delivery: &Delivery) -> bool {
    delivery.caller.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now())
}

async fn deliver(mut delivery: Delivery, name: &PluginId, routes: &Routes) {
    let mut call = MessageCall {
        sender: delivery.sender.to_string(),
        message_type: std::mem::take(&mut delivery.message.message_type),
        payload: std::mem::take(&mut delivery.message.payload),
        request_id: delivery.request_id(),
    };
    let mut retries = if delivery.request_id().is_none() { RETRIES } else { 0 };
    let mut wait = RETRY_WAIT;
    let handled: Result<Option<Vec<u8>>, HostError> = loop {
        let key = Key { id: delivery.caller.request_id.as_bytes(), pin: None };
        let found = routed!(routes.find(name, key), found => {
            found.on_message(&delivery.caller, &mut call).await
        });
        match found {
            // Its sender was told that it is on its way.
            Err(HostError::Core(CoreError::Overloaded { .. })) if retries > 0 => {
                retries -= 1;
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            handled => break handled,
        }
    };
    match handled {
        Ok(Some(answer)) => delivery.answer(Ok(answer)),
        Ok(None) => delivery.answer_later(),
        Err(HostError::Core(CoreError::Refused { message, .. })) => delivery.answer(Err(message)),
        // The sender's own time is over, at this very moment: it says so itself.
        Err(HostError::Core(CoreError::Deadline { .. })) if is_over(&delivery) => {
            delivery.answer_later();
        }
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
