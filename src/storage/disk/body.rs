//! The body of a response, read piece by piece.

use std::{fs::File, mem, ops::Range, os::unix::fs::FileExt};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{
    super::codec,
    access::{Absent, Patience},
    cached::{LINE, line_up},
    layout::{Damaged, FOOTER, Footer, Header, PIECE, piece_sum},
};

/// An open file, which stays readable when it is removed.
pub(super) struct Body {
    file: File,
    header: Header,
    footer: Footer,
    start: u64,
    /// The sums of all pieces, if they are few.
    sums: Vec<u8>,
    /// All of it, if it is small.
    small: Option<Bytes>,
}

/// So many pieces are read at once: fewer calls, and what was read is still in the processor's second
/// cache when its sums are looked at.
const PIECES: u64 = 6;

impl Body {
    /// Of a file of which these are the last bytes.
    pub(super) fn new(file: File, header: Header, footer: Footer, last: &[u8]) -> Self {
        let sums = footer.table(last).unwrap_or_default().to_vec();
        Self { file, header, footer, start: header.prefix() as u64, sums, small: None }
    }

    /// Of a file of which this is all.
    pub(super) fn whole(
        file: File,
        header: Header,
        footer: Footer,
        all: Bytes,
    ) -> Result<Self, Damaged> {
        let start = header.prefix();
        let table = start + footer.length as usize;
        let end = table + footer.table_length() as usize;
        let small = Some(all.clone());
        let body = Self { file, header, footer, start: start as u64, sums: Vec::new(), small };
        body.verify(0, &all[start..table], &all[table..end])?;
        if footer.trailers > 0 {
            codec::decode_trailers(&all[end..end + footer.trailers as usize]).ok_or(Damaged)?;
        }
        Ok(body)
    }

    pub(super) fn length(&self) -> u64 {
        self.footer.length
    }

    pub(super) fn id(&self) -> u64 {
        self.header.id
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn has_trailers(&self) -> bool {
        self.footer.trailers > 0
    }

    /// Where the body begins, and how long it is with what lies behind it.
    pub(super) fn rest(&self) -> (u64, u64) {
        let behind = self.footer.table_length() + u64::from(self.footer.trailers) + FOOTER as u64;
        (self.start, self.footer.length + behind)
    }

    /// The body, if it has been read with the head.
    pub(super) fn small(&self) -> Option<(Bytes, Option<HeaderMap>)> {
        let all = self.small.as_ref()?;
        let start = usize::try_from(self.start).ok()?;
        let table = start + usize::try_from(self.footer.length).ok()?;
        let at = table + usize::try_from(self.footer.table_length()).ok()?;
        let trailers = match self.footer.trailers as usize {
            0 => None,
            length => Some(codec::decode_trailers(all.get(at..at + length)?)?),
        };
        Some((all.slice(start..table), trailers))
    }

    /// Bytes of `range` from its start on, checked: as many whole pieces as are read at a time.
    /// `pieces` has those that were read before, whose memory is used again if nobody else does, and
    /// gets those that were read now.
    pub(super) fn read(
        &self,
        range: Range<u64>,
        pieces: &mut Bytes,
        patience: Patience,
    ) -> Result<Bytes, Absent> {
        let part = self.part(&range);
        let length = (part.end - part.start) as usize;
        let mut bytes = mem::take(pieces).try_into_mut().unwrap_or_default();
        if bytes.len() < length + LINE {
            bytes = BytesMut::zeroed(length + LINE);
        }
        let skipped = line_up(&bytes, self.start + part.start);
        let filled = self.fill(part.start, &mut bytes[skipped..skipped + length], patience);
        // Also for who tries again.
        *pieces = bytes.freeze();
        filled?;
        let place = |at: u64| skipped + (at - part.start) as usize;
        Ok(pieces.slice(place(range.start)..place(range.end.min(part.end))))
    }

    /// The memory that it takes to read a range.
    pub(super) fn room(&self, range: &Range<u64>) -> usize {
        let part = self.part(range);
        (part.end - part.start) as usize + LINE
    }

    /// The pieces that are read at once for the beginning of a range.
    fn part(&self, range: &Range<u64>) -> Range<u64> {
        let first = range.start / PIECE;
        let behind = range.end.div_ceil(PIECE).min(first + PIECES);
        first * PIECE..(behind * PIECE).min(self.footer.length)
    }

    /// Reads the pieces that begin at `from`, and checks them.
    fn fill(&self, from: u64, bytes: &mut [u8], patience: Patience) -> Result<(), Absent> {
        patience.read_exact_at(&self.file, bytes, self.start + from)?;
        let first = from / PIECE;
        let (at, mut sums) = (4 * first as usize, [0; 4 * PIECES as usize]);
        let sums = &mut sums[..4 * bytes.len().div_ceil(PIECE as usize)];
        match self.sums.get(at..at + sums.len()) {
            Some(kept) => sums.copy_from_slice(kept),
            None => {
                let table = self.start + self.footer.length;
                patience.read_exact_at(&self.file, sums, table + 4 * first)?;
            }
        }
        Ok(self.verify(first, bytes, sums)?)
    }

    fn verify(&self, first: u64, bytes: &[u8], sums: &[u8]) -> Result<(), Damaged> {
        let pieces = bytes.chunks(PIECE as usize);
        if pieces.len() * 4 != sums.len() {
            return Err(Damaged);
        }
        for ((n, piece), stated) in (first..).zip(pieces).zip(sums.chunks(4)) {
            let mut sum = piece_sum(self.header.id, n);
            sum.update(piece);
            if sum.finalize().to_le_bytes() != stated {
                return Err(Damaged);
            }
        }
        Ok(())
    }

    pub(super) fn trailers(&self) -> Result<Option<HeaderMap>, Absent> {
        if self.footer.trailers == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; self.footer.trailers as usize];
        let at = self.start + self.footer.length + self.footer.table_length();
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(Some(codec::decode_trailers(&bytes).ok_or(Damaged)?))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::layout::Kind, *};

    const LENGTH: u64 = 100_000;

    /// In a file of which nothing but this is read.
    fn body(path: &str) -> Body {
        let header = Header::new(Kind::Response { slot: 0 }, 1, 7, &[], &[]).unwrap();
        let footer = Footer { length: LENGTH, trailers: 0, id: 7 };
        Body::new(File::open(path).unwrap(), header, footer, &[])
    }

    /// Whoever reads the same again finds it large enough, and nobody asks for more than that.
    #[test]
    fn there_is_as_much_room_as_is_asked_for() {
        let body = body("/dev/zero");
        for range in [0..LENGTH, 0..10, 70_000..70_001, 70_000..LENGTH, LENGTH..LENGTH] {
            let mut pieces = Bytes::new();
            // Zeros do not have their sum.
            assert!(body.read(range.clone(), &mut pieces, Patience::Wait).is_err());
            assert_eq!(pieces.len(), body.room(&range), "{range:?}");
        }
    }

    /// What is not in memory is asked for twice.
    #[test]
    fn memory_outlives_what_could_not_be_read_into_it() {
        let mut pieces = BytesMut::zeroed(2 * LENGTH as usize).freeze();
        let memory = pieces.as_ptr();
        for path in ["/dev/null", "/dev/zero"] {
            assert!(body(path).read(0..LENGTH, &mut pieces, Patience::Wait).is_err());
            assert_eq!((pieces.as_ptr(), pieces.len()), (memory, 2 * LENGTH as usize));
        }
    }
}
