//! What a plugin asks for.

use plugin_contract::{
    EnvName, FsPermission, Manifest, MessagePermission, NetPermission, PluginId,
};

use crate::Limits;

/// What a manifest asks for. Nothing of it is granted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Who asks.
    pub plugin: PluginId,
    /// Paths asked for.
    pub fs: Vec<FsPermission>,
    /// Addresses asked for.
    pub net: Vec<NetPermission>,
    /// Whom messages are asked to go to.
    pub messages: Vec<MessagePermission>,
    /// Names of environment variables asked for.
    pub env: Vec<EnvName>,
    /// Paths the plugin wants to be kept from.
    pub deny_fs: Vec<FsPermission>,
    /// Addresses the plugin wants to be kept from.
    pub deny_net: Vec<NetPermission>,
    /// Whom the plugin wants to be kept from writing to.
    pub deny_messages: Vec<MessagePermission>,
    /// How much of everything countable.
    pub limits: Limits,
}

impl Request {
    /// What `[permissions]` asks for.
    pub fn from_manifest(manifest: &Manifest) -> Self {
        let asked = &manifest.permissions;
        Self {
            plugin: manifest.plugin.name.clone(),
            fs: asked.fs.clone(),
            net: asked.net.clone(),
            messages: asked.messages.clone(),
            env: asked.env.clone(),
            deny_fs: asked.deny.fs.clone(),
            deny_net: asked.deny.net.clone(),
            deny_messages: asked.deny.messages.clone(),
            limits: Limits {
                memory_bytes: asked.memory.bytes(),
                cpu_time: asked.cpu_time.duration(),
                timeout: asked.timeout.duration(),
                max_instances: asked.max_instances.get(),
                ..Limits::default()
            },
        }
    }
}
