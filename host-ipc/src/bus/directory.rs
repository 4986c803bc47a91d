//! Who subscribes, and who did.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use plugin_contract::PluginId;

use super::{BusSettings, inbox::Inbox, subscriptions::Subscriptions};

/// Subscribers that left and are remembered, for their counters.
const LEFT_MAX: usize = 1_000;

/// All inboxes, by name. Those of subscribers that left are kept for a while: their counters go on, and what
/// was under way to one that comes back keeps its place in the order.
pub(super) struct Directory {
    /// Whether events are taken.
    pub(super) open: bool,
    inboxes: BTreeMap<PluginId, Arc<Inbox>>,
    subscriptions: Subscriptions,
    /// Those that left, the longest ago first.
    left: VecDeque<PluginId>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            open: true,
            inboxes: BTreeMap::new(),
            subscriptions: Subscriptions::default(),
            left: VecDeque::new(),
        }
    }

    /// The inbox of `name` for a subscriber with these patterns, a new one if there is none.
    pub(super) fn enter(
        &mut self,
        name: PluginId,
        patterns: Vec<String>,
        settings: &BusSettings,
    ) -> &Arc<Inbox> {
        self.left.retain(|left| *left != name);
        self.subscriptions.set(&name, patterns);
        let inbox = || Arc::new(Inbox::new(name.clone(), settings));
        self.inboxes.entry(name.clone()).or_insert_with(inbox)
    }

    /// Ends the subscription of `name`, and returns its inbox if there was one.
    pub(super) fn leave(&mut self, name: &PluginId) -> Option<Arc<Inbox>> {
        let inbox = self.inboxes.get(name)?.clone();
        self.subscriptions.remove(name);
        if !self.left.contains(name) {
            self.left.push_back(name.clone());
        }
        while self.left.len() > LEFT_MAX {
            let is_idle = |name| self.inboxes.get(name).is_none_or(|inbox| inbox.is_idle());
            // Not one that something is under way to: it would be forgotten along with the inbox.
            let Some(place) = self.left.iter().position(is_idle) else { break };
            if let Some(name) = self.left.remove(place) {
                self.inboxes.remove(&name);
            }
        }
        Some(inbox)
    }

    pub(super) fn get(&self, name: &PluginId) -> Option<&Arc<Inbox>> {
        self.inboxes.get(name)
    }

    /// All inboxes, by name, those of subscribers that left included.
    pub(super) fn inboxes(&self) -> impl Iterator<Item = &Arc<Inbox>> {
        self.inboxes.values()
    }

    /// The inboxes of those whose patterns cover `event_type`, by name.
    pub(super) fn covering(&self, event_type: &str) -> Vec<Arc<Inbox>> {
        let names = self.subscriptions.covering(event_type);
        names.iter().filter_map(|name| self.inboxes.get(name)).cloned().collect()
    }
}
