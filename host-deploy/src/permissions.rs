//! What an upgrade asks for beyond what the version before it asked for.
//!
//! Compared are the words of the manifests. What is granted in the end, the operator's policy decides;
//! but a policy is often wider than one plugin needs, and an upgrade must not grow into it unseen.

use plugin_contract::{
    Deny, FsPermission, Link, Manifest, MessagePermission, NetPermission, NetTarget, Permissions,
};
use serde::{Deserialize, Serialize};

/// The difference between what two versions ask for, line by line as in `plugin.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionDiff {
    /// What the new one asks for that the old one had no part of, or less of.
    pub widened: Vec<String>,
    /// What the new one can do without.
    pub narrowed: Vec<String>,
}

impl PermissionDiff {
    /// Compares two versions of a plugin.
    pub fn between(old: &Manifest, new: &Manifest) -> Self {
        let widened = beyond(&old.permissions, &new.permissions, &Words::WIDENED);
        let narrowed = beyond(&new.permissions, &old.permissions, &Words::NARROWED);
        let mut diff = Self { widened, narrowed };
        for (name, dependency) in &new.dependencies {
            let was = old.dependencies.get(name).map(|dependency| dependency.link);
            match (dependency.link, was) {
                // What is composed with a plugin has all that the plugin has.
                (Link::Composed, None | Some(Link::Isolated)) => {
                    diff.widened.push(format!("dependencies.{name}: link = \"composed\""));
                }
                // Whoever can be called acts with rights of its own.
                (Link::Isolated, None) => diff.widened.push(format!("dependencies.{name}")),
                (Link::Composed, Some(Link::Composed)) | (Link::Isolated, Some(_)) => {}
            }
        }
        diff
    }
}

/// How a difference is told, by the way that one looks.
struct Words {
    denies: [&'static str; 3],
    backwards: bool,
}

impl Words {
    const WIDENED: Self = Self {
        denies: ["deny.fs is gone", "deny.net is gone", "deny.messages is gone"],
        backwards: false,
    };
    const NARROWED: Self =
        Self { denies: ["deny.fs", "deny.net", "deny.messages"], backwards: true };
}

/// What `new` holds beyond `old`.
fn beyond(old: &Permissions, new: &Permissions, words: &Words) -> Vec<String> {
    let mut lines = Vec::new();
    list(&mut lines, "fs", &new.fs, |wanted| covers(&old.fs, wanted, fs_covers));
    list(&mut lines, "net", &new.net, |wanted| covers(&old.net, wanted, net_covers));
    list(&mut lines, "messages", &new.messages, |wanted| {
        covers(&old.messages, wanted, message_covers)
    });
    list(&mut lines, "env", &new.env, |wanted| old.env.contains(wanted));
    // A deny that is gone is room that is won.
    let Deny { fs, net, messages } = &old.deny;
    list(&mut lines, words.denies[0], fs, |was| covers(&new.deny.fs, was, fs_covers));
    list(&mut lines, words.denies[1], net, |was| covers(&new.deny.net, was, net_covers));
    list(&mut lines, words.denies[2], messages, |was| {
        covers(&new.deny.messages, was, message_covers)
    });
    let mut amount = |name: &str, more: bool, was: String, now: String| {
        let (from, to) = if words.backwards { (now, was) } else { (was, now) };
        if more {
            lines.push(format!("{name}: {from} -> {to}"));
        }
    };
    let (was, now) = (old.memory, new.memory);
    amount("memory", now > was, was.to_string(), now.to_string());
    let (was, now) = (old.cpu_time, new.cpu_time);
    amount("cpu-time", now > was, was.to_string(), now.to_string());
    let (was, now) = (old.timeout, new.timeout);
    amount("timeout", now > was, was.to_string(), now.to_string());
    let (was, now) = (old.max_instances, new.max_instances);
    amount("max-instances", now > was, was.to_string(), now.to_string());
    lines
}

fn list<P: std::fmt::Display>(
    lines: &mut Vec<String>,
    key: &str,
    wanted: &[P],
    had: impl Fn(&P) -> bool,
) {
    lines.extend(wanted.iter().filter(|item| !had(item)).map(|item| format!("{key}: {item}")));
}

fn covers<P>(had: &[P], wanted: &P, one: impl Fn(&P, &P) -> bool) -> bool {
    had.iter().any(|had| one(had, wanted))
}

fn fs_covers(had: &FsPermission, wanted: &FsPermission) -> bool {
    wanted.path.starts_with(&had.path)
        && (had.access.reads() || !wanted.access.reads())
        && (had.access.writes() || !wanted.access.writes())
}

fn net_covers(had: &NetPermission, wanted: &NetPermission) -> bool {
    // Ranges inside of ranges are told as new: too much is told, never too little.
    let target = had.target == NetTarget::Any || had.target == wanted.target;
    let port = had.port.is_none() || had.port == wanted.port;
    had.access == wanted.access && target && port
}

fn message_covers(had: &MessagePermission, wanted: &MessagePermission) -> bool {
    had.target.is_none() || had.target == wanted.target
}

#[cfg(test)]
mod tests {
    use plugin_contract::Manifest;

