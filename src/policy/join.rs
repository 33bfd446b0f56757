use std::borrow::Cow;

use http::{Extensions, HeaderMap, response};

use super::{
    CacheMode, CacheStatus, ClientReload, Content, Lookup, Reason, Store, StoredHead,
    age::{self, Timestamp},
    chosen::Use,
    content_range::Extent,
    range::Ranges,
    secret::Secret,
    storing,
    variants::{NameSet, VariantKey},
};

/// A response that is on its way into the store, as others than the one who asked see it.
///
/// Only a [`Store`] gives one, so that what must not be stored cannot be shared.
#[derive(Clone, Debug)]
pub struct Running {
    head: StoredHead,
    names: NameSet,
    variant: VariantKey,
    extent: Option<Extent>,
}

impl Running {
    pub(super) fn new(store: &Store) -> Self {
        let placement = store.placement();
        let extent = match store.head().content_range() {
            Some(part) => Some(Extent::Part(part)),
            None => store.length().map(Extent::Whole),
        };
        Self {
            head: store.head().clone(),
            names: placement.names().clone(),
            variant: placement.variant().clone(),
            extent,
        }
    }

    /// The head as it is stored.
    pub fn head(&self) -> &StoredHead {
        &self.head
    }

    /// The request fields that select it.
    pub fn names(&self) -> &NameSet {
        &self.names
    }

    /// What they were.
    pub fn variant(&self) -> &VariantKey {
        &self.variant
    }
}

/// What part a request may take where others ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Others may wait for what it brings, and it for what they do.
    Either,
    /// It may wait for others.
    Follow,
    /// Neither.
    Alone,
}

/// Request extension: this request asks the origin for itself, whoever else is asking.
///
/// ```
/// use larder::Uncollapsed;
///
/// let request = http::Request::get("http://a.example/").extension(Uncollapsed).body(())?;
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncollapsed;

/// Whether a request may be answered with a response that another has asked for.
#[derive(Debug)]
#[must_use]
pub enum Join {
    /// With this head, and the body as it comes.
    Share {
        /// The head, ready to be sent.
        head: Box<response::Parts>,
        /// What of the body belongs to it.
        content: Content,
        /// How it came about.
        status: CacheStatus,
    },
    /// No: it has to ask for itself.
    Alone(Reason),
}

impl Lookup<'_> {
    /// What part this request, which has these `extensions`, may take where others ask for the same.
    pub fn role(&self, extensions: &Extensions) -> Role {
        self.part(extensions, false, false)
    }

    pub(super) fn part(
        &self,
        extensions: &Extensions,
        replaces_conditions: bool,
        is_for_whole: bool,
    ) -> Role {
        let collapses = || extensions.get::<Uncollapsed>().is_none();
        let rules = &*self.policy.rules;
        // To the letter, only its own answer is new enough.
        let wants_its_own = rules.client_reload == ClientReload::Honour
            && (self.directives.no_cache
                || self.directives.max_age.is_some_and(|age| age.is_zero()));
        let is_default = rules.collapse && self.mode == CacheMode::Default && !self.is_doubted;
        if !is_default || wants_its_own || !collapses() {
            Role::Alone
        } else if (self.is_head && !rules.head_as_get)
            || self.directives.no_store
            || (self.ranges.is_some() && !is_for_whole)
            || (self.is_conditional && !replaces_conditions)
        {
            // What comes of it is not stored.
            Role::Follow
        } else {
            Role::Either
        }
    }

    /// Whether this request, whose fields are `request`, may have what is `running` (RFC 9111 §4):
    /// the same rules as for what is stored already. `why` it would be forwarded otherwise.
    pub fn join(
        &self,
        request: &HeaderMap,
        running: &Running,
        why: Reason,
        secret: &Secret,
        now: Timestamp,
    ) -> Join {
        let head = &running.head;
        if self.mode == CacheMode::Reload {
            return Join::Alone(Reason::Reload);
        }
        if running.names.select(&self.selecting(request, secret)) != running.variant {
            return Join::Alone(Reason::VaryMiss);
        }
        let rules = &*self.policy.rules;
        let facts = if head.facts().rules == rules.fingerprint {
            Cow::Borrowed(head.facts())
        } else {
            match storing::evaluate_again(rules, &self.key, head) {
                Ok(facts) => Cow::Owned(facts),
                Err(reason) => return Join::Alone(reason),
            }
        };
        let resident = now.since(head.asked().received);
        let age = age::current_age(&facts, resident);
        match self.may_use(&facts, age, resident) {
            Ok(Use::AsItIs) => {
                // Of a length that nobody knows yet no part can be told; and who reads along reads on,
                // never back.
                let extent = match (&self.ranges, running.extent) {
                    // A part is there for those who ask for it, by themselves.
                    (_, Some(Extent::Part(_))) => return Join::Alone(Reason::Range),
                    (None | Some(Ranges::One(_)), extent @ Some(_)) | (None, extent) => extent,
                    // They would ask for no less than all.
                    (Some(_), _) if rules.whole_for_range => None,
                    (Some(_), _) => return Join::Alone(Reason::Range),
                };
                let (head, content) = self.answer(request, head, extent, age, now);
                let status = CacheStatus::forwarded(why).collapsed();
                Join::Share { head: Box::new(head), content, status }
            }
            Ok(Use::Refreshing) => Join::Alone(Reason::Stale),
            Err(reason) => Join::Alone(reason),
        }
    }

    /// The variant that the request selects where `Vary` names `names`.
    pub fn variant(&self, request: &HeaderMap, names: &NameSet, secret: &Secret) -> VariantKey {
        names.select(&self.selecting(request, secret))
    }
}
