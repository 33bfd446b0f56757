use crate::{
    policy::{Stored, StoredResponse, Timestamp},
    purge::Verdict,
};

/// An entry that a look-up found: its head and length, and how the store finds its body.
#[derive(Clone, Debug)]
pub struct Entry<H> {
    response: StoredResponse,
    handle: H,
}

impl<H> Entry<H> {
    /// An entry with this head; `handle` is the store's own.
    pub fn new(response: StoredResponse, handle: H) -> Self {
        Self { response, handle }
    }

    /// Head and length.
    pub fn response(&self) -> &StoredResponse {
        &self.response
    }

    pub(super) fn into_parts(self) -> (StoredResponse, H) {
        (self.response, self.handle)
    }

    /// What the store gave.
    pub fn handle(&self) -> &H {
        &self.handle
    }
}

/// What a look-up found for a request.
#[derive(Clone, Debug)]
pub struct Found<H> {
    entries: Entries<H>,
    instead: Instead,
    selected: Selected,
}

/// What there is where no entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instead {
    Nothing,
    OtherVariants,
    Purged,
}

/// Whether the request selects the entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Selected {
    Yes,
    No,
}

impl<H> Found<H> {
    /// There is no index for the resource.
    pub fn nothing() -> Self {
        Self { entries: Entries::None, instead: Instead::Nothing, selected: Selected::Yes }
    }

    /// There is an index, and these entries are what the request selects; perhaps none.
    pub fn entries(entries: impl IntoIterator<Item = Entry<H>>) -> Self {
        let mut found = Self { instead: Instead::OtherVariants, ..Self::nothing() };
        for entry in entries {
            found.entries.push(entry);
        }
        found
    }

    /// This entry is all that the request selects.
    #[cfg(feature = "memory")]
    pub(super) fn one(entry: Entry<H>) -> Self {
        Self {
            entries: Entries::One(entry),
            instead: Instead::OtherVariants,
            selected: Selected::Yes,
        }
    }

    /// There is an index, and the request selects nothing; these entries are those of
    /// [`Wanted::others`](crate::policy::Wanted::others) that are there, perhaps none.
    pub fn others(entries: impl IntoIterator<Item = Entry<H>>) -> Self {
        Self { selected: Selected::No, ..Self::entries(entries) }
    }

    /// The heads that the request selects.
    pub fn responses(&self) -> &[StoredResponse] {
        match self.selected {
            Selected::Yes => self.entries.responses(),
            Selected::No => &[],
        }
    }

    /// The entry at `index` of those that were given, also if they are
    /// [`others`](Self::others).
    pub fn into_entry(self, index: usize) -> Option<Entry<H>> {
        match self.entries {
            Entries::One(entry) if index == 0 => Some(entry),
            Entries::Many { mut responses, mut handles } if index < responses.len() => {
                let (response, handle) = (responses.swap_remove(index), handles.swap_remove(index));
                Some(Entry { response, handle })
            }
            _ => None,
        }
    }

    /// Whether nothing is known of the resource.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!((&self.entries, &self.instead), (Entries::None, Instead::Nothing))
    }

    /// The only entry, if the request selects it.
    #[inline]
    pub(crate) fn only(&self) -> Option<&Entry<H>> {
        match (&self.entries, self.selected) {
            (Entries::One(entry), Selected::Yes) => Some(entry),
            _ => None,
        }
    }

    /// Drops the entries that have been purged, and marks those that have been softly.
    #[inline]
    pub(crate) fn judge(&mut self, judge: impl Fn(&StoredResponse) -> Verdict) {
        let mut index = 0;
        while let Some(response) = self.entries.responses_mut().get_mut(index) {
            match judge(response) {
                Verdict::Good => index += 1,
                Verdict::Stale(since) => {
                    *response = response.clone().stale_since(Timestamp::from_wall(since));
                    index += 1;
                }
                Verdict::Gone => {
                    self.entries.remove(index);
                    self.instead = Instead::Purged;
                }
            }
        }
    }

    /// The same, to be served only when the origin has said that it is good.
    pub(super) fn unvouched(mut self) -> Self {
        for response in self.entries.responses_mut() {
            *response = response.clone().unvouched();
        }
        self
    }

    #[inline]
    pub(crate) fn as_stored(&self) -> Stored<'_> {
        match (self.entries.responses(), self.instead) {
            ([], Instead::Nothing) => Stored::Nothing,
            ([], Instead::OtherVariants) => Stored::OtherVariants,
            ([], Instead::Purged) => Stored::Purged,
            (responses, _) if self.selected == Selected::No => Stored::Others(responses),
            (responses, _) => Stored::Responses(responses),
        }
    }

    /// The same with other handles.
    #[inline]
    pub(super) fn map<T>(self, change: impl Fn(&StoredResponse, H) -> T) -> Found<T> {
        let Self { entries, instead, selected } = self;
        let entries = match entries {
            Entries::None => Entries::None,
            Entries::One(Entry { response, handle }) => {
                let handle = change(&response, handle);
                Entries::One(Entry { response, handle })
            }
            Entries::Many { responses, handles } => {
                let changed = responses.iter().zip(handles);
                let handles = changed.map(|(response, handle)| change(response, handle)).collect();
                Entries::Many { responses, handles }
            }
        };
        Found { entries, instead, selected }
    }
}

/// A list that needs no allocation for the usual length of one.
#[derive(Clone, Debug)]
enum Entries<H> {
    None,
    One(Entry<H>),
    /// As many of these as of those.
    Many {
        responses: Vec<StoredResponse>,
        handles: Vec<H>,
    },
}

impl<H> Entries<H> {
    #[inline]
    fn responses(&self) -> &[StoredResponse] {
        match self {
            Entries::None => &[],
            Entries::One(entry) => std::slice::from_ref(&entry.response),
            Entries::Many { responses, .. } => responses,
        }
    }

    #[inline]
    fn responses_mut(&mut self) -> &mut [StoredResponse] {
        match self {
            Entries::None => &mut [],
            Entries::One(entry) => std::slice::from_mut(&mut entry.response),
            Entries::Many { responses, .. } => responses,
        }
    }

    fn push(&mut self, entry: Entry<H>) {
        *self = match std::mem::replace(self, Entries::None) {
            Entries::None => Entries::One(entry),
            Entries::One(first) => Entries::Many {
                responses: vec![first.response, entry.response],
                handles: vec![first.handle, entry.handle],
            },
            Entries::Many { mut responses, mut handles } => {
                responses.push(entry.response);
                handles.push(entry.handle);
                Entries::Many { responses, handles }
            }
        };
    }

    fn remove(&mut self, index: usize) {
        match self {
            Entries::One(_) if index == 0 => *self = Entries::None,
            Entries::Many { responses, handles } if index < responses.len() => {
                responses.remove(index);
                handles.remove(index);
            }
            _ => {}
        }
    }
}
