//! Worlds `plugin-v1` and `plugin-v2`: two generations of text plugins that hosts serve side by side.
//!
//! Neither has a lifecycle, so their functions take no `self`.

use serde::de::DeserializeOwned;

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::plugin_api_v1 as wit_v1;
use crate::bindings::exports::toolsku::plugin_system::plugin_api_v2 as wit_v2;
use crate::{Error, Result, options};

/// A text plugin of the first generation.
pub trait PluginV1: 'static {
    /// Turns one text into another. There is no way to report an error but to panic.
    fn process(input: String) -> String;
}

/// A text plugin of the second generation: options, and errors.
pub trait PluginV2: 'static {
    /// The options of a call; see [`crate::options`].
    type Options: DeserializeOwned;

    /// Turns one text into another.
    ///
    /// # Errors
    /// A text for the caller.
    fn process(input: String, options: Self::Options) -> Result<String>;
}

impl<E: Exported> wit_v1::Guest for Adapter<E>
where
    E::Plugin: PluginV1,
{
    fn process(input: String) -> String {
        super::entry();
        <E::Plugin as PluginV1>::process(input)
    }
}

impl<E: Exported> wit_v2::Guest for Adapter<E>
where
    E::Plugin: PluginV2,
{
    fn process(input: String, pairs: Vec<(String, String)>) -> Result<String, String> {
        super::entry();
        options::from_pairs(&pairs)
            .map_err(Error::from)
            .and_then(|options| <E::Plugin as PluginV2>::process(input, options))
            .map_err(Error::into_wire)
    }
}

/// Exports a [`PluginV1`] as the world `plugin-v1`.
#[macro_export]
macro_rules! plugin_v1 {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::PluginV1, PLUGIN_V1:
            plugin_api_v1 __export_toolsku_plugin_system_plugin_api_v1_1_1_0_cabi
        );
    };
}

/// Exports a [`PluginV2`] as the world `plugin-v2`.
#[macro_export]
macro_rules! plugin_v2 {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::PluginV2, PLUGIN_V2:
            plugin_api_v2 __export_toolsku_plugin_system_plugin_api_v2_1_1_0_cabi
        );
    };
}
