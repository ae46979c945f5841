//! How the end of a body is recognised, and how much of it is still to come.

use super::head::Head;
use super::http_error::HttpError;

/// How the rest of the body is read.
pub enum Body {
    Length { left: u64, of: u64 },
    Chunked(Chunk),
    UntilEnd,
    Done,
}

/// The part of a chunked body that comes next.
pub enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailer,
}

impl Head {
    /// How the end of the body is recognised (RFC 9112, 6.3).
    pub fn body(&self) -> Result<Body, HttpError> {
        if matches!(self.status, 204 | 304) {
            return Ok(Body::Done);
        }
        let codings: Vec<&str> = self
            .all("transfer-encoding")
            .flat_map(|v| v.split(','))
            .map(str::trim)
            .filter(|v| !v.is_empty())
            .collect();
        match codings[..] {
            [] => {}
            [coding] if coding.eq_ignore_ascii_case("chunked") => {
                return Ok(Body::Chunked(Chunk::Size))
            }
            _ => {
                return Err(HttpError::Unsupported(
                    "a transfer coding other than chunked",
                ))
            }
        }
        let mut length = None;
        for value in self
            .all("content-length")
            .flat_map(|v| v.split(','))
            .map(str::trim)
        {
            let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let n = value
                .parse::<u64>()
                .ok()
                .filter(|_| digits)
                .ok_or(HttpError::BadAnswer("its Content-Length"))?;
            if length.is_some_and(|length| length != n) {
                return Err(HttpError::BadAnswer("it has two Content-Lengths"));
            }
            length = Some(n);
        }
        Ok(match length {
            Some(0) => Body::Done,
            Some(n) => Body::Length { left: n, of: n },
            None => Body::UntilEnd,
        })
    }
}
