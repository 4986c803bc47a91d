//! Events to plugins: who subscribes, and how an event reaches a plugin.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use dashmap::DashMap;
use host_core::{CoreError, EventCall, Operation, PluginState};
use host_deploy::Key;
use host_ipc::{Event, EventBus, Retry, Subscriber, Undelivered};
use plugin_contract::{Explain, PluginId};

use crate::{
    HostError,
    routes::{HostPlugin, Routes, routed},
};

/// The plugins that subscribe to events.
pub(crate) struct Subscribers {
    bus: EventBus,
    /// What each subscribes to now.
    patterns: DashMap<PluginId, Vec<String>>,
}

impl Subscribers {
    pub(crate) fn new(bus: EventBus) -> Self {
        Self { bus, patterns: DashMap::new() }
    }

    pub(crate) fn bus(&self) -> &EventBus {
        &self.bus
    }

    /// Has events delivered to `name` as its versions ask for them. A plugin that recovers keeps what it
    /// subscribed to: it comes back, and events wait for it.
    pub(crate) fn update(&self, name: &PluginId, versions: &[HostPlugin], routes: &Arc<Routes>) {
        if !versions.iter().any(|plugin| plugin.offers(Operation::OnEvent)) {
            self.unsubscribe(name);
            return;
        }
        let gone = |plugin: &HostPlugin| {
            matches!(plugin.state(), PluginState::Unloaded | PluginState::Failed)
        };
        if versions.iter().all(gone) {
            self.unsubscribe(name);
            return;
        }
        let Some(serving) = routes.stable(name) else { return };
        let patterns = serving.subscriptions();
        // Not known while it starts.
        let known = matches!(serving.state(), PluginState::Serving | PluginState::Paused);
        let is_new = self.patterns.get(name).is_none_or(|now| *now != patterns);
        if known && is_new {
            let routes = Arc::downgrade(routes);
            let subscriber = PluginSubscriber { name: name.clone(), routes };
            self.patterns.insert(name.clone(), patterns.clone());
            self.bus.subscribe(name.clone(), patterns, Arc::new(subscriber));
        }
    }

    fn unsubscribe(&self, name: &PluginId) {
        if self.patterns.remove(name).is_some() {
            self.bus.unsubscribe(name);
        }
    }
}

/// A plugin, in whichever version serves.
struct PluginSubscriber {
    name: PluginId,
    routes: Weak<Routes>,
}

#[async_trait]
impl Subscriber for PluginSubscriber {
    async fn deliver(&self, event: &Event) -> Result<(), Undelivered> {
        let Some(routes) = self.routes.upgrade() else {
            return Err(undelivered(&HostError::ShuttingDown));
        };
        let caller = event.handler();
        let call = EventCall {
            event_type: event.event_type.clone(),
            payload: event.payload.clone(),
            timestamp_ms: event.timestamp_ms,
            source: event.source.to_string(),
        };
        let key = Key { id: caller.request_id.as_bytes(), pin: None };
        let handled: Result<(), HostError> =
            routed!(routes.find(&self.name, key), found => found.on_event(&caller, &call).await);
        handled.map_err(|error| undelivered(&error))
    }
}

/// An event that the plugin refused, or broke on, may go down better the next time; one that it has broken
/// on again and again, or that it cannot take at all, will not. Of a plugin that takes no calls, nothing was
/// tried.
fn undelivered(error: &HostError) -> Undelivered {
    let retry = match error {
        HostError::ShuttingDown
        | HostError::Core(CoreError::PoisonInput { .. } | CoreError::NotOffered { .. }) => {
            Retry::Never
        }
        HostError::Core(error) if error.is_absence() => Retry::WhenBack,
        _ => Retry::Later,
    };
    Undelivered { code: error.code(), message: error.public_message(), retry }
}
