//! `base-plugin`: the smallest lifecycle.

use wasmtime::Store;

use super::{GuestCall, Lifecycle, Metadata, wit::base_plugin};

pub(super) struct Base(pub(super) base_plugin::Guest);

impl<T: Send + 'static> Lifecycle<T> for Base {
    fn metadata<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Metadata> {
        Box::pin(async move {
            let says = self.0.call_get_metadata(store).await?;
            Ok(Metadata { name: says.name, version: says.version })
        })
    }

    /// This generation of plugins takes no configuration.
    fn initialize<'a>(
        &'a self,
        store: &'a mut Store<T>,
        _: &'a [(String, String)],
    ) -> GuestCall<'a, Result<(), String>> {
        Box::pin(self.0.call_initialize(store))
    }

    fn shutdown<'a>(&'a self, store: &'a mut Store<T>) -> GuestCall<'a, Result<(), String>> {
        Box::pin(self.0.call_shutdown(store))
    }
}
