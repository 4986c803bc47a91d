//! What one plugin may do: the operator's answer to its request.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use plugin_contract::{ByteSize, FsAccess, FsPermission, PluginId, TimeSpan};

use crate::{
    Ceilings, FsRules, GuestPath, Limits, MessageRules, NetRules, Policy, Request, Rules,
    rules::Placed,
};

/// What one plugin may do, and how much. Made by [`Policy::grant`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    plugin: PluginId,
    limits: Limits,
    env: Vec<(String, String)>,
    fs: Arc<FsRules>,
    net: Arc<NetRules>,
    messages: Arc<MessageRules>,
    mounts: Vec<Mount>,
    data_dir: bool,
    decisions: Vec<Decision>,
}

/// A tree of the plugin's view, and where it is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// In the plugin's view.
    pub guest: GuestPath,
    /// On the host.
    pub host: PathBuf,
}

/// Where every plugin finds its private directory, in its own view.
pub const DATA_DIR: &str = "/plugin-data";

impl Policy {
    /// What is both asked for and allowed.
    pub fn grant(&self, request: &Request) -> Grant {
        let own = self.plugins.get(&request.plugin);
        let mut decisions = Vec::new();
        let limits = self.limits(request, own, &mut decisions);

        let mut env = Vec::new();
        for name in &request.env {
            let own = own.and_then(|rules| Some((rules.env.get(name)?, "plugins")));
            let found = own.or_else(|| Some((self.all.env.get(name)?, "policy")));
            let answer = match found {
                Some((value, section)) => {
                    env.push((name.to_string(), value.clone()));
                    let place = self.place(&request.plugin, section);
                    Answer::granted(format!("host.toml: {place}.env"))
                }
                None => Answer::Denied {
                    rule: "host.toml: no env has a value for it".to_owned(),
                    allow: Some(format!(
                        "host.toml: plugins.{}.env.{name} = \"...\"",
                        request.plugin
                    )),
                },
            };
            decisions.push(Decision { asked: format!("env {name}"), answer });
        }
        env.sort();
        env.dedup();

        let data_dir = limits.data_files > 0;
        let fs = self.fs_rules(request, own, data_dir);
        let net = self.net_rules(request, own);
        for asked in &request.fs {
            let answer = Answer::of(fs.explain(asked), fs.exceptions(asked));
            decisions.push(Decision { asked: format!("fs {asked}"), answer });
        }
        for asked in &request.net {
            let answer = Answer::of(net.explain(asked), net.exceptions(asked));
            decisions.push(Decision { asked: format!("net {asked}"), answer });
        }
        let messages = self.message_rules(request, own);
        for asked in &request.messages {
            let answer = Answer::of(messages.explain(asked), messages.exceptions(asked));
            decisions.push(Decision { asked: format!("messages {asked}"), answer });
        }
        let mounts = self.mounts(own, &fs);
        let plugin = request.plugin.clone();
        let (fs, net, messages) = (Arc::new(fs), Arc::new(net), Arc::new(messages));
        Grant { plugin, limits, env, fs, net, messages, mounts, data_dir, decisions }
    }

    fn place(&self, plugin: &PluginId, section: &str) -> String {
        match section {
            "plugins" => format!("plugins.{plugin}"),
            other => other.to_owned(),
        }
    }

