//! World `stateful-processor-plugin`: a processor that hands its state to its next version.

use super::{Adapter, Exported};
use crate::bindings::exports::toolsku::plugin_system::state_transfer as wit;
use crate::{Error, Processor, Result};

/// A processor whose state outlives an upgrade.
///
/// There is one instance of such a plugin, so whatever its fields hold is there for the next call. On a
/// reload, the host asks it for a [`snapshot`](Self::snapshot), while calls wait, and has the next version
/// [`restore`](Self::restore) it. Both together have a few seconds, and 64 MiB. A trap ends the instance and
/// loses its state, and so does a deadline: what must not be lost belongs into the host's configuration, or
/// into a file.
///
/// ```
/// # use std::cell::Cell;
/// # use guest_sdk::prelude::*;
/// struct Counter(Cell<u64>);
/// # impl Plugin for Counter {
/// #     fn initialize() -> Result<Self> { Ok(Self(Cell::new(0))) }
/// # }
/// # impl Processor for Counter {
/// #     type Options = ();
/// #     fn process(&self, _: Input, (): ()) -> Result<Output> { Ok(Output::text(String::new())) }
/// # }
///
/// impl StatefulProcessor for Counter {
///     const FORMAT: u32 = 2; // 1 was four bytes
///
///     fn snapshot(&self) -> Result<Vec<u8>> {
///         Ok(self.0.get().to_le_bytes().to_vec())
///     }
///
///     fn restore(&self, format: u32, data: Vec<u8>) -> Result<()> {
///         let count = match format {
///             1 => u32::from_le_bytes(data.try_into().ok().context("not 4 bytes")?).into(),
///             _ => u64::from_le_bytes(data.try_into().ok().context("not 8 bytes")?),
///         };
///         self.0.set(count);
///         Ok(())
///     }
/// }
/// ```
pub trait StatefulProcessor: Processor {
    /// The form that [`snapshot`](Self::snapshot) writes; count it up when the form changes.
    const FORMAT: u32;

    /// The state of this instance. Called on the old version, after its last call; if the upgrade is aborted,
    /// others follow, so leave everything as it is.
    ///
    /// # Errors
    /// An error aborts the upgrade: this version goes on serving.
    fn snapshot(&self) -> Result<Vec<u8>>;

    /// Takes over a state of any `format` up to [`FORMAT`](Self::FORMAT); newer ones never get
    /// here. Called on the new version, after `initialize` and before its first call.
    ///
    /// # Errors
    /// An error aborts the upgrade: the old version goes on serving, and this instance goes.
    fn restore(&self, format: u32, data: Vec<u8>) -> Result<()>;
}

impl<E: Exported> wit::Guest for Adapter<E>
where
    E::Plugin: StatefulProcessor,
{
    fn snapshot() -> Result<wit::StateSnapshot, String> {
        let data = super::with::<E, _>(StatefulProcessor::snapshot).map_err(Error::into_wire)?;
        Ok(wit::StateSnapshot { format: <E::Plugin as StatefulProcessor>::FORMAT, data })
    }

    fn restore(state: wit::StateSnapshot) -> Result<(), wit::RestoreError> {
        let newest = <E::Plugin as StatefulProcessor>::FORMAT;
        if state.format > newest {
            return Err(wit::RestoreError::UnknownFormat(newest));
        }
        super::with::<E, _>(|plugin| plugin.restore(state.format, state.data))
            .map_err(|error| wit::RestoreError::Invalid(error.into_wire()))
    }
}

/// Exports a [`StatefulProcessor`] as the world `stateful-processor-plugin`.
#[macro_export]
macro_rules! stateful_processor_plugin {
    ($plugin:ty) => {
        $crate::__export!(
            $plugin as $crate::StatefulProcessor, STATEFUL_PROCESSOR_PLUGIN:
            base_plugin __export_toolsku_plugin_system_base_plugin_1_1_0_cabi,
            data_processor __export_toolsku_plugin_system_data_processor_1_1_0_cabi,
            state_transfer __export_toolsku_plugin_system_state_transfer_1_1_0_cabi
        );
    };
}
