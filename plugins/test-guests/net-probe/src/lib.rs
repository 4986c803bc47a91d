//! Tells how far it gets into the network. The input is a command line, the output what came of it.
//!
//! | command                  | does                                                    | says, if it may      |
//! |--------------------------|---------------------------------------------------------|----------------------|
//! | `tcp-connect ADDR`       | connects                                                | `connected`          |
//! | `tcp-exchange ADDR TEXT` | connects, sends a line, reads one                       | that line            |
//! | `listen ADDR`            | binds and listens                                       | `listening on ADDR`  |
//! | `udp-bind ADDR`          | binds                                                   | `bound to ADDR`      |
//! | `udp-send ADDR`          | sends `ping` from any port                              | `sent 4`             |
//! | `udp-exchange ADDR`      | sends `ping` to a fixed peer, and waits for its answer  | the answer           |
//! | `lookup NAME`            | resolves                                                | addresses and spaces |
//! | `http-get URL`           | fetches with the host's client                          | status and body      |
//! | `wasi-http URL`          | fetches through `wasi:http`                             | status and body      |
//! | `many-sockets N`         | makes sockets, and keeps them for this call             | `made N`             |
//!
//! `ADDR` is an address or a name, and a port. What is refused is said as `error: ` and the reason.

mod outgoing;

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket},
};

use guest_sdk::{http, prelude::*};
use wasip2::sockets::{network::IpAddressFamily, tcp_create_socket::create_tcp_socket};

struct Probe;

impl Plugin for Probe {
    fn initialize() -> Result<Self> {
        Ok(Self)
    }
}

impl Processor for Probe {
    type Options = ();

    fn process(&self, input: Input, (): ()) -> Result<Output> {
        let line = input.text()?;
        let mut words = line.split_whitespace();
        let (command, to) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let text = words.next().unwrap_or_default();
        let said = match command {
            "tcp-connect" => told(TcpStream::connect(to).map(|_| "connected".to_owned())),
            "tcp-exchange" => told(exchange(to, text)),
            "listen" => told(listen(to)),
            "udp-bind" => told(udp_bind(to)),
            "udp-send" => told(udp_send(to)),
            "udp-exchange" => told(udp_exchange(to)),
            "lookup" => told(lookup(to)),
            "http-get" => match http::get(to, &[]) {
                Ok(reply) => format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)),
                Err(error) => format!("error: {error:?}"),
            },
            "wasi-http" => outgoing::get(to).unwrap_or_else(|error| format!("error: {error}")),
            "many-sockets" => many(to.parse().context("how many sockets")?),
            other => bail!("unknown command `{other}`"),
        };
        Ok(Output::text(said))
    }
}

fn told(result: io::Result<String>) -> String {
    result.unwrap_or_else(|error| format!("error: {:?}", error.kind()))
}

fn exchange(to: &str, line: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}

fn listen(to: &str) -> io::Result<String> {
    let listener = TcpListener::bind(to)?;
    Ok(format!("listening on {}", listener.local_addr()?))
}

fn udp_bind(to: &str) -> io::Result<String> {
    let socket = UdpSocket::bind(to)?;
    Ok(format!("bound to {}", socket.local_addr()?))
}

fn udp_send(to: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    Ok(format!("sent {}", socket.send_to(b"ping", to)?))
}

fn udp_exchange(to: &str) -> io::Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.send(b"ping")?;
    let mut answer = [0; 256];
    let bytes = socket.recv(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..bytes]).into_owned())
}

fn lookup(name: &str) -> io::Result<String> {
    let found = (name, 0).to_socket_addrs()?;
    let addresses: Vec<String> = found.map(|address| address.ip().to_string()).collect();
    Ok(addresses.join(" "))
}

fn many(number: usize) -> String {
    let mut sockets = Vec::new();
    while sockets.len() < number {
        match create_tcp_socket(IpAddressFamily::Ipv4) {
            Ok(socket) => sockets.push(socket),
            Err(error) => return format!("made {}, then error: {}", sockets.len(), error.name()),
        }
    }
    format!("made {}", sockets.len())
}

guest_sdk::processor_plugin!(Probe);

#[cfg(test)]
mod tests {
    use super::*;
    use guest_sdk::testing::Harness;

    #[test]
    fn commands_say_what_came_of_them() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let mut probe = Harness::<Probe>::new().unwrap();
        let mut say =
            |line: &str| String::from_utf8(probe.process(line, "").unwrap().bytes).unwrap();
        assert_eq!(say(&format!("tcp-connect {at}")), "connected");
        drop(listener);
        assert_eq!(say(&format!("tcp-connect {at}")), "error: ConnectionRefused");
        assert!(say("listen 127.0.0.1:0").starts_with("listening on 127.0.0.1:"));
        assert_eq!(say("lookup 127.0.0.1"), "127.0.0.1");
        assert_eq!(say("http-get http://127.0.0.1/"), "error: NotAvailable");
        assert!(probe.process("dance", "").is_err());
    }
}
