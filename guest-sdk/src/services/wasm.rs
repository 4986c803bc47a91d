//! The services, answered by the host of the component.

use std::cell::RefCell;

use super::DirError;
use super::config::StoreError;
use super::events::EmitError;
use super::http::{HttpError, Response};
use super::messaging::{Message, MessageError, Reply};
use crate::bindings::toolsku::host_api::{host_services as wit, messaging as wit_messaging};

/// Loggers kept open, one for each name; past this many the oldest is closed.
const LOGGERS_MAX: usize = 16;

thread_local! {
    static LOGGERS: RefCell<Vec<(String, wit::Logger)>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn log(level: log::Level, target: &str, message: &str) {
    let level = match level {
        log::Level::Error => wit::LogLevel::Error,
        log::Level::Warn => wit::LogLevel::Warn,
        log::Level::Info => wit::LogLevel::Info,
        log::Level::Debug => wit::LogLevel::Debug,
        log::Level::Trace => wit::LogLevel::Trace,
    };
    LOGGERS.with_borrow_mut(|loggers| {
        let at = loggers.iter().position(|(name, _)| name == target).unwrap_or_else(|| {
            if loggers.len() == LOGGERS_MAX {
                loggers.remove(0);
            }
            loggers.push((target.to_owned(), wit::Logger::new(target)));
            loggers.len() - 1
        });
        loggers[at].1.log(level, message);
    });
}

pub(super) fn log_flush() {
    LOGGERS.with_borrow(|loggers| {
        for (_, logger) in loggers {
            // `log::Log::flush` has no way to report; the host counts what it drops.
            let _ = logger.flush();
        }
    });
}

pub(super) fn config_get(key: &str) -> Result<Option<String>, StoreError> {
    Ok(wit::ConfigStore::new().get(key)?)
}

pub(super) fn config_set(key: &str, value: &str) -> Result<(), StoreError> {
    Ok(wit::ConfigStore::new().set(key, value)?)
}

pub(super) fn config_delete(key: &str) -> Result<(), StoreError> {
    Ok(wit::ConfigStore::new().delete(key)?)
}

pub(super) fn config_list(prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
    Ok(wit::ConfigStore::new().list_keys(prefix, after)?)
}

pub(super) fn env() -> Vec<(String, String)> {
    wit::get_environment()
}

pub(super) fn emit(event_type: &str, payload: &str) -> Result<(), EmitError> {
    Ok(wit::emit_event(event_type, payload)?)
}

pub(super) fn data_dir() -> Result<String, DirError> {
    wit::get_plugin_data_dir().map_err(|error| match error {
        wit::DirError::NotAvailable => DirError::NotAvailable,
        wit::DirError::Denied => DirError::Denied,
    })
}

pub(super) fn http_get(url: &str, headers: &[(&str, &str)]) -> Result<Response, HttpError> {
    Ok(wit::HttpClient::new().get(url, &owned(headers))?.into())
}

pub(super) fn http_post(
    url: &str,
    body: &[u8],
    headers: &[(&str, &str)],
) -> Result<Response, HttpError> {
    Ok(wit::HttpClient::new().post(url, body, &owned(headers))?.into())
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
    headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn send(message: Message) -> Result<(), MessageError> {
    Ok(wit_messaging::send(&message.into())?)
}

pub(super) fn request(message: Message, timeout_ms: Option<u32>) -> Result<Reply, MessageError> {
    let reply = wit_messaging::request(&message.into(), timeout_ms)?;
    Ok(Reply { request_id: reply.request_id, payload: reply.payload, success: reply.success })
}

impl From<wit::StoreError> for StoreError {
    fn from(error: wit::StoreError) -> Self {
        match error {
            wit::StoreError::NotAvailable => Self::NotAvailable,
            wit::StoreError::InvalidKey(max) => Self::InvalidKey(max),
            wit::StoreError::ValueTooLarge(max) => Self::ValueTooLarge(max),
            wit::StoreError::Full(max) => Self::Full(max),
            wit::StoreError::TooManyKeys(max) => Self::TooManyKeys(max),
            wit::StoreError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<wit::EmitError> for EmitError {
    fn from(error: wit::EmitError) -> Self {
        match error {
            wit::EmitError::NotAvailable => Self::NotAvailable,
            wit::EmitError::InvalidType => Self::InvalidType,
            wit::EmitError::PayloadTooLarge(max) => Self::PayloadTooLarge(max),
            wit::EmitError::QueueFull => Self::QueueFull,
            wit::EmitError::RateLimited(max) => Self::RateLimited(max),
        }
    }
}

impl From<wit::HttpError> for HttpError {
    fn from(error: wit::HttpError) -> Self {
        match error {
            wit::HttpError::NotAvailable => Self::NotAvailable,
            wit::HttpError::Denied(rule) => Self::Denied(rule),
            wit::HttpError::InvalidUrl(why) => Self::InvalidUrl(why),
            wit::HttpError::InvalidHeader(why) => Self::InvalidHeader(why),
            wit::HttpError::TooLarge(max) => Self::TooLarge(max),
            wit::HttpError::Timeout(ms) => Self::Timeout(ms),
            wit::HttpError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<wit::HttpResponse> for Response {
    fn from(response: wit::HttpResponse) -> Self {
        Self { status: response.status, headers: response.headers, body: response.body }
    }
}

impl From<Message> for wit_messaging::PluginMessage {
    fn from(message: Message) -> Self {
        Self {
            target: message.target,
            message_type: message.message_type,
            payload: message.payload,
            reply_to: message.reply_to,
        }
    }
}

impl From<wit_messaging::MessageError> for MessageError {
    fn from(error: wit_messaging::MessageError) -> Self {
        use wit_messaging::MessageError as Wit;
        match error {
            Wit::NotAvailable => Self::NotAvailable,
            Wit::UnknownTarget(target) => Self::UnknownTarget(target),
            Wit::Denied(target) => Self::Denied(target),
            Wit::QueueFull => Self::QueueFull,
            Wit::PayloadTooLarge(max) => Self::PayloadTooLarge(max),
            Wit::Timeout(ms) => Self::Timeout(ms),
            Wit::Cyclic(target) => Self::Cyclic(target),
            Wit::Failed(why) => Self::Failed(why),
            Wit::Closed => Self::Closed,
        }
    }
}
