//! What a guest asks of HTTP: reads URLs and header fields, and refuses what is not its to say.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use url::Url;

use super::{HttpRefused, names::Host};

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 8 << 10;
/// Header fields of one message.
pub(super) const FIELDS_MAX: usize = 128;
/// Names and values of all header fields of one message, in bytes.
pub(super) const FIELDS_BYTES_MAX: usize = 64 << 10;

/// Where a request goes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// In the one spelling that is sent, without user, password and fragment.
    pub(super) url: Url,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl Target {
    /// Reads an absolute `http` or `https` URL.
    pub(super) fn parse(text: &str) -> Result<Self, HttpRefused> {
        if text.len() > URL_BYTES_MAX {
            return Err(invalid("longer than 8,192 bytes"));
        }
        // The standard would have them dropped without a word.
        if text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(invalid("white space or a control character"));
        }
        Self::new(Url::parse(text).map_err(|error| invalid(&error.to_string()))?)
    }

    /// Where `location`, as an answer gave it, leads from here.
    pub(super) fn join(&self, location: &HeaderValue) -> Result<Self, HttpRefused> {
        let text = location.to_str().map_err(|_| invalid("a redirect that is not ASCII"))?;
        if text.len() > URL_BYTES_MAX {
            return Err(invalid("a redirect of more than 8,192 bytes"));
        }
        Self::new(self.url.join(text).map_err(|error| invalid(&error.to_string()))?)
    }

    fn new(mut url: Url) -> Result<Self, HttpRefused> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("neither http nor https"));
        }
        // What stands before an `@` is easily read as the host.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("user or password in it"));
        }
        let host = match url.host() {
            Some(url::Host::Ipv4(address)) => Host::Address(address.into()),
            Some(url::Host::Ipv6(address)) => Host::Address(address.into()),
            Some(url::Host::Domain(name)) => {
                Host::name(name).ok_or_else(|| invalid("no host name"))?
            }
            None => return Err(invalid("no host")),
        };
        if let Host::Name(name) = &host {
            url.set_host(Some(name)).map_err(|error| invalid(&error.to_string()))?;
        }
        let port = url.port_or_known_default().filter(|port| *port != 0);
        let port = port.ok_or_else(|| invalid("no port"))?;
        url.set_fragment(None);
        Ok(Self { url, host, port })
    }

    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    pub(super) fn is_same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// Host and port: what may be told. Paths and queries carry secrets.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.url.host_str().unwrap_or_default(), self.port)
    }
}

fn invalid(why: &str) -> HttpRefused {
    HttpRefused::InvalidUrl { why: why.to_owned() }
}

/// Fields about the connection, which is the host's.
const OF_THE_CONNECTION: [HeaderName; 9] = [
    header::CONNECTION,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    header::EXPECT,
];

/// Whether a field is about the connection or a proxy.
pub(super) fn is_forbidden(name: &HeaderName) -> bool {
    OF_THE_CONNECTION.contains(name) || name.as_str().starts_with("proxy-")
}

