use std::ops::Range;

/// A stored part, and what came beside it: one body (RFC 9111 §3.4).
///
/// All ranges are of the stored body. The client gets [`first`](Self::first), what came, and
/// [`last`](Self::last); the store gets [`before`](Self::before), what the client gets, and
/// [`after`](Self::after).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    index: usize,
    before: Range<u64>,
    first: Range<u64>,
    fetched: u64,
    last: Range<u64>,
    after: Range<u64>,
}

impl Joint {
    /// Which of the stored responses it is.
    pub fn index(&self) -> usize {
        self.index
    }

    /// What is stored before what the client gets.
    pub fn before(&self) -> Range<u64> {
        self.before.clone()
    }

    /// What the client gets before what came.
    pub fn first(&self) -> Range<u64> {
        self.first.clone()
    }

    /// How many bytes must come: more or less, and nothing of it is right.
    pub fn fetched(&self) -> u64 {
        self.fetched
    }

    /// What the client gets after what came.
    pub fn last(&self) -> Range<u64> {
        self.last.clone()
    }

    /// What is stored after what the client gets.
    pub fn after(&self) -> Range<u64> {
        self.after.clone()
    }

    /// Of `stored`, beside what came of it at `fetched`, where the client is to get `wanted`.
    pub(super) fn of(
        index: usize,
        stored: Range<u64>,
        fetched: &Range<u64>,
        wanted: &Range<u64>,
    ) -> Self {
        let place = |start: u64, end: u64| {
            let (start, end) = (start.max(stored.start), end.min(stored.end));
            if start < end { start - stored.start..end - stored.start } else { 0..0 }
        };
        Self {
            index,
            before: place(stored.start, wanted.start),
            first: place(wanted.start, fetched.start),
            fetched: fetched.end - fetched.start,
            last: place(fetched.end, wanted.end),
            after: place(wanted.end, stored.end),
        }
    }

    /// Whether it is worth it to store the stored bytes once more that nobody reads: as long as they
    /// are few, or not many more than what came.
    pub(super) fn is_cheap(&self, wanted: u64) -> bool {
        const FEW: u64 = 16 << 20;
        const TIMES: u64 = 8;
        let length = |range: &Range<u64>| range.end - range.start;
        let copied = length(&self.before) + length(&self.after);
        copied <= FEW || copied / TIMES <= wanted
    }
}
