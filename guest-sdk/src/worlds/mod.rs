//! One file for each world: the trait that an author implements, the macro that exports it, and
//! the adapter between the trait and the generated bindings.
//!
//! This file has what they share: where the instance of a plugin lives, and who it says it is.
//! Not here: the bindings themselves (`bindings`).

mod action;
mod event;
mod full;
pub mod inner;
mod message;
mod minimal;
mod processor;
mod stateful;
mod stream;
mod versioned;

pub use action::{ActionPlugin, ActionResult, LogEntry, Severity, UserAction};
pub use event::{Event, EventHandler};
pub use full::{Answer, CallContext, FullPlugin, Metrics, Status};
pub use message::{IncomingMessage, MessageHandler};
pub use minimal::Plugin;
#[cfg(not(target_family = "wasm"))]
pub(crate) use processor::process as processor_process;
pub use processor::{Input, Output, Processor};
pub use stateful::StatefulProcessor;
#[cfg(not(target_family = "wasm"))]
pub(crate) use stream::step as stream_step;
pub use stream::{StreamPlugin, Transform, Writer};
pub use versioned::{PluginV1, PluginV2};

use std::cell::OnceCell;
use std::marker::PhantomData;

use crate::{Error, Result};

/// What a world's macro says of the plugin it exports. Only the macros implement this.
pub trait Exported: 'static {
    /// The author's type.
    type Plugin: 'static;
    /// The author's package: name, version, description, authors.
    const NAME: &'static str;
    /// As in the author's `Cargo.toml`.
    const VERSION: &'static str;
    /// As in the author's `Cargo.toml`.
    const DESCRIPTION: &'static str;
    /// As in the author's `Cargo.toml`, joined by `:`.
    const AUTHORS: &'static str;

    /// The one place where the instance lives. A component has one thread, so it is the thread's.
    fn slot<R>(use_it: impl FnOnce(&OnceCell<Self::Plugin>) -> R) -> R;
}

/// Stands for an exported plugin in the generated `export!` macros.
pub struct Adapter<E>(PhantomData<E>);

/// Called first by every export that can do work of the author's.
pub(crate) fn entry() {
    crate::services::logging::install();
}

/// Makes the instance. A failed attempt may be repeated.
pub(crate) fn start<E: Exported>(make: impl FnOnce() -> Result<E::Plugin>) -> Result<(), String> {
    entry();
    E::slot(|slot| {
        if slot.get().is_some() {
            return Err(Error::msg("initialize was already called"));
        }
        let plugin = make()?;
        // Set unless `make` itself called `initialize`, which the component model rules out.
        let _ = slot.set(plugin);
        Ok(())
    })
    .map_err(Error::into_wire)
}

/// Works with the instance; an error before `initialize`.
pub(crate) fn with<E: Exported, R>(work: impl FnOnce(&E::Plugin) -> Result<R>) -> Result<R> {
    entry();
    E::slot(|slot| match slot.get() {
        Some(plugin) => work(plugin),
        None => Err(Error::msg("initialize has not been called")),
    })
}

/// The common part of the macros: names the exported plugin `Exported`, and exports `$interface`s of
/// it as the world `$world` in a component. Natively only the bound is checked.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ty as $bound:path, $world:ident: $($interface:ident $export:ident),+) => {
        const _: () = {
            struct Exported;

            impl $crate::__private::Exported for Exported {
                type Plugin = $plugin;
                const NAME: &'static str = ::core::env!("CARGO_PKG_NAME");
                const VERSION: &'static str = ::core::env!("CARGO_PKG_VERSION");
                const DESCRIPTION: &'static str = ::core::env!("CARGO_PKG_DESCRIPTION");
                const AUTHORS: &'static str = ::core::env!("CARGO_PKG_AUTHORS");

                fn slot<R>(
                    use_it: impl ::core::ops::FnOnce(&::core::cell::OnceCell<$plugin>) -> R,
                ) -> R {
                    ::std::thread_local! {
                        static INSTANCE: ::core::cell::OnceCell<$plugin> =
                            const { ::core::cell::OnceCell::new() };
                    }
                    INSTANCE.with(use_it)
                }
            }

            const fn check<T: $bound>() {}
            check::<<Exported as $crate::__private::Exported>::Plugin>();

            #[cfg(target_family = "wasm")]
            type Adapter = $crate::__private::Adapter<Exported>;
            #[cfg(target_family = "wasm")]
            $crate::__export_raw!(Adapter, $world: $($interface $export),+);
        };
    };
}

/// Exports a type that implements the generated `Guest` traits itself.
#[doc(hidden)]
#[macro_export]
macro_rules! __export_raw {
    ($adapter:ident, $world:ident: $($interface:ident $export:ident),+) => {
        $(
            $crate::$export!(
                $adapter with_types_in
                $crate::__private::bindings::exports::toolsku::plugin_system::$interface
            );
        )+
        const _: () = {
            // Read by the component linker; the name only has to start like this and be unique.
            #[unsafe(link_section = "component-type:guest-sdk")]
            static WORLD: [u8; $crate::__private::sections::$world.len()] =
                $crate::__private::sections::$world;
        };
    };
}