/// Reads the header fields of a request whose body the host sends as a whole.
pub(super) fn headers(fields: &[(String, String)]) -> Result<HeaderMap, HttpRefused> {
    let refused = |why: String| HttpRefused::InvalidHeader { why };
    let bytes: usize = fields.iter().map(|(name, value)| name.len() + value.len()).sum();
    if fields.len() > FIELDS_MAX || bytes > FIELDS_BYTES_MAX {
        return Err(refused(format!(
            "more than {FIELDS_MAX} fields, or more than {FIELDS_BYTES_MAX} bytes"
        )));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            return Err(refused("a name with characters that names do not have".to_owned()));
        };
        if is_forbidden(&name) || name == header::CONTENT_LENGTH {
            return Err(refused(format!("`{name}` is set by the host")));
        }
        let Ok(value) = HeaderValue::from_str(value) else {
            return Err(refused(format!("`{name}` has control characters in its value")));
        };
        // Cannot fail at this size; a map that is full is refused, not a panic.
        if headers.try_append(name, value).is_err() {
            return Err(refused(format!("more than {FIELDS_MAX} fields")));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::{Host, Target, headers};

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = match Target::parse(text) {
            Ok(target) => {
                let host = match target.host {
                    Host::Name(name) => name,
                    Host::Address(address) => format!("<{address}>"),
                };
                Ok(format!("{host} {} {}", target.port, target.url))
            }
            Err(error) => Err(error.to_string()),
        };
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text:?}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{text:?}: {found}"),
            (found, expected) => panic!("{text:?}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn urls_have_one_spelling() {
        check(
            "https://API.Example.com./a?b#c",
            Ok("api.example.com 443 https://api.example.com/a?b"),
        );
        check(
            "http://bücher.example:8080",
            Ok("xn--bcher-kva.example 8080 http://xn--bcher-kva.example:8080/"),
        );
        check("http://a.test:80/", Ok("a.test 80 http://a.test/"));
        for spelling in ["127.1", "2130706433", "0x7f.1", "0177.1", "127.0.0.1.", "%3127.0.0.1"] {
            check(&format!("http://{spelling}/"), Ok("<127.0.0.1> 80 http://127.0.0.1/"));
        }
        check("http://[::ffff:127.0.0.1]:1/", Ok("<::ffff:127.0.0.1> 1 http://[::ffff:7f00:1]:1/"));
    }

    #[test]
    fn other_urls_are_refused() {
        check("ftp://a.test/", Err("neither http nor https"));
        check("file:///etc/passwd", Err("neither http nor https"));
        check("gopher://a.test/", Err("neither http nor https"));
        check("unix:/run/docker.sock", Err("neither http nor https"));
        check("/relative", Err("relative URL"));
        check("http://api.example.com@evil.test/", Err("user or password"));
        check("http://user:secret@a.test/", Err("user or password"));
        check("http://a.test\r\nHost: b.test/", Err("control character"));
        check("http://a.te\tst/", Err("control character"));
        check(" http://a.test/", Err("white space"));
        check("http://a.test:0/", Err("no port"));
        check("http://a..test/", Err("no host name"));
        check("http:///", Err("empty host"));
        check(&format!("http://a.test/{}", "a".repeat(9_000)), Err("longer than"));
    }

    #[track_caller]
    fn check_field(name: &str, value: &str, expected: &str) {
        let found = match headers(&[(name.to_owned(), value.to_owned())]) {
            Ok(headers) => format!("{headers:?}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{name:?}: {found}");
    }

    #[test]
    fn fields_of_the_connection_are_the_hosts() {
        check_field("X-Trace", "1", r#""x-trace": "1""#);
        check_field("authorization", "Bearer x", "authorization");
        for name in [
            "Host",
            "connection",
            "Content-Length",
            "transfer-encoding",
            "TE",
            "upgrade",
            "proxy-authorization",
            "Proxy-Anything",
            "keep-alive",
            "expect",
            "trailer",
        ] {
            check_field(name, "x", "is set by the host");
        }
    }

    #[test]
    fn fields_cannot_end_before_their_time() {
        check_field("x-a", "1\r\nHost: evil.test", "control characters");
        check_field("x-a", "1\0", "control characters");
        check_field("x-a: 1\r\nx-b", "1", "characters that names do not have");
        check_field("", "1", "characters that names do not have");
    }

    #[test]
    fn fields_are_bounded_in_number_and_bytes() {
        let many = |n: usize, bytes: usize| {
            let fields: Vec<_> = (0..n).map(|i| (format!("x-{i}"), "v".repeat(bytes))).collect();
            headers(&fields).map(|headers| headers.len())
        };
        assert_eq!(many(128, 1).unwrap(), 128);
        assert!(many(129, 1).is_err() && many(40_000, 1).is_err());
        assert!(many(10, 6_000).is_ok() && many(10, 7_000).is_err());
    }
}
