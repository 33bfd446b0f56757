use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::{Aborted, Log, Over};
use crate::{BoxError, sync::lock};

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

    pub(crate) fn finish(&self, trailers: Option<HeaderMap>) {
        self.over(Over::Whole(trailers));
    }

    pub(crate) fn fail(&self, error: BoxError) {
        self.over(Over::Failed(Arc::new(error)));
    }

    fn over(&self, over: Over) {
        lock(&self.0.0.state).over.get_or_insert(over);
        self.0.0.bell.ring();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if lock(&self.0.0.state).over.is_none() {
            self.over(Over::Failed(Arc::new(Box::new(Aborted))));
        }
    }
}
