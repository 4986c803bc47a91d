//! The worlds of `toolsku:plugin-system`, by what they export.

use std::{fmt, str::FromStr};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::InterfaceName;

/// The package of the interfaces that plugins export.
pub const SYSTEM_PACKAGE: &str = "toolsku:plugin-system";

/// The package of the interfaces that hosts offer.
pub const HOST_API_PACKAGE: &str = "toolsku:host-api";

/// The version of [`SYSTEM_PACKAGE`] that this release speaks.
pub const CONTRACT_VERSION: Version = Version::new(1, 1, 0);

/// A kind of plugin: one of the worlds in `wit/plugin-system/worlds.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum World {
    /// A processor that hands its state to its next version.
    StatefulProcessorPlugin,
    /// Turns inputs into outputs.
    ProcessorPlugin,
    /// Reacts to events.
    EventPlugin,
    /// Works on streams.
    StreamPlugin,
    /// Takes messages.
    MessagePlugin,
    /// Works on actions of users.
    ActionPlugin,
    /// The full set: configuration, context, status.
    PluginWorld,
    /// A text plugin of the second generation.
    PluginV2,
    /// A text plugin of the first generation.
    PluginV1,
    /// A lifecycle and nothing else.
    MinimalPlugin,
}

impl World {
    /// All worlds, the most demanding first.
    pub const ALL: [World; 10] = [
        World::StatefulProcessorPlugin,
        World::ProcessorPlugin,
        World::EventPlugin,
        World::StreamPlugin,
        World::MessagePlugin,
        World::ActionPlugin,
        World::PluginWorld,
        World::PluginV2,
        World::PluginV1,
        World::MinimalPlugin,
    ];

    /// The name in WIT.
    pub const fn name(self) -> &'static str {
        match self {
            World::StatefulProcessorPlugin => "stateful-processor-plugin",
            World::ProcessorPlugin => "processor-plugin",
            World::EventPlugin => "event-plugin",
            World::StreamPlugin => "stream-plugin",
            World::MessagePlugin => "message-plugin",
            World::ActionPlugin => "action-plugin",
            World::PluginWorld => "plugin-world",
            World::PluginV2 => "plugin-v2",
            World::PluginV1 => "plugin-v1",
            World::MinimalPlugin => "minimal-plugin",
        }
    }

    /// The interfaces of [`SYSTEM_PACKAGE`] that a plugin of this world exports.
    pub const fn exports(self) -> &'static [&'static str] {
        match self {
            World::StatefulProcessorPlugin => &["base-plugin", "data-processor", "state-transfer"],
            World::ProcessorPlugin => &["base-plugin", "data-processor"],
            World::EventPlugin => &["base-plugin", "event-handler"],
            World::StreamPlugin => &["base-plugin", "stream-transformer"],
            World::MessagePlugin => &["base-plugin", "message-handler"],
            World::ActionPlugin => &["base-plugin", "type-best-practices"],
            World::PluginWorld => &["plugin-api"],
            World::PluginV2 => &["plugin-api-v2"],
            World::PluginV1 => &["plugin-api-v1"],
            World::MinimalPlugin => &["base-plugin"],
        }
    }

    /// The world of a component that exports `exports`: the most demanding one whose interfaces are
    /// all there, in a version of this contract's track. More exports than the world names are fine.
    pub fn of_exports<'a>(exports: impl IntoIterator<Item = &'a InterfaceName>) -> Option<World> {
        let ours: Vec<&str> = exports
            .into_iter()
            .filter(|name| {
                let offered = InterfaceName { version: Some(CONTRACT_VERSION), ..(*name).clone() };
                name.package == SYSTEM_PACKAGE && offered.serves(name)
            })
            .map(|name| name.interface.as_str())
            .collect();
        World::ALL
            .into_iter()
            .find(|world| world.exports().iter().all(|wanted| ours.contains(wanted)))
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for World {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        World::ALL
            .into_iter()
            .find(|world| world.name() == s)
            .ok_or_else(|| format!("no world of {SYSTEM_PACKAGE} has this name"))
    }
}

#[cfg(test)]
mod tests {
    use super::World;

    #[track_caller]
    fn check(exports: &[&str], world: Option<World>) {
        let names: Vec<_> = exports.iter().map(|name| name.parse().unwrap()).collect();
        assert_eq!(World::of_exports(&names), world, "{exports:?}");
    }

    const BASE: &str = "toolsku:plugin-system/base-plugin@1.0.0";
    const DATA: &str = "toolsku:plugin-system/data-processor@1.0.0";

    #[test]
    fn a_world_is_known_by_its_exports() {
        check(&[BASE], Some(World::MinimalPlugin));
        check(&[BASE, DATA], Some(World::ProcessorPlugin));
        check(&["toolsku:plugin-system/plugin-api-v1@1.3.0"], Some(World::PluginV1));
        check(&[BASE, DATA, "other:pkg/extra@0.1.0"], Some(World::ProcessorPlugin));
    }

    #[test]
    fn parts_of_a_world_and_other_tracks_are_no_world() {
        check(&[DATA], None);
        check(&["toolsku:plugin-system/plugin-api@2.0.0"], None);
        check(&["other:plugin-system/plugin-api@1.0.0"], None);
        check(&[], None);
    }

    #[test]
    fn names_read_back() {
        for world in World::ALL {
            assert_eq!(world.name().parse(), Ok(world));
        }
    }
}
