//! The host's own services.

use guest_sdk::{
    bindings::toolsku::host_api::host_services::{
        ConfigStore, HttpClient, LogLevel, Logger, emit_event, get_environment,
    },
    http,
};

use crate::{FORGED, Order};

pub(crate) fn obey(order: &Order<'_>) -> Option<String> {
    let number = |at| order.number(at) as usize;
    let long = |at| "k".repeat(number(at));
    let store = ConfigStore::new;
    Some(match order.command {
        "loggers" => {
            for _ in 0..number(0) {
                Logger::new(&long(1)).log(LogLevel::Info, "said");
            }
            "made".to_owned()
        }
        "loggers-held" => {
            let held: Vec<_> = (0..number(0)).map(|_| Logger::new("held")).collect();
            held.len().to_string()
        }
        "log-long" => {
            Logger::new(FORGED).log(LogLevel::Error, &long(0));
            "said".to_owned()
        }
        "log-storm" => {
            let logger = Logger::new("storm");
            (0..number(0)).for_each(|_| logger.log(LogLevel::Info, "never flushed"));
            format!("{:?}", logger.flush())
        }
        "config-key" => format!("{:?}", store().set(&long(0), "x")),
        "config-value" => format!("{:?}", store().set("x", &long(0))),
        "config-many" => {
            let store = store();
            let kept = (0..number(0)).take_while(|n| store.set(&format!("k{n}"), "").is_ok());
            let kept = kept.count();
            let page = store.list_keys("", None).map(|keys| keys.len());
            format!("{kept} {page:?}")
        }
        "config-set" => format!("{:?}", store().set(order.word(0), order.word(1))),
        "config-get" => format!("{:?}", store().get(order.word(0))),
        "config-list" => format!("{:?}", store().list_keys(order.word(0), None)),
        "config-prefix" => format!("{:?}", store().list_keys(&long(0), Some(&long(0)))),
        "emit" => {
            let taken = (0..number(0)).take_while(|_| emit_event("a.b", "x").is_ok());
            taken.count().to_string()
        }
        "emit-storm" => {
            let mut refused = 0_u32;
            for _ in 0..number(0) {
                refused += u32::from(emit_event("a.b", "x").is_err());
            }
            format!("{refused} refused")
        }
        "emit-type" => format!("{:?}", emit_event(&long(0), "x")),
        "emit-payload" => format!("{:?}", emit_event("a.b", &long(0))),
        "emit-forged" => format!("{:?}", emit_event(FORGED, FORGED)),
        "environment" => format!("{:?}", get_environment()),
        "http-fields" => {
            let fields: Vec<_> = (0..number(1)).map(|n| (format!("x-{n}"), long(2))).collect();
            format!("{:?}", HttpClient::new().get(order.word(0), &fields).map(|reply| reply.status))
        }
        "http-field" => {
            let value = order.word(2).replace("CRLF", "\r\n").replace('_', " ");
            let fields = [(order.word(1).to_owned(), value)];
            format!("{:?}", HttpClient::new().get(order.word(0), &fields).map(|reply| reply.status))
        }
        "http-body" => format!("{:?}", http::post(order.word(0), &vec![b'x'; number(1)], &[])),
        "http-storm" => {
            let answered = (0..number(1)).filter(|_| http::get(order.word(0), &[]).is_ok());
            answered.count().to_string()
        }
        _ => return None,
    })
}
