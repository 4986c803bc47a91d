//! Generated from `wit/plugin-system`: the exports of all worlds, one interface at a time.

wasmtime::component::bindgen!({
    inline: "
        package toolsku:host-core;
        world every-export {
            export toolsku:plugin-system/base-plugin@1.1.0;
            export toolsku:plugin-system/data-processor@1.1.0;
            export toolsku:plugin-system/event-handler@1.1.0;
            export toolsku:plugin-system/message-handler@1.1.0;
            export toolsku:plugin-system/stream-transformer@1.1.0;
            export toolsku:plugin-system/state-transfer@1.1.0;
            export toolsku:plugin-system/plugin-api@1.1.0;
            export toolsku:plugin-system/type-best-practices@1.1.0;
            export toolsku:plugin-system/plugin-api-v1@1.1.0;
            export toolsku:plugin-system/plugin-api-v2@1.1.0;
        }
    ",
    path: ["../wit/host-api", "../wit/plugin-system"],
    world: "toolsku:host-core/every-export",
    exports: { default: async },
});
