//! What `wit-bindgen` makes of the contracts in `wit/`: the host's services, and one trait for
//! each interface that a plugin can export.
//!
//! The world is our own and holds every interface once, so that `data-processor` is one trait and
//! not one for each world that has it. `pub_export_macro` keeps its exports out of this crate's
//! object files; which of them a component has is said by the section that `worlds::__export!`
//! puts into the author's crate (made by `build.rs`), so a component exports its own world and
//! imports what its code reaches.
//! Not here: anything written by hand (`worlds` adapts the traits of authors to these).

wit_bindgen::generate!({
    path: ["../wit/host-api", "../wit/plugin-system"],
    inline: "
        package toolsku:guest-sdk@1.0.0;

        world any-plugin {
            include toolsku:host-api/services@1.0.0;
            import toolsku:plugin-system/plugin-api@1.1.0;

            export toolsku:plugin-system/base-plugin@1.1.0;
            export toolsku:plugin-system/data-processor@1.1.0;
            export toolsku:plugin-system/event-handler@1.1.0;
            export toolsku:plugin-system/message-handler@1.1.0;
            export toolsku:plugin-system/plugin-api@1.1.0;
            export toolsku:plugin-system/type-best-practices@1.1.0;
            export toolsku:plugin-system/stream-transformer@1.1.0;
            export toolsku:plugin-system/state-transfer@1.1.0;
            export toolsku:plugin-system/plugin-api-v1@1.1.0;
            export toolsku:plugin-system/plugin-api-v2@1.1.0;
        }
    ",
    generate_all,
    pub_export_macro: true,
});
