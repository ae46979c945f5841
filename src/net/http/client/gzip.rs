//! Bodies that come compressed.

use super::super::http_error::HttpError;
use bytes::{Buf, Bytes};
use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, ErrorKind, Read};

/// How much is unpacked at a time.
const PIECE: usize = 16 * 1024;

/// What has come of the body. Beyond it a read would have to wait, and this does not.
#[derive(Default)]
struct Packed {
    bytes: Bytes,
    ended: bool,
}

impl BufRead for Packed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.bytes.is_empty() && !self.ended {
            true => Err(ErrorKind::WouldBlock.into()),
            false => Ok(&self.bytes),
        }
    }

    fn consume(&mut self, n: usize) {
        self.bytes.advance(n);
    }
}

impl Read for Packed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(out)?;
        self.consume(n);
        Ok(n)
    }
}

/// Unpacks a body. It never reads the connection, so a read that waited too long loses nothing.
pub struct Unpacker {
    decoder: MultiGzDecoder<Packed>,
    /// Has anything come?
    begun: bool,
}

impl Unpacker {
    pub fn new() -> Unpacker {
        Unpacker {
            decoder: MultiGzDecoder::new(Packed::default()),
            begun: false,
        }
    }

    /// Takes a piece of the body as it came, after [`next`](Self::next) has asked for one; an empty
    /// one is the end.
    pub fn put(&mut self, piece: Bytes) {
        let packed = self.decoder.get_mut();
        packed.ended = piece.is_empty();
        self.begun |= !packed.ended;
        packed.bytes = piece;
    }

    /// The next unpacked bytes, none at the end; `None`: it needs another piece. Error: it is not
    /// compressed so, or not to its end.
    pub fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        if !self.begun && self.decoder.get_ref().ended {
            return Ok(Some(Bytes::new()));
        }
        let mut unpacked = vec![0; PIECE];
        match self.decoder.read(&mut unpacked) {
            Ok(n) => {
                unpacked.truncate(n);
                Ok(Some(unpacked.into()))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(HttpError::BadAnswer("its compressed body ends too soon"))
            }
            Err(_) => Err(HttpError::BadAnswer("its compressed body is broken")),
        }
    }
}
