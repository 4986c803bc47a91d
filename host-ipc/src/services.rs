//! `toolsku:host-api/host-services`, as guests call it.

#![expect(unreachable_pub, reason = "the generated bindings re-export the resources")]

use std::time::{SystemTime, UNIX_EPOCH};

use plugin_contract::escape;
use wasmtime::component::Resource;

use crate::{
    ConfigError, EmitRefused, HttpFailure, HttpMethod, HttpRequest, IpcView,
    bindings::toolsku::host_api::host_services::{
        DirError, EmitError, Host, HostConfigStore, HostHttpClient, HostLogger, HttpError,
        HttpResponse, LogError, LogLevel, StoreError,
    },
    ctx::DataDir,
};

/// A guest's logger.
pub struct Logger {
    name: String,
}

/// A guest's handle of its own configuration. All of a plugin's handles are alike.
pub struct ConfigHandle;

/// A guest's HTTP client.
pub struct HttpClient;

/// The header field that carries a trace.
const TRACE: &str = "traceparent";

/// Longest logger name, in bytes.
const LOGGER_NAME_BYTES_MAX: usize = 64;

impl Host for IpcView<'_> {
    fn get_environment(&mut self) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.ctx.env.clone())
    }

    fn get_plugin_data_dir(&mut self) -> wasmtime::Result<Result<String, DirError>> {
        Ok(match &self.ctx.data_dir {
            DataDir::At(path) => Ok(path.clone()),
            DataDir::Denied => Err(DirError::Denied),
            DataDir::NotAvailable => Err(DirError::NotAvailable),
        })
    }

    fn emit_event(
        &mut self,
        event_type: String,
        payload: String,
    ) -> wasmtime::Result<Result<(), EmitError>> {
        let Some(events) = &self.ctx.events else {
            return Ok(Err(EmitError::NotAvailable));
        };
        // A clock before 1970 is the operator's to mend; the order of events does not hang on it.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = now.as_millis() as u64;
        let Err(refused) = events.emit(&event_type, &payload, now, &self.ctx.caller) else {
            return Ok(Ok(()));
        };
        let watch = &self.ctx.watch;
        let one_more = || "one event more".to_owned();
        Ok(Err(match refused {
            EmitRefused::InvalidType => EmitError::InvalidType,
            EmitRefused::PayloadTooLarge(max) => {
                let asked = || format!("a payload of {} bytes", payload.len());
                watch.tell("emit-event", asked, || format!("event payload = {max} bytes"));
                EmitError::PayloadTooLarge(max as u64)
            }
            EmitRefused::RateLimited(max) => {
                watch.tell("emit-event", one_more, || format!("events a second = {max}"));
                EmitError::RateLimited(max)
            }
            EmitRefused::QueueFull => {
                watch.tell("emit-event", one_more, || "events that wait, in bytes".to_owned());
                EmitError::QueueFull
            }
            EmitRefused::Closed => EmitError::NotAvailable,
        }))
    }
}

impl HostLogger for IpcView<'_> {
    fn new(&mut self, name: String) -> wasmtime::Result<Resource<Logger>> {
        Ok(self.table.push(Logger { name: escape(&name, LOGGER_NAME_BYTES_MAX) })?)
    }

    fn log(
        &mut self,
        logger: Resource<Logger>,
        level: LogLevel,
        message: String,
    ) -> wasmtime::Result<()> {
        let logger = self.table.get(&logger)?;
        self.ctx.log.line(level, &logger.name, &message);
        Ok(())
    }

    fn flush(&mut self, logger: Resource<Logger>) -> wasmtime::Result<Result<(), LogError>> {
        self.table.get(&logger)?;
        Ok(match self.ctx.log.dropped() {
            0 => Ok(()),
            dropped => Err(LogError::RateLimited(dropped)),
        })
    }

    fn drop(&mut self, logger: Resource<Logger>) -> wasmtime::Result<()> {
        self.table.delete(logger)?;
        Ok(())
    }
}

