//! Generated from `wit/host-api`.

wasmtime::component::bindgen!({
    path: "../wit/host-api",
    world: "toolsku:host-api/services",
    imports: {
        // What may touch a disk or a network, or waits for somebody.
        "toolsku:host-api/host-services.[method]config-store.get": async | trappable,
        "toolsku:host-api/host-services.[method]config-store.set": async | trappable,
        "toolsku:host-api/host-services.[method]config-store.delete": async | trappable,
        "toolsku:host-api/host-services.[method]config-store.list-keys": async | trappable,
        "toolsku:host-api/host-services.[method]http-client.get": async | trappable,
        "toolsku:host-api/host-services.[method]http-client.post": async | trappable,
        "toolsku:host-api/messaging.send": async | trappable,
        "toolsku:host-api/messaging.request": async | trappable,
        default: trappable,
    },
    with: {
        "toolsku:host-api/host-services.logger": crate::services::Logger,
        "toolsku:host-api/host-services.config-store": crate::services::ConfigHandle,
        "toolsku:host-api/host-services.http-client": crate::services::HttpClient,
    },
});