    fn limits(
        &self,
        request: &Request,
        own: Option<&Rules>,
        decisions: &mut Vec<Decision>,
    ) -> Limits {
        let asked = &request.limits;
        let of_all = &self.all.limits;
        let of_one = own.map(|rules| &rules.limits);
        let plugin = &request.plugin;
        // Who set a ceiling: the section of the plugin, that of all, or nobody.
        fn ceiling<V>(
            one: Option<&Ceilings>,
            all: &Ceilings,
            get: impl Fn(&Ceilings) -> Option<V>,
            default: V,
        ) -> (V, Option<bool>) {
            match (one.and_then(&get), get(all)) {
                (Some(value), _) => (value, Some(true)),
                (None, Some(value)) => (value, Some(false)),
                (None, None) => (default, None),
            }
        }
        let mut lower = |key: &str, asked: String, ceiling: String, is_over, from: Option<bool>| {
            let rule = match from {
                Some(true) => format!("host.toml: plugins.{plugin}.limits.{key}"),
                Some(false) => format!("host.toml: policy.limits.{key}"),
                None => format!("the host's default ceiling of {key}"),
            };
            let answer = match is_over {
                true => Answer::Lowered { to: ceiling, rule },
                false => Answer::granted(rule),
            };
            decisions.push(Decision { asked: format!("{key} {asked}"), answer });
        };

        let (memory, from) = ceiling(of_one, of_all, |c| c.memory, ByteSize::new(256_000_000));
        let wanted = ByteSize::new(asked.memory_bytes);
        lower("memory", wanted.to_string(), memory.to_string(), wanted > memory, from);

        let mut time = |key, wanted: Duration, get: fn(&Ceilings) -> Option<TimeSpan>, default| {
            let (most, from) = ceiling(of_one, of_all, get, TimeSpan::from_millis(default));
            let wanted = TimeSpan::from_millis(wanted.as_millis() as u64);
            lower(key, wanted.to_string(), most.to_string(), wanted > most, from);
            wanted.min(most).duration()
        };
        let cpu_time = time("cpu-time", asked.cpu_time, |c| c.cpu_time, 60_000);
        let timeout = time("timeout", asked.timeout, |c| c.timeout, 120_000);

        let (instances, from) = ceiling(of_one, of_all, |c| c.max_instances, 32);
        let (instances, wanted) = (instances.max(1), asked.max_instances);
        lower("max-instances", wanted.to_string(), instances.to_string(), wanted > instances, from);

        let count =
            |get: fn(&Ceilings) -> Option<u32>, default| ceiling(of_one, of_all, get, default).0;
        let size = |get: fn(&Ceilings) -> Option<ByteSize>, default| {
            ceiling(of_one, of_all, get, ByteSize::new(default)).0.bytes()
        };
        let files =
            |get: fn(&Ceilings) -> Option<u64>, default| ceiling(of_one, of_all, get, default).0;
        Limits {
            memory_bytes: asked.memory_bytes.min(memory.bytes()),
            cpu_time,
            timeout,
            max_instances: wanted.min(instances),
            open_files: count(|c| c.open_files, asked.open_files),
            sockets: count(|c| c.sockets, asked.sockets),
            data_bytes: size(|c| c.data_size, asked.data_bytes),
            data_files: files(|c| c.data_files, asked.data_files),
            write_bytes: size(|c| c.write_size, asked.write_bytes),
            write_files: files(|c| c.write_files, asked.write_files),
            http_bytes: size(|c| c.http_size, asked.http_bytes),
            ..asked.clone()
        }
    }

    fn fs_rules(&self, request: &Request, own: Option<&Rules>, data_dir: bool) -> FsRules {
        let plugin = &request.plugin;
        let mut asked = request.fs.clone();
        let mut allowed = placed("policy.allow.fs", &self.all.allow.fs);
        let mut denied = placed("policy.deny.fs", &self.all.deny.fs);
        if let Some(own) = own {
            allowed.extend(placed(&format!("plugins.{plugin}.allow.fs"), &own.allow.fs));
            denied.extend(placed(&format!("plugins.{plugin}.deny.fs"), &own.deny.fs));
        }
        denied.extend(request.deny_fs.iter().map(|permission| Placed {
            permission: permission.clone(),
            place: "plugin.toml: permissions.deny.fs".to_owned(),
        }));
        // Nothing of the host's is ever found where the plugin's own is.
        let path = vec![DATA_DIR.trim_start_matches('/').to_owned()];
        let permission = FsPermission { access: FsAccess::ReadWrite, path };
        let place = "the plugin's private directory".to_owned();
        if data_dir {
            asked.push(permission.clone());
            allowed.push(Placed { permission, place });
        } else {
            denied.push(Placed { permission, place: format!("{place}, which it has not") });
        }
        FsRules::new(plugin.clone(), asked, allowed, denied)
    }

    fn net_rules(&self, request: &Request, own: Option<&Rules>) -> NetRules {
        let plugin = &request.plugin;
        let mut allowed = placed("policy.allow.net", &self.all.allow.net);
        let mut denied = placed("policy.deny.net", &self.all.deny.net);
        if let Some(own) = own {
            allowed.extend(placed(&format!("plugins.{plugin}.allow.net"), &own.allow.net));
            denied.extend(placed(&format!("plugins.{plugin}.deny.net"), &own.deny.net));
        }
        denied.extend(request.deny_net.iter().map(|permission| Placed {
            permission: permission.clone(),
            place: "plugin.toml: permissions.deny.net".to_owned(),
        }));
        NetRules::new(plugin.clone(), request.net.clone(), allowed, denied)
    }

    fn message_rules(&self, request: &Request, own: Option<&Rules>) -> MessageRules {
        let plugin = &request.plugin;
        let mut allowed = placed("policy.allow.messages", &self.all.allow.messages);
        let mut denied = placed("policy.deny.messages", &self.all.deny.messages);
        if let Some(own) = own {
            allowed
                .extend(placed(&format!("plugins.{plugin}.allow.messages"), &own.allow.messages));
            denied.extend(placed(&format!("plugins.{plugin}.deny.messages"), &own.deny.messages));
        }
        denied.extend(request.deny_messages.iter().map(|permission| Placed {
            permission: permission.clone(),
            place: "plugin.toml: permissions.deny.messages".to_owned(),
        }));
        MessageRules::new(plugin.clone(), request.messages.clone(), allowed, denied)
    }

