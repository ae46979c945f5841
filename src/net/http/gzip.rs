//! Bodies that come compressed.

use super::error::HttpError;
use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;
use std::io::{self, ErrorKind, Write};

/// Unpacks a body. It never reads the connection, so a read that waited too long loses nothing.
pub struct Unpacker {
    /// What it has unpacked is taken away at once.
    decoder: MultiGzDecoder<Vec<u8>>,
    /// What has come of the body, and is still packed.
    packed: Bytes,
    /// Has anything come, and has its end?
    begun: bool,
    ended: bool,
}

impl Unpacker {
    pub fn new() -> Unpacker {
        Unpacker {
            decoder: MultiGzDecoder::new(Vec::new()),
            packed: Bytes::new(),
            begun: false,
            ended: false,
        }
    }

    /// Takes a piece of the body as it came, after [`next`](Self::next) has asked for one; an empty
    /// one is the end.
    pub fn put(&mut self, piece: Bytes) {
        self.ended = piece.is_empty();
        self.begun |= !self.ended;
        self.packed = piece;
    }

    /// The next unpacked bytes, some ten KiB at most, and none at the end; `None`: it needs another
    /// piece, and has kept nothing back. Error: it is not compressed so, or not to its end.
    pub fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let unpacked = self.unpack().map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => HttpError::BadAnswer("its compressed body ends too soon"),
            _ => HttpError::BadAnswer("its compressed body is broken"),
        })?;
        Ok(unpacked.map(Bytes::from))
    }

    fn unpack(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let unpacked = std::mem::take(self.decoder.get_mut());
            if !unpacked.is_empty() {
                return Ok(Some(unpacked));
            }
            if !self.packed.is_empty() {
                let taken = self.decoder.write(&self.packed)?;
                if taken == 0 {
                    return Err(ErrorKind::InvalidData.into());
                }
                self.packed.advance(taken);
            } else if !self.ended {
                // What the last piece has unpacked to, and what is left of that.
                self.decoder.flush()?;
                if self.decoder.get_ref().is_empty() {
                    return Ok(None);
                }
            } else if self.begun {
                self.begun = false;
                self.decoder.try_finish()?;
            } else {
                return Ok(Some(Vec::new()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::GzEncoder;
    use flate2::{Compression, Decompress, FlushDecompress};

    /// All that comes of these pieces, and the longest piece of that.
    fn unpacked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, usize) {
        let mut unpacker = Unpacker::new();
        let mut pieces = pieces.map(Bytes::copy_from_slice);
        let (mut all, mut longest) = (Vec::new(), 0);
        loop {
            match unpacker.next().expect("a good body") {
                Some(bytes) if bytes.is_empty() => return (all, longest),
                Some(bytes) => {
                    longest = longest.max(bytes.len());
                    all.extend_from_slice(&bytes);
                }
                None => unpacker.put(pieces.next().unwrap_or_default()),
            }
        }
    }

    #[test]
    fn a_body_of_several_members_is_unpacked_however_it_comes() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|i| (i / 7).to_be_bytes()).collect();
        let mut packed = Vec::new();
        for member in [&text[..10], &[], &text[10..]] {
            let mut encoder = GzEncoder::new(packed, Compression::default());
            encoder.write_all(member).unwrap();
            packed = encoder.finish().unwrap();
        }
        for size in [1, 2, 7, 100, packed.len()] {
            let (all, longest) = unpacked(packed.chunks(size));
            assert!(all == text, "in pieces of {size}");
            assert!(longest <= 128 * 1024, "{longest}");
        }
    }

    /// The start of a body that unpacks to very much: a few bits of it are many bytes.
    #[test]
    fn nothing_that_can_be_unpacked_is_kept_back() {
        const HEAD: usize = 10;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&[0; 200_000]).unwrap();
        let packed = encoder.finish().unwrap();
        for cut in HEAD + 1..packed.len() - 8 {
            // As much as there is, whether the rest of it lies in the bytes or in the decoder.
            let mut there = vec![0; 200_000];
            let (mut plain, mut bytes) = (Decompress::new(false), &packed[HEAD..cut]);
            loop {
                let (taken, made) = (plain.total_in(), plain.total_out());
                let none = FlushDecompress::None;
                plain.decompress(bytes, &mut there, none).unwrap();
                bytes = &bytes[(plain.total_in() - taken) as usize..];
                if plain.total_out() == made {
                    break;
                }
            }
            let mut unpacker = Unpacker::new();
            assert!(unpacker.next().unwrap().is_none());
            unpacker.put(Bytes::copy_from_slice(&packed[..cut]));
            let mut came = 0;
            while let Some(bytes) = unpacker.next().unwrap() {
                came += bytes.len() as u64;
            }
            assert_eq!(came, plain.total_out(), "cut at {cut}");
        }
    }
}
