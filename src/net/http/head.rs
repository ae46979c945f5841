//! The head of an answer: its status line and header fields.

use super::http_error::HttpError;
use super::input::Input;
use super::limits::Limits;
use std::io::Read;

/// Status and header fields.
pub struct Head {
    pub status: u16,
    pub reason: String,
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads the head of the final answer; those of interim answers are skipped.
    pub fn read_final<S: Read>(input: &mut Input<S>, limits: Limits) -> Result<Head, HttpError> {
        let mut left = limits.head;
        let mut interim = 0;
        loop {
            let head = Head::read(input, &mut left, limits.head)?;
            match head.status {
                101 => return Err(HttpError::Unsupported("another protocol (101)")),
                100..=199 if interim == limits.interim => {
                    return Err(HttpError::TooManyInterim(limits.interim))
                }
                100..=199 => interim += 1,
                200..=999 => return Ok(head),
                _ => return Err(HttpError::BadAnswer("its status")),
            }
        }
    }

    /// `left`: how many of the `all` bytes are left for this head and all others.
    fn read<S: Read>(
        input: &mut Input<S>,
        left: &mut usize,
        all: usize,
    ) -> Result<Head, HttpError> {
        input.begins_with(b"HTTP/1.")?;
        let mut bytes = Vec::with_capacity(512);
        let mut lines = 0;
        loop {
            let line = input.line(*left, all)?.ok_or(HttpError::ShortHead)?;
            *left -= line.len();
            bytes.extend_from_slice(&line);
            lines += 1;
            if is_empty(&line) {
                return Head::parse(&bytes, lines);
            }
        }
    }

    /// Parses a head of this many lines.
    fn parse(bytes: &[u8], lines: usize) -> Result<Head, HttpError> {
        // It is on the heap because tasklets' stacks are small.
        let mut fields = vec![httparse::EMPTY_HEADER; lines];
        let mut answer = httparse::Response::new(&mut fields);
        let mut parser = httparse::ParserConfig::default();
        // A field may be folded: it continues in the next line, which begins with a blank (RFC
        // 9112, 5.2).
        parser.allow_obsolete_multiline_headers_in_responses(true);
        match parser.parse_response(&mut answer, bytes) {
            Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
            Ok(_) => return Err(HttpError::BadAnswer("its head is incomplete")),
            Err(httparse::Error::Version) => return Err(HttpError::NotHttp),
            Err(httparse::Error::Status) => return Err(HttpError::BadAnswer("its status line")),
            Err(_) => return Err(HttpError::BadAnswer("its header fields")),
        }
        Ok(Head {
            status: answer.code.unwrap_or(0),
            reason: answer.reason.unwrap_or("").to_owned(),
            fields: answer
                .headers
                .iter()
                .map(|field| (field.name.to_owned(), text(field.value)))
                .collect(),
        })
    }

    /// The values of all fields of that name (upper and lower case are the same).
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |field| field.0.eq_ignore_ascii_case(name))
            .map(|field| field.1.as_str())
    }
}

/// Is it the empty line that ends a head?
pub fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\r\n" | b"\n")
}

/// The value of a field, with a single space where it is folded.
fn text(value: &[u8]) -> String {
    if !value.contains(&b'\n') {
        return String::from_utf8_lossy(value).into_owned();
    }
    let parts = value.split(|b| *b == b'\n').map(<[u8]>::trim_ascii);
    let parts: Vec<&[u8]> = parts.filter(|part| !part.is_empty()).collect();
    String::from_utf8_lossy(&parts.join(&b' ')).into_owned()
}
