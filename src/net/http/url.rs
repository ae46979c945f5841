//! The parts of a URL.

use super::error::{beginning, HttpError};
use std::fmt;

/// The parts of an `http://` URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    host: String,
    port: u16,
    target: String,
}

impl Url {
    /// Splits `http://host[:port][/path][?query]` into its parts; a `#fragment` is dropped, an IPv6
    /// host stands in brackets.
    ///
    /// Errors: [`HttpError::BadUrl`] for another scheme, user names, an empty host, an invalid
    /// port, blanks or control characters or anything else that is not ASCII (write those as
    /// `%..`).
    pub fn parse(url: &str) -> Result<Url, HttpError> {
        let bad = |why| HttpError::BadUrl {
            url: beginning(url),
            why,
        };
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad("it contains a character that has to be written as %.."));
        }
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| bad("it does not start with http://"))?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(bad("https is not supported"));
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(bad("it does not start with http://"));
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("user names in URLs are not supported"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6
                    .split_once(']')
                    .ok_or_else(|| bad("the ] of its host is missing"))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(bad("its host is no IPv6 address"));
                }
                match port {
                    "" => (host, None),
                    port => (
                        host,
                        Some(
                            port.strip_prefix(':')
                                .ok_or_else(|| bad("what follows the ] is no port"))?,
                        ),
                    ),
                }
            }
            None => authority
                .split_once(':')
                .map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = match port {
            None | Some("") => 80,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => port
                .parse()
                .ok()
                .filter(|p| *p != 0)
                .ok_or_else(|| bad("its port is not in 1 to 65535"))?,
            Some(_) => return Err(bad("its port is no number")),
        };
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Url {
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// The host: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }
    /// The port; 80 by default.
    pub fn port(&self) -> u16 {
        self.port
    }
    /// Path and query, which are sent in the request line.
    pub fn target(&self) -> &str {
        &self.target
    }
    /// `host` or `host:port`, as the `Host` header wants it.
    pub fn authority(&self) -> String {
        let v6 = self.host.contains(':');
        let (open, close) = if v6 { ("[", "]") } else { ("", "") };
        match self.port {
            80 => format!("{open}{}{close}", self.host),
            port => format!("{open}{}{close}:{port}", self.host),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

impl std::str::FromStr for Url {
    type Err = HttpError;
    fn from_str(url: &str) -> Result<Url, HttpError> {
        Url::parse(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let parts = |url: &str| {
            let url = Url::parse(url).unwrap();
            (
                url.host().to_owned(),
                url.port(),
                url.target().to_owned(),
                url.authority(),
            )
        };
        let of = |h: &str, p, t: &str, a: &str| (h.to_owned(), p, t.to_owned(), a.to_owned());
        assert_eq!(
            parts("http://example.com"),
            of("example.com", 80, "/", "example.com")
        );
        assert_eq!(
            parts("HTTP://127.0.0.1:8080/a/b?c=d#e"),
            of("127.0.0.1", 8080, "/a/b?c=d", "127.0.0.1:8080")
        );
        assert_eq!(parts("http://[::1]:81?q"), of("::1", 81, "/?q", "[::1]:81"));
        assert_eq!(parts("http://[::1]"), of("::1", 80, "/", "[::1]"));
        assert_eq!(
            Url::parse("http://h:80/x").unwrap().to_string(),
            "http://h/x"
        );
        let bad = [
            ("ftp://h/", "it does not start with http://"),
            ("h/x", "it does not start with http://"),
            ("https://h/", "https is not supported"),
            ("http:///x", "it has no host"),
            ("http://:80/", "it has no host"),
            ("http://h:x/", "its port is no number"),
            ("http://h:+8/", "its port is no number"),
            ("http://h:0/", "its port is not in 1 to 65535"),
            ("http://h:65536/", "its port is not in 1 to 65535"),
            ("http://u:p@h/", "user names in URLs are not supported"),
            ("http://[::1/", "the ] of its host is missing"),
            ("http://[h]/", "its host is no IPv6 address"),
            ("http://[::1]x/", "what follows the ] is no port"),
            (
                "http://h/a b",
                "it contains a character that has to be written as %..",
            ),
            (
                "http://h/\r\nEvil: 1",
                "it contains a character that has to be written as %..",
            ),
            (
                "http://h/\u{e9}",
                "it contains a character that has to be written as %..",
            ),
        ];
        for (url, why) in bad {
            match Url::parse(url) {
                Err(HttpError::BadUrl { why: found, .. }) => assert_eq!(found, why, "{url}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
