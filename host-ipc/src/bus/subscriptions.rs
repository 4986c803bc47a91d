//! Which subscribers an event type concerns.
//!
//! Patterns are looked up, not tried one after the other: an event costs as much as its type has dots,
//! and as many subscribers as it has, however many others there are.

use std::collections::{BTreeSet, HashMap};

use plugin_contract::{PluginId, is_subscription};

/// The patterns of all subscribers.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    by_name: HashMap<PluginId, BTreeSet<String>>,
    /// By event type.
    exact: HashMap<String, BTreeSet<PluginId>>,
    /// By what event types begin with, the last dot included.
    prefix: HashMap<String, BTreeSet<PluginId>>,
}

impl Subscriptions {
    /// Replaces the patterns of `name`. One that is not well-formed covers no event.
    pub(super) fn set(&mut self, name: &PluginId, patterns: Vec<String>) {
        self.remove(name);
        let patterns: BTreeSet<_> = patterns.into_iter().filter(|it| is_subscription(it)).collect();
        for pattern in &patterns {
            let (index, key) = self.index(pattern);
            index.entry(key.to_owned()).or_default().insert(name.clone());
        }
        self.by_name.insert(name.clone(), patterns);
    }

    pub(super) fn remove(&mut self, name: &PluginId) {
        for pattern in self.by_name.remove(name).unwrap_or_default() {
            let (index, key) = self.index(&pattern);
            if let Some(names) = index.get_mut(key) {
                names.remove(name);
                if names.is_empty() {
                    index.remove(key);
                }
            }
        }
    }

    /// The subscribers with a pattern that covers `event_type`, each once, by name.
    pub(super) fn covering(&self, event_type: &str) -> BTreeSet<PluginId> {
        let dots = event_type.match_indices('.').map(|(at, _)| &event_type[..=at]);
        let prefixes = dots.filter_map(|prefix| self.prefix.get(prefix));
        prefixes.chain(self.exact.get(event_type)).flatten().cloned().collect()
    }

    fn index<'a>(
        &mut self,
        pattern: &'a str,
    ) -> (&mut HashMap<String, BTreeSet<PluginId>>, &'a str) {
        match pattern.strip_suffix('*') {
            Some(prefix) => (&mut self.prefix, prefix),
            None => (&mut self.exact, pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Subscriptions;
    use plugin_contract::{is_subscription, subscription_covers};
    use proptest::prelude::*;

    fn covering(subscriptions: &Subscriptions, event_type: &str) -> Vec<String> {
        subscriptions.covering(event_type).into_iter().map(String::from).collect()
    }

    #[test]
    fn a_subscriber_is_named_once_however_many_patterns_cover() {
        let mut all = Subscriptions::default();
        let patterns = ["a.*", "a.b.*", "a.b.c", "a.b.c"].map(str::to_owned).to_vec();
        all.set(&"one".parse().unwrap(), patterns);
        all.set(&"two".parse().unwrap(), vec!["a.b.c".to_owned()]);
        assert_eq!(covering(&all, "a.b.c"), ["one", "two"]);
        assert_eq!(covering(&all, "a.x"), ["one"]);
        assert!(covering(&all, "a").is_empty());
    }

    #[test]
    fn new_patterns_replace_the_old_and_leave_nothing_behind() {
        let mut all = Subscriptions::default();
        let name = "one".parse().unwrap();
        all.set(&name, vec!["a.*".to_owned(), "b".to_owned()]);
        all.set(&name, vec!["c".to_owned()]);
        assert!(covering(&all, "a.x").is_empty() && covering(&all, "b").is_empty());
        assert_eq!(covering(&all, "c"), ["one"]);
        all.remove(&name);
        assert!(all.by_name.is_empty() && all.exact.is_empty() && all.prefix.is_empty());
    }

    proptest! {
        #[test]
        fn looking_up_finds_what_trying_each_finds(
            patterns in prop::collection::vec("[ab.]{0,4}(\\.\\*|\\*)?", 0..8),
            event_type in "[ab.]{1,6}",
        ) {
            let mut all = Subscriptions::default();
            all.set(&"one".parse().unwrap(), patterns.clone());
            let mut tried = patterns.iter().filter(|it| is_subscription(it));
            let covered = tried.any(|it| subscription_covers(it, &event_type));
            prop_assert_eq!(!all.covering(&event_type).is_empty(), covered);
        }
    }
}
