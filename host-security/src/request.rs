//! What a plugin asks for.

use plugin_contract::{Explain, Manifest};

use crate::{FsPermission, Limits, NetPermission, parse_bytes, parse_duration};

/// What a manifest asks for, understood. Nothing of it is granted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Paths asked for.
    pub fs: Vec<FsPermission>,
    /// Addresses asked for.
    pub net: Vec<NetPermission>,
    /// Names of environment variables asked for.
    pub env: Vec<String>,
    /// Paths the plugin wants to be kept from.
    pub deny_fs: Vec<FsPermission>,
    /// Addresses the plugin wants to be kept from.
    pub deny_net: Vec<NetPermission>,
    /// How much of everything countable.
    pub limits: Limits,
}

/// A permission that cannot be understood. Nothing is guessed: the plugin is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` has {value:?}: {problem}")]
pub struct InvalidPermission {
    key: &'static str,
    value: String,
    problem: String,
}

impl Explain for InvalidPermission {
    fn code(&self) -> &'static str {
        "security/invalid-permission"
    }

    fn remedy(&self) -> &'static str {
        "write the permission in a form that the message names"
    }
}

impl Request {
    /// Reads `[permissions]`.
    ///
    /// # Errors
    /// [`InvalidPermission`] for the first entry that is not in an accepted form.
    pub fn from_manifest(manifest: &Manifest) -> Result<Self, InvalidPermission> {
        let asked = &manifest.permissions;
        let limits = Limits {
            memory_bytes: read("permissions.memory", &asked.memory, parse_bytes)?,
            cpu_time: read("permissions.cpu-time", &asked.cpu_time, parse_duration)?,
            timeout: read("permissions.timeout", &asked.timeout, parse_duration)?,
            max_instances: match asked.max_instances {
                0 => {
                    return Err(InvalidPermission {
                        key: "permissions.max-instances",
                        value: "0".to_owned(),
                        problem: "expected at least 1".to_owned(),
                    });
                }
                some => some,
            },
            ..Limits::default()
        };
        Ok(Self {
            fs: read_all("permissions.fs", &asked.fs, str::parse)?,
            net: read_all("permissions.net", &asked.net, str::parse)?,
            env: read_all("permissions.env", &asked.env, env_name)?,
            deny_fs: read_all("permissions.deny.fs", &asked.deny.fs, str::parse)?,
            deny_net: read_all("permissions.deny.net", &asked.deny.net, str::parse)?,
            limits,
        })
    }
}

fn env_name(name: &str) -> Result<String, &'static str> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if first && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        Ok(name.to_owned())
    } else {
        Err("expected the name of an environment variable: letters, digits and `_`")
    }
}

fn read<V, E: ToString>(
    key: &'static str,
    value: &str,
    parse: impl Fn(&str) -> Result<V, E>,
) -> Result<V, InvalidPermission> {
    parse(value).map_err(|problem| InvalidPermission {
        key,
        value: value.chars().take(80).collect(),
        problem: problem.to_string(),
    })
}

fn read_all<V, E: ToString>(
    key: &'static str,
    values: &[String],
    parse: impl Fn(&str) -> Result<V, E>,
) -> Result<Vec<V>, InvalidPermission> {
    values.iter().map(|value| read(key, value, &parse)).collect()
}

#[cfg(test)]
mod tests {
    use super::Request;
    use plugin_contract::Manifest;

    fn request(permissions: &str) -> Result<Request, String> {
        let manifest: Manifest = format!(
            "[plugin]\nname = \"a\"\nversion = \"0.1.0\"\nentrypoint = \"a.wasm\"\n[permissions]\n{permissions}"
        )
        .parse()
        .unwrap();
        Request::from_manifest(&manifest).map_err(|error| error.to_string())
    }

    #[test]
    fn the_example_of_the_manual_is_understood() {
        let request = request(
            r#"fs = ["read:/data/images", "write:/tmp/plugin-cache"]
               net = ["connect:api.example.com:443"]
               memory = "128MB"
               cpu-time = "30s"
               max-instances = 5
               [permissions.deny]
               fs = ["read:/etc", "write:/root"]
               net = ["listen:*", "connect:127.0.0.1:*"]"#,
        )
        .unwrap();
        assert_eq!((request.fs.len(), request.net.len()), (2, 1));
        assert_eq!((request.deny_fs.len(), request.deny_net.len()), (2, 2));
        assert_eq!(request.limits.memory_bytes, 128_000_000);
        assert_eq!((request.limits.cpu_time.as_secs(), request.limits.max_instances), (30, 5));
    }

    #[test]
    fn a_refusal_names_key_value_and_accepted_form() {
        for (permissions, says) in [
            ("memory = \"lots\"", "`permissions.memory` has \"lots\": \"lots\" is not a size"),
            ("fs = [\"exec:/bin\"]", "`permissions.fs` has \"exec:/bin\": expected `read:`"),
            ("env = [\"A=B\"]", "`permissions.env` has \"A=B\": expected the name"),
            ("max-instances = 0", "`permissions.max-instances` has \"0\": expected at least 1"),
        ] {
            let error = request(permissions).unwrap_err();
            assert!(error.starts_with(says), "{error}");
        }
    }
}
