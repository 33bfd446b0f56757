//! One body, as far as it has come: written once, read by any number of readers from byte 0.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    BoxError,
    sync::{Mutex, lock},
    task::Bell,
};

/// The bytes of all bodies that are on their way, and how many there may be.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    limit: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: AtomicU64::new(0), limit }
    }

    /// Whether so many bytes more are within the limit.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.used.load(Ordering::Relaxed).saturating_add(bytes) <= self.limit
    }

    fn take(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

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

#[derive(Clone)]
enum Over {
    Whole(Option<HeaderMap>),
    Failed(Arc<BoxError>),
}

/// What a reader gets.
pub(crate) enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Error(BoxError),
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
        if state.is_closed || matches!(state.over, Some(Over::Failed(_))) {
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
        Some(Cursor { log: self.clone(), number, at: 0, hint: 0, until: u64::MAX })
    }

    /// Whether a reader can still begin.
    pub(crate) fn is_open(&self) -> bool {
        let state = lock(&self.0.state);
        !state.is_closed && !matches!(state.over, Some(Over::Failed(_)))
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

/// The one who writes a [`Log`]. Dropped before its end, every reader gets an error.
pub(crate) struct Writer(Log);

/// What the writer may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Write more.
    More,
    /// Nobody wants more.
    Nothing,
    /// Somebody wants more, and others do not take what is there.
    HeldUp,
}

impl Writer {
    pub(crate) fn new(log: Log) -> Self {
        Self(log)
    }

    pub(crate) fn demand(&self) -> Demand {
        let mut state = lock(&self.0.0.state);
        if !state.is_eager && state.wanted <= state.end {
            return Demand::Nothing;
        }
        state.trim(&self.0.0);
        let is_held_up = state.is_closed && !state.has_room(&self.0.0);
        if is_held_up && !state.is_held_up {
            for place in state.readers.iter_mut().flatten() {
                place.mark = place.at;
            }
        }
        state.is_held_up = is_held_up;
        if is_held_up { Demand::HeldUp } else { Demand::More }
    }

    /// Cuts off the readers that have taken nothing since the writer is held up.
    pub(crate) fn cut_off_the_stalled(&self) {
        let mut state = lock(&self.0.0.state);
        let end = state.end;
        for place in state.readers.iter_mut().flatten() {
            place.is_cut_off |= place.at == place.mark && place.at < end;
            place.mark = place.at;
        }
        state.trim(&self.0.0);
        drop(state);
        self.0.0.bell.ring();
    }

    /// Appends. `false`: that was more than is kept for others, nobody can begin any more.
    pub(crate) fn write(&self, chunk: Bytes) -> bool {
        if chunk.is_empty() {
            return self.0.is_open();
        }
        let shared = &*self.0.0;
        let length = chunk.len() as u64;
        let mut state = lock(&shared.state);
        let at = state.end;
        state.end += length;
        if !state.is_closed && (state.end > shared.keep || !shared.budget.has_room(length)) {
            state.is_closed = true;
        }
        shared.budget.take(length);
        state.chunks.push_back((at, chunk));
        let is_open = !state.is_closed;
        drop(state);
        shared.bell.ring();
        is_open
    }

    /// Whether anybody reads.
    pub(crate) fn is_read(&self) -> bool {
        lock(&self.0.0.state).readers.iter().any(Option::is_some)
    }

    /// The store does not get it any more.
    pub(crate) fn is_not_recorded(&self) {
        lock(&self.0.0.state).is_unrecorded = true;
    }

    pub(crate) fn finish(self, trailers: Option<HeaderMap>) {
        self.over(Over::Whole(trailers));
    }

    pub(crate) fn fail(self, error: BoxError) {
        self.over(Over::Failed(Arc::new(error)));
    }

    fn over(&self, over: Over) {
        lock(&self.0.0.state).over.get_or_insert(over);
        self.0.0.bell.ring();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.over(Over::Failed(Arc::new(Box::new(Aborted))));
    }
}

impl State {
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

/// A reader's place in a [`Log`].
pub(crate) struct Cursor {
    log: Log,
    number: usize,
    at: u64,
    /// Which chunk comes next, as far as this reader knows.
    hint: usize,
    /// Where a range ends.
    until: u64,
}

impl Cursor {
    /// The same for a range of the body.
    pub(crate) fn ranged(mut self, range: std::ops::Range<u64>) -> Self {
        self.at = range.start;
        self.until = range.end;
        let mut state = lock(&self.log.0.state);
        if let Some(place) = state.readers[self.number].as_mut() {
            place.at = range.start;
        }
        drop(state);
        self
    }

    /// What comes next, if it is there. If not, it is wanted from now on.
    pub(crate) fn next(&mut self) -> Option<Next> {
        let shared = &*self.log.0;
        let mut state = lock(&shared.state);
        let is_cut_off = state.readers[self.number].is_some_and(|place| place.is_cut_off);
        if is_cut_off {
            return Some(Next::Error(Box::new(TooSlow)));
        }
        if self.at >= self.until {
            return Some(Next::End);
        }
        if self.at < state.end {
            let index = match state.chunks.get(self.hint) {
                Some((at, chunk)) if (*at..*at + chunk.len() as u64).contains(&self.at) => {
                    self.hint
                }
                _ => state.chunks.partition_point(|(at, _)| *at <= self.at).checked_sub(1)?,
            };
            let (at, chunk) = state.chunks.get(index)?;
            let chunk = chunk.slice((self.at - at) as usize..);
            let left = usize::try_from(self.until - self.at).unwrap_or(usize::MAX);
            let chunk = chunk.slice(..chunk.len().min(left));
            self.at += chunk.len() as u64;
            self.hint = index + 1;
            if let Some(place) = state.readers[self.number].as_mut() {
                place.at = self.at;
            }
            if state.is_closed {
                let before = state.chunks.len();
                state.trim(shared);
                self.hint = self.hint.saturating_sub(before - state.chunks.len());
            }
            let wakes = std::mem::take(&mut state.is_held_up);
            drop(state);
            if wakes {
                shared.bell.ring();
            }
            return Some(Next::Data(chunk));
        }
        match &state.over {
            Some(Over::Whole(trailers)) => {
                let trailers = trailers.clone();
                // Once.
                self.until = self.at;
                Some(trailers.map_or(Next::End, Next::Trailers))
            }
            Some(Over::Failed(_)) => Some(Next::Error(state.error())),
            None => {
                state.wanted = state.wanted.max(self.at + 1);
                None
            }
        }
    }

    /// Whether the reader has had everything.
    pub(crate) fn is_over(&self) -> bool {
        if self.at >= self.until {
            return true;
        }
        let state = lock(&self.log.0.state);
        self.at >= state.end && matches!(state.over, Some(Over::Whole(None)))
    }

    /// How much is left: at least, and exactly if that is known.
    pub(crate) fn left(&self) -> (u64, Option<u64>) {
        let state = lock(&self.log.0.state);
        let end = state.end.min(self.until);
        let total = match state.over {
            Some(Over::Whole(_)) => Some(state.end),
            // What came of a body that failed is not its length, or a server would take it for whole.
            Some(Over::Failed(_)) | None => self.log.0.length,
        };
        let total = total.map(|total| total.min(self.until));
        (end.saturating_sub(self.at), total.map(|total| total.saturating_sub(self.at)))
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        let shared = &*self.log.0;
        let mut state = lock(&shared.state);
        state.readers[self.number] = None;
        state.trim(shared);
        let wakes = std::mem::take(&mut state.is_held_up);
        drop(state);
        if wakes {
            shared.bell.ring();
        }
    }
}

/// An error that many readers get.
#[derive(Debug)]
struct Shareable(Arc<BoxError>);

impl fmt::Display for Shareable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Shareable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&**self.0)
    }
}

#[derive(Debug)]
struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body was given up before its end")
    }
}

impl std::error::Error for Aborted {}

#[derive(Debug)]
struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body was read too slowly while others waited for it")
    }
}

impl std::error::Error for TooSlow {}
