//! Fields in one allocation, as they are stored.

use std::{cell::Cell, ops::Range, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    names::{self, Names, place},
    usual,
};

/// Fields, those of a stored head but for the slot for `Age`: a line behind the other, each with what it
/// needs to become a field again. A map of them is more than four times as large.
///
/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Packed(Arc<[u8]>);

/// Stands where the place of a usual name would, and the name follows behind its length.
const WRITTEN: u8 = 0x7f;
const SENSITIVE: u8 = 0x80;
/// The bytes of the names that are there, of a number of fields, for which there is to be room (more may
/// follow), of the length of a name (64 KiB at most, as `http` has it), and of that of a value.
const NAMES: usize = 8;
const COUNT: usize = 2;
const HEAD: usize = NAMES + COUNT;
const MAX_COUNT: usize = u16::MAX as usize;
const NAME: usize = 2;
const VALUE: usize = 4;

thread_local! {
    /// Where fields are packed, to be copied into memory of exact size.
    static DRAFT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}
/// A larger one is not kept.
const MAX_DRAFT: usize = 16 << 10;

impl Packed {
    pub(super) fn of<'a>(
        fields: impl IntoIterator<Item = (&'a HeaderName, &'a HeaderValue)>,
    ) -> Self {
        let mut draft = DRAFT.try_with(Cell::take).unwrap_or_default();
        draft.clear();
        draft.extend_from_slice(&[0; HEAD]);
        let (mut names, mut count) = (Names::NONE, 0);
        for (name, value) in fields {
            names = names | push(&mut draft, name, value);
            count += 1;
        }
        Self::exact(draft, names, count)
    }

    /// The same fields and one more.
    pub(super) fn with(&self, name: &HeaderName, value: &HeaderValue) -> Self {
        let mut draft = DRAFT.try_with(Cell::take).unwrap_or_default();
        draft.clear();
        draft.extend_from_slice(&self.0);
        let names = self.names() | push(&mut draft, name, value);
        Self::exact(draft, names, self.lines().0 + 1)
    }

    fn exact(mut draft: Vec<u8>, names: Names, count: usize) -> Self {
        draft[..NAMES].copy_from_slice(&names.to_bytes());
        draft[NAMES..HEAD].copy_from_slice(&count.min(MAX_COUNT).to_le_bytes()[..COUNT]);
        let packed = Self(Arc::from(&*draft));
        if draft.capacity() <= MAX_DRAFT {
            let _ = DRAFT.try_with(|kept| kept.set(draft));
        }
        packed
    }

    /// Whether there is a field of this name.
    pub(super) fn contains(&self, name: &HeaderName) -> bool {
        let place = place(name);
        let may_be = self.names().may_have(Names::one(place));
        may_be && (place.is_some() || self.unpack_all().contains_key(name))
    }

    fn names(&self) -> Names {
        self.0.first_chunk().map_or(Names::NONE, |names| Names::from_bytes(*names))
    }

    /// A map of them, with the slot for `Age` before them. Its values share what is packed, and count
    /// their references to it by themselves.
    pub(super) fn unpack(&self) -> HeaderMap {
        let mut fields = self.room(1);
        fields.insert(header::AGE, HeaderValue::from_static("0"));
        self.unpack_into(fields)
    }

    /// A map of them alone.
    pub(super) fn unpack_all(&self) -> HeaderMap {
        self.unpack_into(self.room(0))
    }

    fn room(&self, more: usize) -> HeaderMap {
        HeaderMap::try_with_capacity(self.lines().0 + more).unwrap_or_default()
    }

    fn unpack_into(&self, mut fields: HeaderMap) -> HeaderMap {
        let shared = Bytes::from_owner(self.0.clone());
        let (_, mut input) = self.lines();
        // What was packed can be read, and fits as it did.
        while let Some((name, value)) = input.field(&shared) {
            let _ = fields.try_append(name, value);
        }
        fields
    }

    /// For how many there is to be room, and all of them.
    fn lines(&self) -> (usize, Input<'_>) {
        let mut input = Input { bytes: &self.0, at: NAMES };
        (input.number(COUNT).unwrap_or(0), input)
    }

    #[cfg(feature = "memory")]
    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }
}