    use super::PermissionDiff;

    fn manifest(rest: &str) -> Manifest {
        let head = "[plugin]\nname = \"a\"\nversion = \"1.0.0\"\nentrypoint = \"a.wasm\"\n";
        format!("{head}{rest}").parse().unwrap()
    }

    #[track_caller]
    fn check(old: &str, new: &str, widened: &[&str], narrowed: &[&str]) {
        let diff = PermissionDiff::between(&manifest(old), &manifest(new));
        assert_eq!((diff.widened, diff.narrowed), (owned(widened), owned(narrowed)));
    }

    fn owned(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn nothing_new_is_nothing_to_agree_to() {
        let same = "[permissions]\nfs = [\"read:/data\"]\nmemory = \"64MB\"\n";
        check(same, same, &[], &[]);
        check(same, "[permissions]\nfs = [\"read:/data/\"]\n", &[], &[]);
    }

    #[test]
    fn what_is_within_what_was_there_is_narrower() {
        check(
            "[permissions]\nfs = [\"read-write:/data\"]\nnet = [\"connect:*:443\"]\n",
            "[permissions]\nfs = [\"read:/data/a\"]\nnet = [\"connect:a.example:443\"]\n",
            &[],
            &["fs: read-write:/data", "net: connect:*:443"],
        );
    }

    #[test]
    fn a_look_alike_path_is_another() {
        check(
            "[permissions]\nfs = [\"read:/data\"]\n",
            "[permissions]\nfs = [\"read:/database\"]\n",
            &["fs: read:/database"],
            &["fs: read:/data"],
        );
    }

    #[test]
    fn more_of_an_amount_another_right_and_a_deny_that_is_gone_are_wider() {
        check(
            "[permissions]\nfs = [\"read:/data\"]\n[permissions.deny]\nfs = [\"read:/data/key\"]\n",
            "[permissions]\nfs = [\"write:/data\"]\nenv = [\"TZ\"]\nmessages = [\"send:b\"]\nmemory = \"65MB\"\n\
             timeout = \"31s\"\ncpu-time = \"11s\"\nmax-instances = 4\n",
            &[
                "fs: write:/data",
                "messages: send:b",
                "env: TZ",
                "deny.fs is gone: read:/data/key",
                "memory: 64MB -> 65MB",
                "cpu-time: 10s -> 11s",
                "timeout: 30s -> 31s",
                "max-instances: 3 -> 4",
            ],
            &["fs: read:/data"],
        );
    }

    #[test]
    fn what_is_narrower_is_told_from_before_to_now() {
        check(
            "[permissions]\nmemory = \"65MB\"\n",
            "[permissions.deny]\nfs = [\"read:/data/key\"]\n",
            &[],
            &["deny.fs: read:/data/key", "memory: 65MB -> 64MB"],
        );
    }

    #[test]
    fn whoever_can_be_called_acts_with_rights_of_its_own() {
        let calls = "[dependencies]\nb = \"^1\"\n";
        check("", calls, &["dependencies.b"], &[]);
        check(calls, "[dependencies]\nb = \"^1.2\"\n", &[], &[]);
        check(calls, "", &[], &[]);
    }

    #[test]
    fn whoever_is_composed_anew_gets_all_there_is() {
        check(
            "[dependencies]\nb = \"^1\"\n",
            "[dependencies]\nb = { version = \"^1\", link = \"composed\" }\n",
            &["dependencies.b: link = \"composed\""],
            &[],
        );
    }
}
