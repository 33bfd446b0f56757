//! One body, as far as it has come: written once, read by any number of readers from byte 0.

mod budget;
mod cursor;
mod errors;
mod writer;

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;

use self::errors::{Aborted, Shareable};
pub(crate) use self::{
    budget::Budget,
    cursor::{Cursor, Next},
    writer::{Demand, Writer},
};
use crate::{
    BoxError,
    sync::{Mutex, lock},
    task::Bell,
};

/// A body on its way. Clones are the same body.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    bell: Arc<Bell>,
    budget: Arc<Budget>,
    /// The bytes that must come, if that is known.
    length: Option<u64>,
    /// How much is kept for those who may still come. Beyond it nobody joins, and the readers pace
    /// each other.
    keep: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the offset of each.
    chunks: VecDeque<(u64, Bytes)>,
    /// All from here on is there,
    base: u64,
    /// up to here.
    end: u64,
    /// Some reader wants the byte before this one.
    wanted: u64,
    /// Whether it is read to its end without anybody's asking.
    is_eager: bool,
    over: Option<Over>,
    readers: Vec<Option<Place>>,
    /// No longer whole, so that nobody can begin.
    is_closed: bool,
    /// The writer waits for readers to take what is there.
    is_held_up: bool,
    is_unrecorded: bool,
}

#[derive(Clone, Copy)]
struct Place {
    at: u64,
    /// Where the reader was when the others began to wait for it.
    mark: u64,
    is_cut_off: bool,
}

impl Place {
    const PAST_ALL: u64 = u64::MAX;
}

#[derive(Clone)]
enum Over {
    Whole(Option<HeaderMap>),
    Failed(Arc<BoxError>),
}

impl Log {
    pub(crate) fn new(
        bell: Arc<Bell>,
        budget: Arc<Budget>,
        length: Option<u64>,
        keep: u64,
    ) -> Self {
        let state = Mutex::new(State::default());
        Self(Arc::new(Shared { bell, budget, length, keep, state }))
    }

    /// Begins at byte 0; `None` if it is no longer there.
    pub(crate) fn read(&self) -> Option<Cursor> {
        let mut state = lock(&self.0.state);
        if !state.is_open() {
            return None;
        }
        let place = Place { at: 0, mark: 0, is_cut_off: false };
        let number = match state.readers.iter().position(Option::is_none) {
            Some(free) => {
                state.readers[free] = Some(place);
                free
            }
            None => {
                state.readers.push(Some(place));
                state.readers.len() - 1
            }
        };
        drop(state);
        Some(Cursor::new(self.clone(), number))
    }

    /// Whether a reader can still begin.
    pub(crate) fn is_open(&self) -> bool {
        lock(&self.0.state).is_open()
    }

    /// The bytes that must come, if that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.0.length
    }

    /// Whether it is all there, and has been from byte 0.
    pub(crate) fn is_whole(&self) -> bool {
        let state = lock(&self.0.state);
        !state.is_closed && matches!(state.over, Some(Over::Whole(_)))
    }

    /// How much has come.
    pub(crate) fn end(&self) -> u64 {
        lock(&self.0.state).end
    }

    /// Whether the store gets it.
    pub(crate) fn is_recorded(&self) -> bool {
        !lock(&self.0.state).is_unrecorded
    }

    /// Wants it all, readers or not; or no longer.
    pub(crate) fn want_all(&self, is_eager: bool) {
        let before = std::mem::replace(&mut lock(&self.0.state).is_eager, is_eager);
        if is_eager && !before {
            self.0.bell.ring();
        }
    }
}

impl State {
    fn is_open(&self) -> bool {
        !self.is_closed && !matches!(self.over, Some(Over::Failed(_)))
    }

    /// Forgets what all have read, once nobody can begin any more.
    fn trim(&mut self, shared: &Shared) {
        if !self.is_closed {
            return;
        }
        let readers = self.readers.iter().flatten().filter(|place| !place.is_cut_off);
        let least = readers.map(|place| place.at).min().unwrap_or(self.end);
        while let Some((at, chunk)) = self.chunks.front() {
            let next = at + chunk.len() as u64;
            if next > least {
                break;
            }
            shared.budget.give_back(chunk.len() as u64);
            self.base = next;
            self.chunks.pop_front();
        }
    }

    /// The error as it came, if it is for one reader alone.
    fn error(&mut self) -> BoxError {
        let Some(Over::Failed(error)) = self.over.take() else { return Box::new(Aborted) };
        let readers = self.readers.iter().flatten().count();
        let (kept, given): (Arc<BoxError>, BoxError) = match Arc::try_unwrap(error) {
            Ok(error) if readers == 1 => (Arc::new(Box::new(Aborted)), error),
            Ok(error) => {
                let error = Arc::new(error);
                (error.clone(), Box::new(Shareable(error)))
            }
            Err(error) => (error.clone(), Box::new(Shareable(error))),
        };
        self.over = Some(Over::Failed(kept));
        given
    }

    fn has_room(&self, shared: &Shared) -> bool {
        let held = self.end - self.base;
        held == 0 || (held < shared.keep.min(WINDOW) && shared.budget.has_room(0))
    }
}

/// How far the fastest reader may be ahead of the slowest, once nobody can begin any more.
const WINDOW: u64 = 1 << 20;

impl Drop for Shared {
    fn drop(&mut self) {
        let state = lock(&self.state);
        let held: usize = state.chunks.iter().map(|(_, chunk)| chunk.len()).sum();
        self.budget.give_back(held as u64);
    }
}