fn push(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) -> Names {
    let mark = if value.is_sensitive() { SENSITIVE } else { 0 };
    let place = place(name);
    let names = Names::one(place);
    // A value has less than 4 GiB, and a name less than 64 KiB.
    let [a, b, c, d, ..] = value.len().to_le_bytes();
    match place {
        Some(place) => out.extend_from_slice(&[place | mark, a, b, c, d]),
        None => {
            let name = name.as_str().as_bytes();
            let [first, second, ..] = name.len().to_le_bytes();
            out.extend_from_slice(&[WRITTEN | mark, first, second]);
            out.extend_from_slice(name);
            out.extend_from_slice(&[a, b, c, d]);
        }
    }
    out.extend_from_slice(value.as_bytes());
    names
}

/// A field as it is packed.
struct Line<'a> {
    mark: u8,
    /// Unless the mark is its place.
    name: Option<&'a [u8]>,
    value: Range<usize>,
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn line(&mut self) -> Option<Line<'a>> {
        let mark = *self.take(1)?.first()?;
        let name = match mark & !SENSITIVE {
            WRITTEN => {
                let length = self.number(NAME)?;
                Some(self.take(length)?)
            }
            _ => None,
        };
        let length = self.number(VALUE)?;
        let start = self.at;
        self.take(length)?;
        Some(Line { mark, name, value: start..self.at })
    }

    /// `shared` are the same bytes.
    fn field(&mut self, shared: &Bytes) -> Option<(HeaderName, HeaderValue)> {
        let Line { mark, name, value } = self.line()?;
        let name = match name {
            Some(name) => HeaderName::from_bytes(name).ok()?,
            None => names::at(mark & !SENSITIVE)?.clone(),
        };
        let mut value = match usual::value(self.bytes.get(value.clone())?) {
            Some(value) => value,
            None => HeaderValue::from_maybe_shared(shared.slice(value)).ok()?,
        };
        value.set_sensitive(mark & SENSITIVE != 0);
        Some((name, value))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        let mut number = [0; size_of::<usize>()];
        number.get_mut(..width)?.copy_from_slice(self.take(width)?);
        Some(usize::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, "What is stored owns its memory": nothing of a field is lost.
    #[test]
    fn fields_come_back_as_they_were() {
        let mut fields = HeaderMap::new();
        fields.insert(header::AGE, HeaderValue::from_static("0"));
        for (name, value) in [
            ("content-type", &b"text/html"[..]),
            ("x-own", b""),
            ("set-cookie", b"a=1"),
            ("x-own", b"\xff\t!"),
            ("set-cookie", b"b=2"),
        ] {
            fields.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        fields.append("www-authenticate", secret);
        let packed = Packed::of(fields.iter().filter(|(name, _)| **name != header::AGE));
        let unpacked = packed.unpack();
        assert_eq!(unpacked, fields);
        assert!(unpacked.keys().eq(fields.keys()), "in their order");
        assert!(unpacked[header::WWW_AUTHENTICATE].is_sensitive());
        assert!(!unpacked[header::CONTENT_TYPE].is_sensitive());
        assert_eq!(Packed::of(&fields).unpack_all(), fields);
        assert!(!packed.contains(&header::CONTENT_LENGTH));
        let length = HeaderValue::from_static("7");
        let longer = packed.with(&header::CONTENT_LENGTH, &length);
        assert!(longer.contains(&header::CONTENT_LENGTH));
        fields.insert(header::CONTENT_LENGTH, length);
        assert_eq!(longer.unpack(), fields);
        assert!(Packed::of(&HeaderMap::new()).unpack().contains_key(header::AGE));
    }

    /// `http` bounds the names, and not the lines of each.
    #[test]
    fn no_line_is_lost_of_any_number() {
        for lines in [65_534, 65_535, 65_536, 65_600] {
            let mut fields = HeaderMap::new();
            for _ in 0..lines {
                fields.append(header::SET_COOKIE, HeaderValue::from_static("a"));
            }
            let packed = Packed::of(&fields);
            assert_eq!(packed.unpack_all().len(), lines);
            let longer = packed.with(&header::ETAG, &HeaderValue::from_static("\"1\""));
            assert!(longer.contains(&header::ETAG), "{lines}");
            assert_eq!(longer.unpack().len(), lines + 2);
        }
    }
}
