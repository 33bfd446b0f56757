//! A question to the store.

use std::{borrow::Cow, ops::Deref};

use http::HeaderMap;

use super::{
    CacheKey, CacheMode, Policy, Reason, Scope, StoredResponse,
    directives::RequestDirectives,
    index::{By, VariantBound, Wanted},
    range::Ranges,
    secret::Secret,
    variants::{NameSet, Selecting},
};

/// A request that may be answered from the store.
///
/// It borrows the policy, since a hit in memory is over before anything else happens;
/// [`detach`](Self::detach) makes it independent.
#[derive(Debug)]
#[must_use]
pub struct Lookup<'p> {
    pub(super) policy: Cow<'p, Policy>,
    pub(super) key: Key<'p>,
    /// What tells the request apart beside what `Vary` names.
    pub(super) apart: Option<Box<[u8]>>,
    pub(super) mode: CacheMode,
    /// Whether nobody can vouch for what is stored.
    pub(super) is_doubted: bool,
    pub(super) is_head: bool,
    pub(super) authorization: bool,
    pub(super) is_conditional: bool,
    /// What of it is asked for, if not all.
    pub(super) ranges: Option<Ranges>,
    pub(super) directives: RequestDirectives,
}

/// Where a look-up has its key: a hit has it on the stack, and feels each time that one is moved.
#[derive(Debug)]
pub(super) enum Key<'p> {
    There(&'p CacheKey),
    Own(Box<CacheKey>),
}

impl Deref for Key<'_> {
    type Target = CacheKey;

    #[inline]
    fn deref(&self) -> &CacheKey {
        match self {
            Key::There(key) => key,
            Key::Own(key) => key,
        }
    }
}

impl Lookup<'_> {
    /// The same question, for a store that has to be waited for.
    pub fn detach(self) -> Lookup<'static> {
        let policy = Policy::clone(&self.policy);
        self.of(Cow::Owned(policy))
    }

    /// The same question, with a key of its own.
    pub(super) fn of(self, policy: Cow<'_, Policy>) -> Lookup<'_> {
        Lookup {
            policy,
            key: match self.key {
                Key::There(key) => Key::Own(Box::new(key.clone())),
                Key::Own(key) => Key::Own(key),
            },
            apart: self.apart,
            mode: self.mode,
            is_doubted: self.is_doubted,
            is_head: self.is_head,
            authorization: self.authorization,
            is_conditional: self.is_conditional,
            ranges: self.ranges,
            directives: self.directives,
        }
    }

    /// The same question where what is stored may have been purged elsewhere, unheard: it is validated
    /// before it is used, however fresh (RFC 9111 §4.3).
    pub fn doubting(mut self) -> Self {
        self.doubt();
        self
    }

    #[inline]
    pub(crate) fn doubt(&mut self) {
        self.is_doubted = true;
    }

    /// The resource that is asked for.
    #[inline]
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// What to get from the store, for the request with these `headers`.
    #[inline]
    pub fn wanted<'a>(&'a self, headers: &'a HeaderMap, secret: &'a Secret) -> Wanted<'a> {
        Wanted { key: &self.key, by: By::Request { lookup: self, headers, secret } }
    }

    /// Whether what it finds is one user's (and few keys have to be read to know that none is).
    #[inline]
    pub(super) fn is_partitioned(&self) -> bool {
        self.policy.rules.partition.is_some() && self.key.partition().is_some()
    }

    /// How many variants of the resource may be kept.
    #[inline]
    pub(super) fn bound(&self) -> VariantBound {
        let quota = self.policy.rules.partition_quota;
        if let (Some(quota), true) = (quota, self.is_partitioned()) {
            VariantBound::Quota(quota)
        } else if self.policy.scope() == Scope::Shared && !self.is_partitioned() {
            VariantBound::Count(self.policy.rules.max_variants)
        } else {
            VariantBound::Share
        }
    }

    /// What of the request with these `headers` selects among variants.
    #[inline]
    pub(super) fn selecting<'a>(
        &'a self,
        request: &'a HeaderMap,
        secret: &'a Secret,
    ) -> Selecting<'a> {
        let (rules, apart) = (&*self.policy.rules, self.apart.as_deref());
        let (forms, unvaried) = (rules.forms, &*rules.storing.unvaried);
        Selecting { request, secret, forms, unvaried, apart }
    }

    /// What a stored response's `Vary` names, as far as it counts here.
    pub(super) fn names_of(&self, stored: &StoredResponse) -> Result<NameSet, Reason> {
        self.names_in(stored.head().headers())
    }

    pub(super) fn names_in(&self, headers: &HeaderMap) -> Result<NameSet, Reason> {
        NameSet::of(headers, &self.policy.rules.storing.unvaried)
    }
}
