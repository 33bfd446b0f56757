use std::ops::Range;

use bytes::Bytes;
use http::HeaderMap;

use super::{Log, Over, Place, Shared, State, errors::TooSlow};
use crate::{
    BoxError,
    sync::{MutexGuard, lock},
};

/// What a reader gets.
pub(crate) enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Error(BoxError),
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
    pub(super) fn new(log: Log, number: usize) -> Self {
        Self { log, number, at: 0, hint: 0, until: u64::MAX }
    }

    /// The same for a range of the body.
    pub(crate) fn ranged(mut self, range: Range<u64>) -> Self {
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
                // Who has had his range keeps nothing from being forgotten.
                place.at = if self.at < self.until { self.at } else { Place::PAST_ALL };
            }
            let before = state.chunks.len();
            state.trim(shared);
            self.hint = self.hint.saturating_sub(before - state.chunks.len());
            go_on(shared, state);
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
        go_on(shared, state);
    }
}

/// Wakes the writer if it waited for this reader.
fn go_on(shared: &Shared, mut state: MutexGuard<'_, State>) {
    let wakes = std::mem::take(&mut state.is_held_up);
    drop(state);
    if wakes {
        shared.bell.ring();
    }
}
