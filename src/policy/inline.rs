//! Bytes that need no memory of their own where there are few of them, as in most keys: a hit makes a key
//! or two, and throws them away.

use std::{
    cmp::Ordering,
    hash::{Hash, Hasher},
    ops::Deref,
};

use bytes::Bytes;

/// So many take no allocation. Whoever has a key moves as many.
const FEW: usize = 94;

/// Bytes that do not change.
#[derive(Clone)]
pub(super) enum InlineBytes {
    Few { length: u8, bytes: [u8; FEW] },
    Many(Bytes),
}

impl InlineBytes {
    pub(super) const EMPTY: Self = Self::Few { length: 0, bytes: [0; FEW] };

    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut new = Self::EMPTY;
        new.write(bytes.len(), |draft| draft.put(bytes));
        new
    }

    /// A place for so many bytes, if they are a few.
    #[inline]
    pub(super) fn room(&mut self, for_bytes: usize) -> Option<&mut [u8]> {
        let Self::Few { length, bytes } = self else { return None };
        let room = bytes.get_mut(..for_bytes)?;
        *length = u8::try_from(for_bytes).ok()?;
        Some(room)
    }

    /// Has `write` put something here, of `room` bytes or more.
    #[inline]
    pub(super) fn write<T>(&mut self, room: usize, write: impl FnOnce(&mut Draft<'_>) -> T) -> T {
        if let Self::Many(_) = self {
            *self = Self::EMPTY;
        }
        let Self::Few { length, bytes } = self else { unreachable!("it was made so") };
        let mut draft = Draft { length: 0, few: bytes, many: Vec::new() };
        if room > FEW {
            draft.spill(room);
        }
        let told = write(&mut draft);
        match u8::try_from(draft.length) {
            Ok(few) => *length = few,
            // Of exact size: then they need no second allocation to be shared.
            Err(_) => *self = Self::Many(draft.many.into_boxed_slice().into()),
        }
        told
    }
}

impl Deref for InlineBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Few { length, bytes } => bytes.get(..usize::from(*length)).unwrap_or(bytes),
            Self::Many(bytes) => bytes,
        }
    }
}

impl From<Bytes> for InlineBytes {
    fn from(bytes: Bytes) -> Self {
        if bytes.len() > FEW { Self::Many(bytes) } else { Self::of(&bytes) }
    }
}

impl PartialEq for InlineBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for InlineBytes {}

impl PartialOrd for InlineBytes {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InlineBytes {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for InlineBytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

/// Bytes that are being written.
pub(super) struct Draft<'a> {
    /// Of `few`; [`SPILT`] where `many` has all of them.
    length: usize,
    few: &'a mut [u8; FEW],
    many: Vec<u8>,
}

/// More than any number of a few.
const SPILT: usize = usize::MAX / 2;

impl Draft<'_> {
    #[inline]
    pub(super) fn len(&self) -> usize {
        if self.length == SPILT { self.many.len() } else { self.length }
    }

    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        match self.few.get_mut(self.length..end) {
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length = end;
            }
            None => {
                self.spill(bytes.len());
                self.many.extend_from_slice(bytes);
            }
        }
    }

    #[inline]
    pub(super) fn push(&mut self, byte: u8) {
        self.put(&[byte]);
    }

    /// What was written from `start` on, to be changed.
    #[inline]
    pub(super) fn since(&mut self, start: usize) -> &mut [u8] {
        let all = self.few.get_mut(..self.length).unwrap_or(&mut self.many);
        all.get_mut(start..).unwrap_or_default()
    }

    #[inline]
    fn spill(&mut self, more: usize) {
        spill(&mut self.many, self.few.get(..self.length).unwrap_or_default(), more);
        self.length = SPILT;
    }
}

#[cold]
fn spill(many: &mut Vec<u8>, few: &[u8], more: usize) {
    many.reserve(few.len() + more);
    many.extend_from_slice(few);
}
