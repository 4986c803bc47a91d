//! What `wit-bindgen` makes of the contracts in `wit/`: one module for the host's services, and
//! one for each plugin world.
//!
//! Every world shares the bindings in [`host`], so a value of the host's is one Rust type in all
//! of them. `pub_export_macro` keeps the exports of a world out of this crate's own object files:
//! they are described only where an author's crate calls the macro, so a component exports its
//! own world and imports what its code reaches.
//! Not here: anything written by hand (`worlds` adapts the traits of authors to these).
#![expect(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::undocumented_unsafe_blocks,
    reason = "generated from wit/, where the documentation is"
)]

pub mod host {
    wit_bindgen::generate!({
        path: ["../wit/host-api"],
        world: "toolsku:host-api/services",
    });
}

/// One module with the bindings of one world.
macro_rules! world {
    ($module:ident, $world:literal, $export:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: ["../wit/host-api", "../wit/plugin-system"],
                world: $world,
                pub_export_macro: true,
                default_bindings_module: $export,
                runtime_path: "::guest_sdk::__private::wit_bindgen::rt",
                with: {
                    "toolsku:host-api/host-services@1.0.0":
                        crate::bindings::host::toolsku::host_api::host_services,
                    "toolsku:host-api/messaging@1.0.0":
                        crate::bindings::host::toolsku::host_api::messaging,
                },
            });
        }
    };
}

world!(minimal, "toolsku:plugin-system/minimal-plugin", "guest_sdk::__private::bindings::minimal");
