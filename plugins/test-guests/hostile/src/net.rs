//! The network, below the standard library.

use std::net::UdpSocket;

use wasip2::{
    http::outgoing_handler,
    http::types::{
        Fields, Headers, IncomingBody, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
    },
    sockets::{
        instance_network::instance_network,
        ip_name_lookup::resolve_addresses,
        network::{IpAddressFamily, IpSocketAddress, Ipv4SocketAddress},
        tcp_create_socket::create_tcp_socket,
        udp_create_socket::create_udp_socket,
    },
};

use crate::Order;

pub(crate) fn obey(order: &Order<'_>) -> Option<String> {
    let number = |at| order.number(at);
    Some(match order.command {
        "sockets" => {
            let family = IpAddressFamily::Ipv4;
            let tcp = (0..number(0)).map_while(|_| create_tcp_socket(family).ok());
            let tcp: Vec<_> = tcp.collect();
            let udp = (0..number(0)).map_while(|_| create_udp_socket(family).ok());
            let udp: Vec<_> = udp.collect();
            (tcp.len() + udp.len()).to_string()
        }
        "lookups" => {
            let network = instance_network();
            let mut begun = Vec::new();
            for n in 0..number(1) {
                match resolve_addresses(&network, &format!("n{n}.{}", order.word(0))) {
                    Ok(stream) => begun.push(stream),
                    Err(code) => return Some(format!("{} {}", begun.len(), code.name())),
                }
            }
            begun.len().to_string()
        }
        "lookup" => match resolve_addresses(&instance_network(), order.word(0)) {
            Ok(stream) => {
                stream.subscribe().block();
                format!("{:?}", stream.resolve_next_address())
            }
            Err(code) => code.name().to_owned(),
        },
        "udp-many" => udp_many(number(0)),
        "tcp-options" => tcp_options(number(0)),
        "listen-v4" => listen(order),
        "fields-many" => fields_many(number(0), number(1)),
        "wasi-url" => wasi_url(order),
        "wasi-body" => wasi_body(order.word(0), number(1)),
        _ => return None,
    })
}

/// Sends to one address after another; how often that went well.
fn udp_many(times: u64) -> String {
    let Ok(socket) = UdpSocket::bind("0.0.0.0:0") else { return "no socket".to_owned() };
    let sent = (0..times).filter(|n| {
        let to = format!("127.{}.{}.1:9", n / 256 % 256, n % 256);
        socket.send_to(b"x", to).is_ok()
    });
    sent.count().to_string()
}

/// Sets every number of a socket to one that nobody would.
fn tcp_options(value: u64) -> String {
    let socket = match create_tcp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(code) => return code.name().to_owned(),
    };
    let told: Vec<bool> = vec![
        socket.set_listen_backlog_size(value).is_ok(),
        socket.set_keep_alive_idle_time(value).is_ok(),
        socket.set_keep_alive_interval(value).is_ok(),
        socket.set_keep_alive_count(value as u32).is_ok(),
        socket.set_hop_limit(value as u8).is_ok(),
        socket.set_receive_buffer_size(value).is_ok(),
        socket.set_send_buffer_size(value).is_ok(),
    ];
    format!("{} of {}", told.iter().filter(|ok| **ok).count(), told.len())
}

fn listen(order: &Order<'_>) -> String {
    let socket = match create_tcp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => socket,
        Err(code) => return code.name().to_owned(),
    };
    let octet = |at| order.number(at) as u8;
    let address = (octet(0), octet(1), octet(2), octet(3));
    let at = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: order.number(4) as u16, address });
    let network = instance_network();
    let bound = socket.start_bind(&network, at).and_then(|()| socket.finish_bind());
    let listening =
        bound.and_then(|()| socket.start_listen()).and_then(|()| socket.finish_listen());
    match listening {
        Ok(()) => "listening".to_owned(),
        Err(code) => code.name().to_owned(),
    }
}

fn fields_many(times: u64, bytes: u64) -> String {
    let (fields, value) = (Fields::new(), vec![b'v'; bytes as usize]);
    let taken = (0..times).take_while(|n| fields.append(&format!("x-{n}"), &value).is_ok());
    taken.count().to_string()
}

/// `wasi:http` takes scheme, authority and path one by one: each may be nonsense. Words: scheme, authority,
/// path, then a field's name and value, and a time-out.
fn wasi_url(order: &Order<'_>) -> String {
    let headers = Headers::new();
    if !order.word(3).is_empty() {
        let value = order.word(4).replace("CRLF", "\r\n");
        if let Err(error) = headers.append(order.word(3), value.as_bytes()) {
            return format!("{error:?}");
        }
    }
    let request = OutgoingRequest::new(headers);
    let scheme = match order.word(0) {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    if request.set_scheme(Some(&scheme)).is_err() {
        return "no such scheme".to_owned();
    }
    if request.set_authority(Some(order.word(1))).is_err() {
        return "no such authority".to_owned();
    }
    if request.set_path_with_query(Some(order.word(2))).is_err() {
        return "no such path".to_owned();
    }
    let options = RequestOptions::new();
    let time = (!order.word(5).is_empty()).then(|| order.number(5));
    let _ = options.set_connect_timeout(time);
    let _ = options.set_first_byte_timeout(time);
    let _ = options.set_between_bytes_timeout(time);
    send(request, Some(options))
}

fn send(request: OutgoingRequest, options: Option<RequestOptions>) -> String {
    let answer = match outgoing_handler::handle(request, options) {
        Ok(answer) => answer,
        Err(code) => return format!("{code:?}"),
    };
    answer.subscribe().block();
    match answer.get() {
        Some(Ok(Ok(response))) => {
            let status = response.status();
            let bytes = response.consume().ok().map(drain).unwrap_or_default();
            format!("{status} {bytes}")
        }
        other => format!("{other:?}"),
    }
}

/// Reads a body to its end.
fn drain(body: IncomingBody) -> u64 {
    let mut bytes = 0;
    if let Ok(stream) = body.stream() {
        while let Ok(read) = stream.blocking_read(64 << 10) {
            bytes += read.len() as u64;
        }
    }
    bytes
}

/// A request whose body has no end, as far as it is let.
fn wasi_body(authority: &str, blocks: u64) -> String {
    let request = OutgoingRequest::new(Headers::new());
    let set = request.set_method(&wasip2::http::types::Method::Post).is_ok()
        && request.set_scheme(Some(&Scheme::Http)).is_ok()
        && request.set_authority(Some(authority)).is_ok()
        && request.set_path_with_query(Some("/")).is_ok();
    let (true, Ok(body)) = (set, request.body()) else { return "no request".to_owned() };
    let Ok(stream) = body.write() else { return "no stream".to_owned() };
    let answer = match outgoing_handler::handle(request, None) {
        Ok(answer) => answer,
        Err(code) => return format!("{code:?}"),
    };
    let block = [b'x'; 4096];
    let sent = (0..blocks).take_while(|_| stream.blocking_write_and_flush(&block).is_ok()).count();
    drop(stream);
    let finished = OutgoingBody::finish(body, None).is_ok();
    answer.subscribe().block();
    format!(
        "{sent} {finished} {:?}",
        answer.get().map(|got| got.map(|got| got.map(|r| r.status())))
    )
}