    /// Every root of `fs`, and every place within one that the operator has put elsewhere.
    fn mounts(&self, own: Option<&Rules>, fs: &FsRules) -> Vec<Mount> {
        let tables: Vec<_> = own.into_iter().chain([&self.all]).map(|rules| &rules.paths).collect();
        let on_host = |guest: &[String]| -> PathBuf {
            let placed = tables.iter().find_map(|paths| {
                let covering = paths.iter().filter(|(path, _)| guest.starts_with(path.parts()));
                covering.max_by_key(|(path, _)| path.parts().len())
            });
            match placed {
                Some((path, host)) => {
                    let rest = &guest[path.parts().len()..];
                    rest.iter().fold(host.clone(), |host, part| host.join(part))
                }
                None => guest.iter().fold(PathBuf::from("/"), |host, part| host.join(part)),
            }
        };
        let mut guests = fs.roots();
        let within: Vec<Vec<String>> = (tables.iter().flat_map(|paths| paths.keys()))
            .filter(|path| guests.iter().any(|root| path.parts().starts_with(root)))
            .map(|path| path.parts().to_vec())
            .collect();
        guests.extend(within);
        guests.retain(|guest| format!("/{}", guest.join("/")) != DATA_DIR);
        guests.sort();
        guests.dedup();
        guests
            .into_iter()
            .map(|guest| Mount { host: on_host(&guest), guest: guest.into() })
            .collect()
    }
}

fn placed<P: Clone>(key: &str, permissions: &[P]) -> Vec<Placed<P>> {
    let place = |permission: &P| Placed {
        permission: permission.clone(),
        place: format!("host.toml: {key}"),
    };
    permissions.iter().map(place).collect()
}

impl Grant {
    /// Whose it is.
    pub fn plugin(&self) -> &PluginId {
        &self.plugin
    }

    /// How much.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The environment the plugin sees, by name.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// Which paths.
    pub fn fs(&self) -> &Arc<FsRules> {
        &self.fs
    }

    /// Which addresses.
    pub fn net(&self) -> &Arc<NetRules> {
        &self.net
    }

    /// Whom messages may go to.
    pub fn messages(&self) -> &Arc<MessageRules> {
        &self.messages
    }

    /// Where the paths of the plugin's view are on the host, the outer before the inner. Without the
    /// private directory: where that is, the host decides.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Whether the plugin has a private directory, at [`DATA_DIR`].
    pub fn has_data_dir(&self) -> bool {
        self.data_dir
    }

    /// How each thing asked for was answered: amounts, then authority in the order of the manifest.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }
}

/// How one thing that was asked for was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What was asked for, in the words of the manifest.
    pub asked: String,
    /// The answer.
    pub answer: Answer,
}

/// An answer, and the rule that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// As asked.
    Granted {
        /// The rules that allow it.
        by: Vec<String>,
        /// Denies that cut something out of it.
        except: Vec<String>,
    },
    /// Less than asked: the operator's ceiling.
    Lowered {
        /// The ceiling.
        to: String,
        /// Where it is set.
        rule: String,
    },
    /// Not at all.
    Denied {
        /// The rule that denies it, or that there is none which allows it.
        rule: String,
        /// The line that would allow it.
        allow: Option<String>,
    },
}

impl Answer {
    fn granted(rule: String) -> Self {
        Self::Granted { by: vec![rule], except: Vec::new() }
    }

    fn of(explained: Result<Vec<String>, crate::Denial>, except: Vec<String>) -> Self {
        match explained {
            Ok(by) => Self::Granted { by, except },
            Err(denial) => Self::Denied { rule: denial.rule, allow: denial.allow },
        }
    }
}

impl Decision {
    /// Whether it is about an amount, such as memory, and not about authority.
    pub fn is_amount(&self) -> bool {
        !["fs ", "net ", "env ", "messages "].iter().any(|kind| self.asked.starts_with(kind))
    }

    /// Whether the plugin gets just what it asked for.
    pub fn is_granted(&self) -> bool {
        matches!(&self.answer, Answer::Granted { except, .. } if except.is_empty())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.asked)?;
        match &self.answer {
            Answer::Granted { by, except } => {
                write!(f, "granted by {}", by.join(", "))?;
                if !except.is_empty() {
                    write!(f, "; except {}", except.join(", "))?;
                }
                Ok(())
            }
            Answer::Lowered { to, rule } => write!(f, "lowered to {to} by {rule}"),
            Answer::Denied { rule, allow } => {
                write!(f, "denied: {rule}")?;
                if let Some(allow) = allow {
                    write!(f, "; {allow} would allow it")?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
