//! World `minimal-plugin`: a lifecycle and nothing else.

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::base_plugin as wit;
use crate::{Error, Result};

/// The lifecycle that most worlds share.
///
/// The value that `initialize` makes is kept for the life of the instance and handed to every
/// call as `&self`; what has to change in it goes into a `Cell` or `RefCell`.
pub trait Plugin: Sized + 'static {
    /// Makes the plugin. Called once for each instance, before any other work.
    ///
    /// # Errors
    /// An error keeps the instance from serving.
    fn initialize() -> Result<Self>;

    /// Called once when the host retires the instance in good order; not after a trap.
    ///
    /// # Errors
    /// An error is logged by the host; the instance ends all the same.
    fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: Plugin,
{
    fn get_metadata() -> wit::PluginMetadata {
        wit::PluginMetadata { name: E::NAME.to_owned(), version: E::VERSION.to_owned() }
    }

    fn initialize() -> Result<(), String> {
        super::start::<E>(Plugin::initialize)
    }

    fn shutdown() -> Result<(), String> {
        super::with::<E, _>(Plugin::shutdown).map_err(Error::into_wire)
    }
}

/// Exports a [`Plugin`] as the world `minimal-plugin`.
///
/// ```
/// use guest_sdk::prelude::*;
///
/// struct Nothing;
/// impl Plugin for Nothing {
///     fn initialize() -> Result<Self> { Ok(Nothing) }
/// }
/// guest_sdk::minimal_plugin!(Nothing);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! minimal_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::Plugin, MINIMAL_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi
        );
    };
}
