//! Whom messages may go to.

use plugin_contract::{Address, MessagePermission, PluginId};

use super::{Denial, Missing, Placed};

/// Decides on messages, before they are queued. Answers to requests need no permission: who asked waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRules {
    plugin: PluginId,
    asked: Vec<MessagePermission>,
    allowed: Vec<Placed<MessagePermission>>,
    denied: Vec<Placed<MessagePermission>>,
}

impl MessageRules {
    pub(crate) fn new(
        plugin: PluginId,
        asked: Vec<MessagePermission>,
        allowed: Vec<Placed<MessagePermission>>,
        denied: Vec<Placed<MessagePermission>>,
    ) -> Self {
        Self { plugin, asked, allowed, denied }
    }

    /// Whether the plugin may write to `target`.
    ///
    /// # Errors
    /// [`Denial`]: the most precise deny, or who has not said yes.
    pub fn check(&self, target: &Address) -> Result<(), Denial> {
        let denies = self.denied.iter().filter(|deny| deny.permission.covers(target));
        if let Some(deny) = denies.max_by_key(|deny| deny.permission.target.is_some()) {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let asked = self.asked.iter().any(|asked| asked.covers(target));
        let allowed = self.allowed.iter().any(|allow| allow.permission.covers(target));
        match Missing::of(asked, allowed) {
            None => Ok(()),
            Some(missing) => {
                let permission = MessagePermission { target: Some(target.clone()) };
                Err(missing.denial(self.plugin.as_str(), "messages", &permission.to_string()))
            }
        }
    }

    /// How one thing asked for stands: the operator's rules that allow some of it, or why none does.
    pub(crate) fn explain(&self, asked: &MessagePermission) -> Result<Vec<String>, Denial> {
        if let Some(deny) = self.denied.iter().find(|deny| is_part(asked, &deny.permission)) {
            return Err(Denial { rule: deny.rule(), allow: None });
        }
        let overlaps = |rule: &MessagePermission| is_part(asked, rule) || is_part(rule, asked);
        let allowing: Vec<_> =
            self.allowed.iter().filter(|allow| overlaps(&allow.permission)).collect();
        match allowing.is_empty() {
            true => {
                Err(Missing::Allowance.denial(self.plugin.as_str(), "messages", &asked.to_string()))
            }
            false => Ok(allowing.into_iter().map(Placed::rule).collect()),
        }
    }

    /// The denies that cut something out of what was asked for.
    pub(crate) fn exceptions(&self, asked: &MessagePermission) -> Vec<String> {
        let cuts = self.denied.iter().filter(|deny| is_part(&deny.permission, asked));
        cuts.map(Placed::rule).collect()
    }
}

/// Whether all that `part` names is named by `whole`.
fn is_part(part: &MessagePermission, whole: &MessagePermission) -> bool {
    whole.target.is_none() || whole.target == part.target
}

#[cfg(test)]
mod tests {
    use crate::{Policy, Request};

    /// What becomes of messages to `target`, for a plugin `a` that asks for `asked`.
    #[track_caller]
    fn check(asked: &[&str], policy: &str, target: &str, expected: Result<(), &str>) {
        let asked: Vec<String> = asked.iter().map(|asked| format!("{asked:?}")).collect();
        let manifest = format!(
            "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n\
             [permissions]\nmessages = [{}]",
            asked.join(", ")
        );
        let all = toml::from_str(policy).unwrap();
        let policy = Policy { all, ..Policy::default() };
        let grant = policy.grant(&Request::from_manifest(&manifest.parse().unwrap()));
        let decided = grant.messages().check(&target.parse().unwrap());
        assert_eq!(decided.map_err(|denial| denial.rule), expected.map_err(str::to_owned));
    }

    #[test]
    fn both_sides_have_to_say_yes() {
        let (send, allow) = (["send:b"], "allow.messages = [\"send:*\"]");
        check(&send, allow, "b", Ok(()));
        check(&send, allow, "c", Err("plugin.toml: permissions.messages does not ask for it"));
        check(&send, "", "b", Err("host.toml: no allow.messages covers it"));
        let neither = "neither permissions.messages nor the host's allow.messages covers it";
        check(&[], "", "b", Err(neither));
        check(&send, allow, "@b", Err("plugin.toml: permissions.messages does not ask for it"));
    }

    #[test]
    fn a_deny_wins_and_the_most_precise_explains() {
        let policy = "allow.messages = [\"send:*\"]\ndeny.messages = [\"send:*\", \"send:b\"]";
        check(&["send:*"], policy, "b", Err("host.toml: policy.deny.messages \"send:b\""));
        check(&["send:*"], policy, "c", Err("host.toml: policy.deny.messages \"send:*\""));
        let policy = "allow.messages = [\"send:*\"]\ndeny.messages = [\"send:b\"]";
        check(&["send:*"], policy, "c", Ok(()));
    }
}
