use std::{collections::BTreeMap, fmt, ops::ControlFlow, str::FromStr};

use bytes::Bytes;

use super::CacheHandle;
use crate::{
    Error,
    policy::{CacheKey, StoredHead},
    purge::{Counting, Purge, PurgeLog, Verdict},
    storage::{CacheManager, Scanned, Visitor},
};

/// Which entries to list, and how many at a time.
///
/// ```
/// use larder::{List, Purge};
///
/// let first = List::all().limit(50);
/// let tagged = List::all().selected_by(Purge::tag("reports"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct List {
    selected_by: Option<Purge>,
    after: Option<Cursor>,
    limit: usize,
}

impl List {
    /// All entries, up to 100 at a time.
    pub fn all() -> Self {
        Self { selected_by: None, after: None, limit: 100 }
    }

    /// Those that this purge would take out, or make stale.
    pub fn selected_by(self, purge: Purge) -> Self {
        Self { selected_by: Some(purge.dry_run()), ..self }
    }

    /// The next page: what comes after [`Page::next`].
    pub fn after(self, cursor: Cursor) -> Self {
        Self { after: Some(cursor), ..self }
    }

    /// At most so many, and at least one.
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: limit.max(1), ..self }
    }
}

/// Where a page ends. It shows itself as text, and is read from that again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    url: String,
    key: Vec<u8>,
    variant: Vec<u8>,
}

impl Cursor {
    fn of(key: &CacheKey, variant: &[u8]) -> Self {
        let url = format!("{}://{}{}", key.scheme(), key.authority(), key.path_and_query());
        Self { url, key: key.as_bytes().to_vec(), variant: variant.to_vec() }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        hex(f, &self.key)?;
        f.write_str(".")?;
        hex(f, &self.variant)
    }
}

impl FromStr for Cursor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (key, variant) = text.split_once('.')?;
            let key = CacheKey::from_bytes(Bytes::from(unhex(key)?))?;
            Some(Self::of(&key, &unhex(variant)?))
        };
        parse().ok_or_else(|| Error::invalid(format!("`{text}` is not the end of a page")))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| u8::try_from(digit(*high)? * 16 + digit(*low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Some entries, in the order of their URLs.
#[derive(Clone, Debug)]
pub struct Page {
    entries: Vec<Listed>,
    next: Option<Cursor>,
}

impl Page {
    /// The entries of this page.
    pub fn entries(&self) -> &[Listed] {
        &self.entries
    }

    /// Where the next page begins, if there is one.
    pub fn next(&self) -> Option<&Cursor> {
        self.next.as_ref()
    }
}

/// One stored response in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    key: CacheKey,
    head: StoredHead,
    length: u64,
    is_softly_purged: bool,
}

impl Listed {
    /// What it is stored under.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// Its head, with its tags and groups.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The bytes of its body.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Whether a soft purge has made it stale.
    pub fn is_softly_purged(&self) -> bool {
        self.is_softly_purged
    }
}

impl<M: CacheManager> CacheHandle<M> {
    /// Lists what is stored, in the order of URLs, page by page: each response by itself, also variants
    /// of one URL. Pages stay in order while entries come and go.
    ///
    /// Each page walks through the whole store, in slices that let requests go on; what it needs of
    /// memory depends on the page alone.
    ///
    /// # Errors
    ///
    /// If the store cannot be walked ([`Error::is_unsupported`]), or failed.
    pub async fn list(&self, list: &List) -> Result<Page, Error> {
        let purge = list.selected_by.clone();
        let selected = purge.map(|purge| Counting::dry(purge.resolved(&self.core.policy)));
        let mut lister = Lister { list, selected, log: &self.core.purges, found: BTreeMap::new() };
        self.core.manager.scan(&mut lister).await?;
        let mut found = lister.found;
        let more = if found.len() > list.limit { found.pop_last() } else { None };
        let next = more.and(found.last_key_value()).map(|(cursor, _)| cursor.clone());
        Ok(Page { entries: found.into_values().collect(), next })
    }
}

/// Keeps the first entries after a place, and one more.
struct Lister<'a> {
    list: &'a List,
    selected: Option<Counting>,
    log: &'a PurgeLog,
    found: BTreeMap<Cursor, Listed>,
}

impl<H: Send + Sync> Visitor<H> for Lister<'_> {
    async fn visit(&mut self, entries: Vec<Scanned<H>>) -> ControlFlow<()> {
        for scanned in &entries {
            let (key, response) = (scanned.key(), scanned.entry().response());
            let place = Cursor::of(key, scanned.variant().as_bytes());
            if self.list.after.as_ref().is_some_and(|after| place <= *after) {
                continue;
            }
            let verdict = self.log.judge(key, response.head());
            let is_selected = |selected: &Counting| selected.selects(key, response.head());
            if verdict == Verdict::Gone || !self.selected.as_ref().is_none_or(is_selected) {
                continue;
            }
            let listed = Listed {
                key: key.clone(),
                head: response.head().clone(),
                length: response.length(),
                is_softly_purged: verdict != Verdict::Good,
            };
            self.found.insert(place, listed);
            if self.found.len() > self.list.limit + 1 {
                self.found.pop_last();
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_cursor_is_an_error() {
        for text in ["", ".", "0", "zz.00", "00.00", "é.", "01"] {
            assert!(text.parse::<Cursor>().unwrap_err().is_invalid(), "{text}");
        }
    }
}
