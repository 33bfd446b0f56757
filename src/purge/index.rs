use std::collections::HashMap;

use super::{
    prefix::Prefix,
    selector::{Predicate, Selector},
    written::{KINDS, Kind, texts_of, with_kind},
};
use crate::policy::{CacheKey, StoredHead};

/// Something for each selector: exact ones are found by one look-up each, whatever their number;
/// prefixes and predicates are gone through one by one.
pub(super) struct Index<V> {
    everything: V,
    /// By their text with its kind behind it.
    exact: HashMap<Box<str>, V>,
    /// How many there are of each kind: of most kinds there is none.
    kinds: [usize; KINDS],
    /// In the order in which they came.
    broad: Vec<(Broad, V)>,
}

pub(super) enum Broad {
    Prefix(Prefix),
    Where(Predicate),
}

impl<V: Default> Default for Index<V> {
    fn default() -> Self {
        Self {
            everything: V::default(),
            exact: HashMap::new(),
            kinds: [0; KINDS],
            broad: Vec::new(),
        }
    }
}

impl<V: Default> Index<V> {
    /// What there is for a selector, made if it is not there. `None`: one that selects nothing here.
    pub(super) fn entry(&mut self, selector: &Selector) -> Option<&mut V> {
        let broad = match selector {
            Selector::Everything => return Some(&mut self.everything),
            Selector::Variant { .. } => return None,
            Selector::Prefix(prefix) => Broad::Prefix(prefix.clone()),
            Selector::Where(predicate) => Broad::Where(predicate.clone()),
            _ => {
                let (kind, text) = selector.written()?;
                let key = with_kind(text, kind).into_boxed_str();
                if !self.exact.contains_key(&key) {
                    self.kinds[kind as usize] += 1;
                }
                return Some(self.exact.entry(key).or_default());
            }
        };
        // One that comes again is the newest.
        let value = match self.broad.iter().position(|(other, _)| other.is_same(&broad)) {
            Some(at) => self.broad.remove(at).1,
            None => V::default(),
        };
        self.broad.push((broad, value));
        self.broad.last_mut().map(|(_, value)| value)
    }

    #[cfg(any(feature = "disk", feature = "redis"))]
    pub(super) fn everything(&self) -> &V {
        &self.everything
    }

    pub(super) fn everything_mut(&mut self) -> &mut V {
        &mut self.everything
    }

    /// All that selects an entry.
    pub(super) fn visit(&self, key: &CacheKey, head: &StoredHead, visit: impl FnMut(&V)) {
        self.visit_any(key, Some(head), visit);
    }

    /// All that selects a resource, whatever is stored there.
    #[cfg(feature = "disk")]
    pub(super) fn visit_resource(&self, key: &CacheKey, visit: impl FnMut(&V)) {
        self.visit_any(key, None, visit);
    }

    fn visit_any(&self, key: &CacheKey, head: Option<&StoredHead>, mut visit: impl FnMut(&V)) {
        visit(&self.everything);
        if !self.exact.is_empty() {
            let asks = |kind: Kind| self.kinds[kind as usize] > 0;
            texts_of(key, head, asks, |text| self.exact.get(text).into_iter().for_each(&mut visit));
        }
        for (broad, value) in &self.broad {
            let selects = match broad {
                Broad::Prefix(prefix) => prefix.selects(key),
                Broad::Where(predicate) => head.is_some_and(|head| predicate.selects(key, head)),
            };
            if selects {
                visit(value);
            }
        }
    }

    /// Keeps that for which `keep` says so, but what there is for everything.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool) {
        let kinds = &mut self.kinds;
        self.exact.retain(|key, value| {
            let keeps = keep(value);
            if let Some(kind) = key.as_bytes().last().filter(|_| !keeps) {
                kinds[usize::from(*kind)] -= 1;
            }
            keeps
        });
        self.broad.retain_mut(|(_, value)| keep(value));
    }

    /// Takes out the prefix or predicate that came first.
    pub(super) fn pop_broad(&mut self) -> Option<V> {
        (!self.broad.is_empty()).then(|| self.broad.remove(0).1)
    }

    /// How many exact selectors there are, and how many others.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.exact.len(), self.broad.len())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.exact.values().chain(self.broad.iter().map(|(_, value)| value))
    }

    /// All that can be written, with its selector.
    #[cfg(feature = "disk")]
    pub(super) fn written(&self) -> impl Iterator<Item = (Selector, &V)> {
        let exact = self.exact.iter().filter_map(|(key, value)| {
            let (text, kind) = key.split_at_checked(key.len().checked_sub(1)?)?;
            Some((Selector::read(*kind.as_bytes().first()?, text)?, value))
        });
        let prefixes = self.broad.iter().filter_map(|(broad, value)| match broad {
            Broad::Prefix(prefix) => Some((Selector::Prefix(prefix.clone()), value)),
            Broad::Where(_) => None,
        });
        exact.chain(prefixes)
    }
}

impl Broad {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Broad::Prefix(one), Broad::Prefix(other)) => one == other,
            (Broad::Where(one), Broad::Where(other)) => one == other,
            _ => false,
        }
    }
}
