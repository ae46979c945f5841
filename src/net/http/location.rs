//! Where an answer sends the client instead: references of RFC 3986 (5.2), as servers write them.

use super::error::HttpError;
use super::url::Url;

impl Url {
    /// The URL that `reference` means in an answer from this one: `http://...`, `//host/...`,
    /// `/path`, `path`, `?query` or nothing. Dot segments are taken out, a fragment is dropped, and
    /// what is not ASCII is written as `%..`.
    ///
    /// Errors: [`HttpError::BadUrl`], as [`parse`](Self::parse).
    ///
    /// ```
    /// use hardswitch::net::http::Url;
    ///
    /// let url = Url::parse("http://example.com/maps/list?page=2")?;
    /// assert_eq!(url.join("../skins/a.png")?.to_string(), "http://example.com/skins/a.png");
    /// # Ok::<(), hardswitch::net::http::HttpError>(())
    /// ```
    pub fn join(&self, reference: &str) -> Result<Url, HttpError> {
        let reference = escaped(reference);
        let reference = reference.split('#').next().unwrap_or("");
        if has_scheme(reference) {
            return dotless(&Url::parse(reference)?);
        }
        if let Some(elsewhere) = reference.strip_prefix("//") {
            return dotless(&Url::parse(&format!("http://{elsewhere}"))?);
        }
        let (path, query) = split(self.target());
        let (other, other_query) = split(reference);
        let target = match other {
            "" if other_query.is_empty() => format!("{path}{query}"),
            "" => format!("{path}{other_query}"),
            other if other.starts_with('/') => format!("{other}{other_query}"),
            other => {
                let folder = path.rfind('/').map_or("/", |end| &path[..=end]);
                format!("{folder}{other}{other_query}")
            }
        };
        dotless(&Url::parse(&format!(
            "http://{}{target}",
            self.authority()
        ))?)
    }

    /// Are both the same server?
    pub(super) fn is_same_server(&self, other: &Url) -> bool {
        self.host().eq_ignore_ascii_case(other.host()) && self.port() == other.port()
    }
}

/// Path, and query with its `?`.
fn split(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

fn has_scheme(reference: &str) -> bool {
    let end = reference.find([':', '/', '?']).unwrap_or(0);
    let scheme = &reference[..end];
    reference[end..].starts_with(':')
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

/// Blanks and what is not ASCII, as `%..`. Control characters stay, and are refused later.
fn escaped(reference: &str) -> String {
    let mut text = String::with_capacity(reference.len());
    for byte in reference.trim_matches(' ').bytes() {
        match byte {
            b' ' | 0x80.. => text.push_str(&format!("%{byte:02X}")),
            _ => text.push(byte.into()),
        }
    }
    text
}

/// The same URL without `.` and `..` in its path.
fn dotless(url: &Url) -> Result<Url, HttpError> {
    let (path, query) = split(url.target());
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    Url::parse(&format!(
        "http://{}/{}{query}",
        url.authority(),
        kept.join("/")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of RFC 3986, 5.4, but for other schemes and fragments.
    #[test]
    fn references_mean_what_the_rfc_says() {
        let base = Url::parse("http://a/b/c/d;p?q").unwrap();
        let table = [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("g;x", "http://a/b/c/g;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("../../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            (".g", "http://a/b/c/.g"),
            ("g..", "http://a/b/c/g.."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/./h", "http://a/b/c/g/h"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/./y", "http://a/b/c/g;x=1/y"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/./x", "http://a/b/c/g?y/./x"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            ("http://h:81/x/../y", "http://h:81/y"),
            ("HTTP://h", "http://h/"),
            ("a b/\u{e9}", "http://a/b/c/a%20b/%C3%A9"),
            ("g?u=http://x", "http://a/b/c/g?u=http://x"),
        ];
        for (reference, url) in table {
            let joined = base.join(reference).unwrap().to_string();
            assert_eq!(joined, url, "{reference:?}");
        }
        for reference in [
            "g:h", "ftp://h/", "http://", "//u:p@h/", "a\u{7f}b", "http:x",
        ] {
            let refused = base.join(reference);
            assert!(
                matches!(refused, Err(HttpError::BadUrl { .. })),
                "{reference:?}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_reference_keeps_the_port_of_its_server() {
        let base = Url::parse("http://[::1]:8080/a/b").unwrap();
        assert_eq!(base.join("c").unwrap().to_string(), "http://[::1]:8080/a/c");
        assert_eq!(base.join("//h/c").unwrap().to_string(), "http://h/c");
    }
}