impl HostConfigStore for IpcView<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<ConfigHandle>> {
        Ok(self.table.push(ConfigHandle)?)
    }

    async fn get(
        &mut self,
        handle: Resource<ConfigHandle>,
        key: String,
    ) -> wasmtime::Result<Result<Option<String>, StoreError>> {
        self.table.get(&handle)?;
        let Some(store) = self.ctx.config.clone() else {
            return Ok(Err(StoreError::NotAvailable));
        };
        Ok(store.get(&self.ctx.plugin, &key).await.map_err(Into::into))
    }

    async fn set(
        &mut self,
        handle: Resource<ConfigHandle>,
        key: String,
        value: String,
    ) -> wasmtime::Result<Result<(), StoreError>> {
        self.table.get(&handle)?;
        let Some(store) = self.ctx.config.clone() else {
            return Ok(Err(StoreError::NotAvailable));
        };
        let set = store.set(&self.ctx.plugin, &key, &value).await;
        if let Err(error) = &set
            && !matches!(error, ConfigError::Storage(_))
        {
            let (key, value) = (key.len(), value.len());
            let asked = || format!("a key of {key} and a value of {value} bytes");
            self.ctx.watch.tell("config", asked, || error.to_string());
        }
        Ok(set.map_err(Into::into))
    }

    async fn delete(
        &mut self,
        handle: Resource<ConfigHandle>,
        key: String,
    ) -> wasmtime::Result<Result<(), StoreError>> {
        self.table.get(&handle)?;
        let Some(store) = self.ctx.config.clone() else {
            return Ok(Err(StoreError::NotAvailable));
        };
        Ok(store.delete(&self.ctx.plugin, &key).await.map_err(Into::into))
    }

    async fn list_keys(
        &mut self,
        handle: Resource<ConfigHandle>,
        prefix: String,
        after: Option<String>,
    ) -> wasmtime::Result<Result<Vec<String>, StoreError>> {
        self.table.get(&handle)?;
        let Some(store) = self.ctx.config.clone() else {
            return Ok(Err(StoreError::NotAvailable));
        };
        let keys = store.list_keys(&self.ctx.plugin, &prefix, after.as_deref()).await;
        Ok(keys.map_err(Into::into))
    }

    fn drop(&mut self, handle: Resource<ConfigHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl From<ConfigError> for StoreError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::InvalidKey { bytes_max } => Self::InvalidKey(bytes_max as u32),
            ConfigError::ValueTooLarge { bytes_max } => Self::ValueTooLarge(bytes_max as u64),
            ConfigError::Full { bytes_max } => Self::Full(bytes_max),
            ConfigError::TooManyKeys { keys_max } => Self::TooManyKeys(keys_max),
            // What exactly the disk said is the operator's business; it is in the host's log.
            ConfigError::Storage(_) => Self::Failed("the host's store failed".to_owned()),
        }
    }
}

impl HostHttpClient for IpcView<'_> {
    fn new(&mut self) -> wasmtime::Result<Resource<HttpClient>> {
        Ok(self.table.push(HttpClient)?)
    }

    async fn get(
        &mut self,
        client: Resource<HttpClient>,
        url: String,
        headers: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<HttpResponse, HttpError>> {
        self.table.get(&client)?;
        let (method, body) = (HttpMethod::Get, Vec::new());
        Ok(self.fetch(HttpRequest { method, url, headers, body }).await)
    }

    async fn post(
        &mut self,
        client: Resource<HttpClient>,
        url: String,
        body: Vec<u8>,
        headers: Vec<(String, String)>,
    ) -> wasmtime::Result<Result<HttpResponse, HttpError>> {
        self.table.get(&client)?;
        let method = HttpMethod::Post;
        Ok(self.fetch(HttpRequest { method, url, headers, body }).await)
    }

    fn drop(&mut self, client: Resource<HttpClient>) -> wasmtime::Result<()> {
        self.table.delete(client)?;
        Ok(())
    }
}

impl IpcView<'_> {
    async fn fetch(&mut self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Some(http) = self.ctx.http.clone() else { return Err(HttpError::NotAvailable) };
        // What a request leads to belongs to its trace.
        let is_trace = |name: &str| name.eq_ignore_ascii_case(TRACE);
        if let Some(trace) = &self.ctx.caller.trace
            && !request.headers.iter().any(|(name, _)| is_trace(name))
        {
            request.headers.push((TRACE.to_owned(), trace.to_string()));
        }
        let reply = http.fetch(request).await?;
        Ok(HttpResponse { status: reply.status, headers: reply.headers, body: reply.body })
    }
}

impl From<HttpFailure> for HttpError {
    fn from(failure: HttpFailure) -> Self {
        match failure {
            HttpFailure::Denied(rule) => Self::Denied(rule),
            HttpFailure::InvalidUrl(why) => Self::InvalidUrl(why),
            HttpFailure::InvalidHeader(why) => Self::InvalidHeader(why),
            HttpFailure::TooLarge(bytes_max) => Self::TooLarge(bytes_max),
            HttpFailure::Timeout(ms) => Self::Timeout(ms),
            HttpFailure::Failed(why) => Self::Failed(why),
        }
    }
}

#[cfg(test)]
mod tests;
