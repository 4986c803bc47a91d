//! What the operator allows, and the grant that comes of it.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{Limits, Request};

/// The operator's side of every grant. The default grants no authority and moderate amounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Highest `memory`. Default 256 MB.
    pub memory_bytes_max: u64,
    /// Highest `cpu-time`. Default 60 s.
    pub cpu_time_max: Duration,
    /// Highest `timeout`. Default 120 s.
    pub timeout_max: Duration,
    /// Highest `max-instances`. Default 32.
    pub instances_max: u32,
    /// Environment variables that plugins may be given, with their values. Default none.
    pub env: BTreeMap<String, String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            memory_bytes_max: 256_000_000,
            cpu_time_max: Duration::from_secs(60),
            timeout_max: Duration::from_secs(120),
            instances_max: 32,
            env: BTreeMap::new(),
        }
    }
}

impl Policy {
    /// What is both asked for and allowed.
    pub fn grant(&self, request: &Request) -> Grant {
        let mut decisions = Vec::new();
        let mut decide = |asked: String, outcome| decisions.push(Decision { asked, outcome });

        let asked = &request.limits;
        let mut lower = |asked: String, is_over: bool, ceiling: String| {
            decide(
                asked,
                if is_over { Outcome::Lowered { to: ceiling } } else { Outcome::Granted },
            );
        };
        lower(
            format!("memory {} bytes", asked.memory_bytes),
            asked.memory_bytes > self.memory_bytes_max,
            format!("{} bytes", self.memory_bytes_max),
        );
        lower(
            format!("cpu-time {:?}", asked.cpu_time),
            asked.cpu_time > self.cpu_time_max,
            format!("{:?}", self.cpu_time_max),
        );
        lower(
            format!("timeout {:?}", asked.timeout),
            asked.timeout > self.timeout_max,
            format!("{:?}", self.timeout_max),
        );
        lower(
            format!("max-instances {}", asked.max_instances),
            asked.max_instances > self.instances_max,
            self.instances_max.to_string(),
        );
        let limits = Limits {
            memory_bytes: asked.memory_bytes.min(self.memory_bytes_max),
            cpu_time: asked.cpu_time.min(self.cpu_time_max),
            timeout: asked.timeout.min(self.timeout_max),
            max_instances: asked.max_instances.min(self.instances_max),
            ..asked.clone()
        };

        let mut env = BTreeMap::new();
        for name in &request.env {
            match self.env.get(name) {
                Some(value) => {
                    env.insert(name.clone(), value.clone());
                    decide(format!("env {name}"), Outcome::Granted);
                }
                None => decide(format!("env {name}"), Outcome::Denied),
            }
        }
        for permission in &request.fs {
            decide(format!("fs {permission}"), Outcome::Denied);
        }
        for permission in &request.net {
            decide(format!("net {permission}"), Outcome::Denied);
        }
        Grant { limits, env: env.into_iter().collect(), decisions }
    }
}

/// What one plugin may do, and how much. Made by [`Policy::grant`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    limits: Limits,
    env: Vec<(String, String)>,
    decisions: Vec<Decision>,
}

impl Grant {
    /// How much.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The environment the plugin sees, by name.
    pub fn env(&self) -> &[(String, String)] {
        &self.env
    }

    /// How each thing asked for was answered, in the order of the manifest.
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
    pub outcome: Outcome,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Granted,
    /// Less than asked: the operator's ceiling.
    Lowered {
        /// The ceiling.
        to: String,
    },
    /// Not at all: no rule of the operator grants it.
    Denied,
}

impl Decision {
    /// Whether the plugin gets just what it asked for.
    pub fn is_granted(&self) -> bool {
        self.outcome == Outcome::Granted
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Granted => write!(f, "{}: granted", self.asked),
            Outcome::Lowered { to } => {
                write!(f, "{}: lowered to {to} by the host's ceiling", self.asked)
            }
            Outcome::Denied => write!(f, "{}: denied, no rule of the host grants it", self.asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Policy;
    use crate::Request;
    use plugin_contract::Manifest;

    fn request(permissions: &str) -> Request {
        let manifest: Manifest = format!(
            "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n[permissions]\n{permissions}"
        )
        .parse()
        .unwrap();
        Request::from_manifest(&manifest).unwrap()
    }

    #[test]
    fn a_grant_is_what_is_asked_and_allowed() {
        let policy = Policy {
            env: [("TZ", "UTC"), ("SECRET", "x")].map(|(k, v)| (k.into(), v.into())).into(),
            ..Policy::default()
        };
        let grant = policy.grant(&request("env = [\"TZ\", \"HOME\"]"));
        assert_eq!(grant.env(), [("TZ".to_owned(), "UTC".to_owned())]);
        let answers: Vec<String> = grant.decisions().iter().map(ToString::to_string).collect();
        assert_eq!(
            answers[4..],
            ["env TZ: granted", "env HOME: denied, no rule of the host grants it"]
        );
    }

    #[test]
    fn amounts_are_lowered_to_the_ceiling_and_never_raised() {
        let greedy = request("memory = \"8GB\"\ncpu-time = \"10m\"\nmax-instances = 1000");
        let limits = Policy::default().grant(&greedy).limits().clone();
        assert_eq!(limits.memory_bytes, 256_000_000);
        assert_eq!((limits.cpu_time.as_secs(), limits.max_instances), (60, 32));

        let modest = request("memory = \"1MB\"\ncpu-time = \"1s\"\nmax-instances = 1");
        let limits = Policy::default().grant(&modest).limits().clone();
        assert_eq!(limits.memory_bytes, 1_000_000);
        assert_eq!((limits.cpu_time.as_secs(), limits.max_instances), (1, 1));
    }

    #[test]
    fn nothing_grants_files_or_network_by_default() {
        let grant = Policy::default().grant(&request("fs = [\"read:/\"]\nnet = [\"connect:*\"]"));
        let denied = grant.decisions().iter().filter(|decision| !decision.is_granted()).count();
        assert_eq!(denied, 2);
    }
}
