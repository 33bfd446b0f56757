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
    responses: Few<StoredResponse>,
    handles: Few<H>,
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
        Self {
            responses: Few::None,
            handles: Few::None,
            instead: Instead::Nothing,
            selected: Selected::Yes,
        }
    }

    /// There is an index, and these entries are what the request selects; perhaps none.
    pub fn entries(entries: impl IntoIterator<Item = Entry<H>>) -> Self {
        let mut found = Self { instead: Instead::OtherVariants, ..Self::nothing() };
        for Entry { response, handle } in entries {
            found.responses.push(response);
            found.handles.push(handle);
        }
        found
    }

    /// This entry is all that the request selects.
    #[cfg(feature = "memory")]
    pub(super) fn one(entry: Entry<H>) -> Self {
        let Entry { response, handle } = entry;
        Self {
            responses: Few::One(response),
            handles: Few::One(handle),
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
            Selected::Yes => self.responses.as_slice(),
            Selected::No => &[],
        }
    }

    /// The entry at `index` of those that were given, also if they are
    /// [`others`](Self::others).
    pub fn into_entry(self, index: usize) -> Option<Entry<H>> {
        Some(Entry { response: self.responses.take(index)?, handle: self.handles.take(index)? })
    }

    /// Drops the entries that have been purged, and marks those that have been softly.
    pub(crate) fn judge(&mut self, judge: impl Fn(&StoredResponse) -> Verdict) {
        let mut index = 0;
        while let Some(response) = self.responses.as_mut_slice().get_mut(index) {
            match judge(response) {
                Verdict::Good => index += 1,
                Verdict::Stale(since) => {
                    *response = response.clone().stale_since(Timestamp::from_wall(since));
                    index += 1;
                }
                Verdict::Gone => {
                    self.responses.remove(index);
                    self.handles.remove(index);
                    self.instead = Instead::Purged;
                }
            }
        }
    }

    pub(crate) fn as_stored(&self) -> Stored<'_> {
        match (self.responses.as_slice(), self.instead) {
            ([], Instead::Nothing) => Stored::Nothing,
            ([], Instead::OtherVariants) => Stored::OtherVariants,
            ([], Instead::Purged) => Stored::Purged,
            (responses, _) if self.selected == Selected::No => Stored::Others(responses),
            (responses, _) => Stored::Responses(responses),
        }
    }

    pub(super) fn map<T>(self, change: impl Fn(H) -> T) -> Found<T> {
        let Self { responses, handles, instead, selected } = self;
        Found { responses, handles: handles.map(change), instead, selected }
    }
}

/// A list that needs no allocation for the usual length of one.
#[derive(Clone, Debug)]
enum Few<T> {
    None,
    One(T),
    Many(Vec<T>),
}

impl<T> Few<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(item) => std::slice::from_ref(item),
            Few::Many(items) => items,
        }
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(item) => std::slice::from_mut(item),
            Few::Many(items) => items,
        }
    }

    fn push(&mut self, item: T) {
        *self = match std::mem::replace(self, Few::None) {
            Few::None => Few::One(item),
            Few::One(first) => Few::Many(vec![first, item]),
            Few::Many(mut items) => {
                items.push(item);
                Few::Many(items)
            }
        };
    }

    fn take(self, index: usize) -> Option<T> {
        match self {
            Few::One(item) if index == 0 => Some(item),
            Few::Many(mut items) if index < items.len() => Some(items.swap_remove(index)),
            _ => None,
        }
    }

    fn remove(&mut self, index: usize) {
        match self {
            Few::One(_) if index == 0 => *self = Few::None,
            Few::Many(items) if index < items.len() => {
                items.remove(index);
            }
            _ => {}
        }
    }

    fn map<U>(self, change: impl Fn(T) -> U) -> Few<U> {
        match self {
            Few::None => Few::None,
            Few::One(item) => Few::One(change(item)),
            Few::Many(items) => Few::Many(items.into_iter().map(change).collect()),
        }
    }
}
