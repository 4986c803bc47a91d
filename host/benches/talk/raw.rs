//! The yardstick: the engine alone, with the same settings, a producer and a consumer.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use host_core::{EngineSettings, wasmtime};
use plugin_contract::Lane;
use wasmtime::{
    Engine, Store, StoreContextMut,
    component::{
        Component, Destination, FutureConsumer, InstancePre, Linker, ResourceTable, Source,
        StreamConsumer, StreamProducer, StreamReader, StreamResult,
    },
};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

wasmtime::component::bindgen!({
    inline: "
        package toolsku:bench;
        world stream-plugin {
            export toolsku:plugin-system/stream-transformer@1.1.0;
        }
    ",
    path: ["../wit/host-api", "../wit/plugin-system"],
    world: "toolsku:bench/stream-plugin",
    exports: { default: async },
});

use exports::toolsku::plugin_system::stream_transformer::{GuestIndices, StreamOptions};

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// A guest, ready to be instantiated.
pub(crate) struct Pipe {
    pre: InstancePre<State>,
}

impl Pipe {
    pub(crate) fn new(component: &[u8]) -> Self {
        let engine = Engine::new(&EngineSettings::default().config(Lane::Stream)).unwrap();
        let component = Component::new(&engine, component).unwrap();
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
        Self { pre: linker.instantiate_pre(&component).unwrap() }
    }

    /// Copies so many bytes in a new instance, and counts what comes out.
    pub(crate) async fn run(&self, bytes: u64) -> u64 {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(self.pre.engine(), state);
        // Nobody ticks.
        store.set_epoch_deadline(1);
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let guest = GuestIndices::new(&self.pre).unwrap().load(&mut store, &instance).unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let counted = passed.clone();
        let work = store.run_concurrent(async |accessor| {
            let produce = Produce { left: bytes, chunk: vec![b'a'; 64 << 10] };
            let input = accessor.with(|store| StreamReader::new(store, produce)).unwrap();
            let options =
                StreamOptions { content_type: "text/plain".to_owned(), options: Vec::new() };
            let output = guest.call_transform(accessor, input, options).await.unwrap().unwrap();
            let (done, finished) = tokio::sync::oneshot::channel();
            accessor.with(|mut store| {
                let consume = Consume { passed: counted, buffer: vec![0; 64 << 10] };
                output.data.pipe(&mut store, consume).unwrap();
                output.finished.pipe(&mut store, Finish(Some(done))).unwrap();
            });
            finished.await.unwrap().unwrap();
        });
        work.await.unwrap();
        passed.load(Ordering::Relaxed)
    }
}

struct Produce {
    left: u64,
    chunk: Vec<u8>,
}

impl<D: 'static> StreamProducer<D> for Produce {
    type Item = u8;
    type Buffer = Option<u8>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if self.left == 0 {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let mut direct = destination.as_direct(store, self.chunk.len());
        let room = direct.remaining();
        let bytes = room.len().min(self.chunk.len());
        room[..bytes].copy_from_slice(&self.chunk[..bytes]);
        direct.mark_written(bytes);
        self.left -= bytes as u64;
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct Consume {
    passed: Arc<AtomicU64>,
    buffer: Vec<u8>,
}

impl<D: 'static> StreamConsumer<D> for Consume {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        _: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Self { passed, buffer } = &mut *self;
        let mut direct = source.as_direct(store);
        // A pipe hands on what it takes.
        let written = direct.remaining();
        let bytes = written.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&written[..bytes]);
        std::hint::black_box(&buffer);
        direct.mark_read(bytes);
        passed.fetch_add(bytes as u64, Ordering::Relaxed);
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct Finish(Option<tokio::sync::oneshot::Sender<Result<(), String>>>);

impl<D: 'static> FutureConsumer<D> for Finish {
    type Item = Result<(), String>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        mut source: Source<'_, Self::Item>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut said = None;
        source.read(store, &mut said)?;
        if let (Some(said), Some(done)) = (said, self.0.take()) {
            done.send(said).unwrap();
        }
        Poll::Ready(Ok(()))
    }
}
