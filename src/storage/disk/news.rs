//! What the records tell a catalog, and what it tells them.

use super::{
    catalog::Line,
    pool::lock,
    records::Records,
    table::{Change, Extent, Item},
};

/// With more than so many changes it is time to tell them.
const MANY_CHANGES: usize = 1 << 13;

impl Records {
    /// Begins to enter what a catalog says in which uses are counted up to `now`.
    pub(super) fn begin_loading(&self, now: u32) {
        let table = &mut *lock(&self.table);
        table.now = table.now.wrapping_add(now);
    }

    /// Enters what it says, in its order; what has changed meanwhile is left as it is. `false`: it
    /// does not matter any more.
    pub(super) fn load(&self, lines: &[Line], is_snapshot: bool) -> bool {
        let table = &mut *lock(&self.table);
        for line in lines {
            let Some(changed) = &table.loading else { return false };
            match *line {
                Line::There { name, .. } | Line::Gone(name) if changed.contains(&name) => {}
                Line::There { name, resource, blocks, used_at } => {
                    table.remove(name);
                    // What follows a snapshot is in the order of use. What was used while that was
                    // written is as new as any.
                    let is_older = table.now.wrapping_sub(used_at) < u32::MAX / 2;
                    let used_at = match (is_snapshot, is_older) {
                        (true, true) => used_at,
                        (true, false) => table.now,
                        (false, _) => table.tick(),
                    };
                    let extent = Extent::told(blocks);
                    table.insert(Item { name, resource, extent, used_at });
                }
                Line::Gone(name) => table.remove(name),
                Line::Used(name) => drop(table.touch(name)),
            }
        }
        true
    }

    pub(super) fn end_loading(&self) {
        let table = &mut *lock(&self.table);
        let changed = table.loading.take().unwrap_or_default();
        let Some(mut news) = table.news.take() else { return };
        // What was used meanwhile is newer than what the catalog says.
        let used = news.changes.iter().filter_map(|change| match change {
            Change::Used(name) => Some(*name),
            Change::There(_) | Change::Gone(_) => None,
        });
        for name in changed.into_iter().chain(used) {
            table.touch(name);
        }
        news.used_at = table.now;
        table.news = Some(news);
    }

    pub(super) fn has_many_changes(&self) -> bool {
        lock(&self.table).news.as_ref().is_some_and(|news| news.changes.len() >= MANY_CHANGES)
    }

    /// What has changed since the last time. `None`: the catalog is to be written anew.
    pub(super) fn take_changes(&self) -> Option<Vec<Line>> {
        let table = &mut *lock(&self.table);
        let Some(news) = &mut table.news else { return Some(Vec::new()) };
        let changes = std::mem::take(&mut news.changes);
        if std::mem::take(&mut news.is_lost) {
            return None;
        }
        let line = |change| match change {
            Change::There(name) => table.get(name).map(Item::line),
            Change::Gone(name) => Some(Line::Gone(name)),
            Change::Used(name) => Some(Line::Used(name)),
        };
        Some(changes.into_iter().filter_map(line).collect())
    }

    /// The catalog could not be told what was taken.
    pub(super) fn give_up_changes(&self) {
        if let Some(news) = &mut lock(&self.table).news {
            news.is_lost = true;
        }
    }

    /// Gives what has been used since the last time to `write`, some at a time.
    pub(super) fn uses<E>(&self, write: impl FnMut(&[Line]) -> Result<(), E>) -> Result<(), E> {
        let (now, span) = {
            let table = &mut *lock(&self.table);
            let Some(news) = table.news.as_mut().filter(|_| table.loading.is_none()) else {
                // Uses are among the changes until all is known.
                return Ok(());
            };
            let since = std::mem::replace(&mut news.used_at, table.now);
            (table.now, table.now.wrapping_sub(since))
        };
        let is_new = |item: &Item| now.wrapping_sub(item.used_at) < span;
        if span == 0 {
            return Ok(());
        }
        self.tell(|item| is_new(item).then_some(Line::Used(item.name)), write)
    }

    /// Gives all that is there to `write`, some at a time.
    pub(super) fn snapshot<E>(&self, write: impl FnMut(&[Line]) -> Result<(), E>) -> Result<(), E> {
        {
            let table = &mut *lock(&self.table);
            if let Some(news) = &mut table.news {
                news.used_at = table.now;
            }
        }
        self.tell(|item| Some(item.line()), write)
    }

    fn tell<E>(
        &self,
        line: impl Fn(&Item) -> Option<Line>,
        mut write: impl FnMut(&[Line]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut end, mut lines) = (usize::MAX, Vec::new());
        while end > 0 {
            lines.clear();
            end = self.slice(end, |item| lines.extend(line(item)));
            write(&lines)?;
        }
        Ok(())
    }

    pub(super) fn now(&self) -> u32 {
        lock(&self.table).now
    }
}
