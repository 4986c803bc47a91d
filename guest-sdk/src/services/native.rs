//! The services, answered in memory for native tests. State belongs to the thread, so tests that
//! run side by side do not see each other.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::DirError;
use super::config::StoreError;
use super::events::EmitError;
use super::http::{HttpError, Response};
use super::messaging::{Message, MessageError, Reply};
use crate::testing::{EmittedEvent, LogLine};

/// Limits as the contract states them, so that a test meets them too.
const KEY_BYTES_MAX: usize = 256;
const VALUE_BYTES_MAX: usize = 64 * 1024;
const KEYS_MAX: usize = 1024;
const PAGE: usize = 256;
const EVENT_TYPE_BYTES_MAX: usize = 128;

#[derive(Default)]
pub(crate) struct Host {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) events: Vec<EmittedEvent>,
    pub(crate) data_dir: Option<String>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

pub(crate) fn with<R>(use_it: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with_borrow_mut(use_it)
}

pub(super) fn log(level: log::Level, target: &str, message: &str) {
    let line = LogLine { level, target: target.to_owned(), message: message.to_owned() };
    with(|host| host.lines.push(line));
}

pub(super) fn log_flush() {}

pub(super) fn config_get(key: &str) -> Result<Option<String>, StoreError> {
    check_key(key)?;
    Ok(with(|host| host.config.get(key).cloned()))
}

pub(super) fn config_set(key: &str, value: &str) -> Result<(), StoreError> {
    check_key(key)?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLarge(VALUE_BYTES_MAX as u64));
    }
    with(|host| {
        if host.config.len() >= KEYS_MAX && !host.config.contains_key(key) {
            return Err(StoreError::TooManyKeys(KEYS_MAX as u32));
        }
        host.config.insert(key.to_owned(), value.to_owned());
        Ok(())
    })
}

pub(super) fn config_delete(key: &str) -> Result<(), StoreError> {
    check_key(key)?;
    with(|host| host.config.remove(key));
    Ok(())
}

pub(super) fn config_list(prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
    Ok(with(|host| {
        let keys = host.config.keys();
        keys.filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
            .take(PAGE)
            .cloned()
            .collect()
    }))
}

fn check_key(key: &str) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX || key.chars().any(char::is_control) {
        return Err(StoreError::InvalidKey(KEY_BYTES_MAX as u32));
    }
    Ok(())
}

pub(super) fn env() -> Vec<(String, String)> {
    with(|host| host.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect())
}

pub(super) fn emit(event_type: &str, payload: &str) -> Result<(), EmitError> {
    let valid = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    if !(1..=EVENT_TYPE_BYTES_MAX).contains(&event_type.len()) || !event_type.bytes().all(valid) {
        return Err(EmitError::InvalidType);
    }
    let event = EmittedEvent { event_type: event_type.to_owned(), payload: payload.to_owned() };
    with(|host| host.events.push(event));
    Ok(())
}

pub(super) fn data_dir() -> Result<String, DirError> {
    with(|host| host.data_dir.clone()).ok_or(DirError::NotAvailable)
}

pub(super) fn http_get(_url: &str, _headers: &[(&str, &str)]) -> Result<Response, HttpError> {
    Err(HttpError::NotAvailable)
}

pub(super) fn http_post(
    _url: &str,
    _body: &[u8],
    _headers: &[(&str, &str)],
) -> Result<Response, HttpError> {
    Err(HttpError::NotAvailable)
}

pub(super) fn send(_message: Message) -> Result<(), MessageError> {
    Err(MessageError::NotAvailable)
}

pub(super) fn request(_message: Message, _timeout_ms: Option<u32>) -> Result<Reply, MessageError> {
    Err(MessageError::NotAvailable)
}
