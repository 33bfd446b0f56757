use std::{fmt, time::Duration};

use http::request;

use super::CacheHandle;
use crate::{
    Error,
    policy::{self, CacheKey, CacheStatus, Decision, Step, StoredResponse, Timestamp},
    purge::Verdict,
    storage::CacheManager,
};

/// What a cache has for a request, and what it would do with it: see [`CacheHandle::inspect`].
///
/// It shows itself as a few lines of text.
#[derive(Clone, Debug)]
pub struct Inspection {
    key: CacheKey,
    status: CacheStatus,
    entries: Vec<Inspected>,
    steps: Vec<Step>,
}

impl Inspection {
    /// What the request is looked up by.
    pub fn key(&self) -> &CacheKey {
        &self.key
    }

    /// What would become of the request: a hit, or why it would be forwarded.
    pub fn status(&self) -> CacheStatus {
        self.status
    }

    /// The stored responses that the request selects, at most one for each set of names in `Vary`;
    /// also those that have been purged and not swept.
    pub fn entries(&self) -> &[Inspected] {
        &self.entries
    }

    /// Why: the rules that were applied, in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }
}

/// A stored response, without its body.
#[derive(Clone, Debug)]
pub struct Inspected {
    response: StoredResponse,
    now: Timestamp,
    is_purged: bool,
}

impl Inspected {
    /// Its head and length.
    pub fn response(&self) -> &StoredResponse {
        &self.response
    }

    /// How old it is now (RFC 9111 §4.2.3).
    pub fn age(&self) -> Duration {
        self.response.head().age(self.now)
    }

    /// How long it is fresh in all, by the rules that stored it (RFC 9111 §4.2.1), unless a soft purge
    /// ends that.
    pub fn lifetime(&self) -> Duration {
        let head = self.response.head();
        let lifetime = head.lifetime();
        self.response.softly_purged().map_or(lifetime, |then| lifetime.min(head.age(then)))
    }

    /// Whether it has been purged: it is not served, and waits to be swept.
    pub fn is_purged(&self) -> bool {
        self.is_purged
    }

    /// Whether a soft purge has made it stale.
    pub fn is_softly_purged(&self) -> bool {
        self.response.softly_purged().is_some()
    }
}

impl<M: CacheManager> CacheHandle<M> {
    /// What is stored for a request, and what would become of it now. Nothing is asked of the origin,
    /// and no body is read.
    ///
    /// ```
    /// # async fn example(handle: larder::CacheHandle<larder::MemoryManager>) {
    /// let (request, ()) = http::Request::get("http://a.example/report").body(()).unwrap().into_parts();
    /// match handle.inspect(&request).await {
    ///     Ok(inspection) => println!("{inspection}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If such a request passes by the cache ([`Error::is_invalid`], with the reason), or if the store
    /// failed.
    pub async fn inspect(&self, request: &request::Parts) -> Result<Inspection, Error> {
        let explained = policy::explain(&self.core.policy);
        let lookup = super::variant::lookup(explained.policy(), request)?;
        let now = self.core.clock.now();
        let mut found = self.find(&lookup, request).await?;
        let key = lookup.key().clone();
        let log = &self.core.purges;
        let entries = found.responses().iter().map(|response| {
            let verdict = log.judge(&key, response.head());
            let response = match verdict {
                Verdict::Stale(at) => response.clone().stale_since(Timestamp::from_wall(at)),
                Verdict::Good | Verdict::Gone => response.clone(),
            };
            Inspected { response, now, is_purged: verdict == Verdict::Gone }
        });
        let entries = entries.collect();
        found.judge(|response| log.judge(&key, response.head()));
        let mut head = request.clone();
        let status = match lookup.decide(&mut head, found.as_stored(), now) {
            Decision::Serve(serve) | Decision::Refresh(serve, _) => serve.status,
            Decision::Forward(fetch) => CacheStatus::forwarded(fetch.reason()),
            Decision::GatewayTimeout(status) => status,
        };
        Ok(Inspection { key, status, entries, steps: explained.steps() })
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.key, self.status)?;
        self.entries.iter().try_for_each(|entry| write!(f, "\n{entry}"))
    }
}

impl fmt::Display for Inspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (head, length) = (self.response.head(), self.response.length());
        let (age, lifetime) = (self.age(), self.lifetime());
        let state = match () {
            () if self.is_purged() => "purged",
            () if self.is_softly_purged() => "softly purged",
            () if lifetime > age => "fresh",
            () => "stale",
        };
        let (age, lifetime) = (age.as_secs(), lifetime.as_secs());
        let status = head.status().as_u16();
        match head.content_range() {
            Some(part) => write!(f, "{status}, {part}")?,
            None => write!(f, "{status}, {length} bytes")?,
        }
        write!(f, ", age {age} s of {lifetime} s: {state}")?;
        for (what, labels) in
            [("tags", head.tags().collect::<Vec<_>>()), ("groups", head.groups().collect())]
        {
            if !labels.is_empty() {
                write!(f, ", {what} {labels:?}")?;
            }
        }
        Ok(())
    }
}
