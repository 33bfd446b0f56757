//! How a response tells what the cache did: to the client, to the code around, to an observer.

use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue, Response, request};
use http_body::Body;

use crate::{
    CacheBody,
    clock::Clock,
    observe::Event,
    policy::{CACHE_STATUS, CacheKey, CacheStatus, Served, Timestamp},
    witness::Witness,
};

/// What is told, and to whom.
#[derive(Clone, Default)]
pub(crate) struct Emit {
    /// What this cache is called in `Cache-Status`, if it adds to that.
    pub(crate) header: Option<Arc<str>>,
    pub(crate) has_key: bool,
    pub(crate) x_cache: bool,
    pub(crate) extension: bool,
    /// Which requests are told.
    pub(crate) only_if: Option<Arc<Predicate>>,
    pub(crate) witness: Witness,
    /// Whether anything of a request has to be known for it: all that a hit asks where nothing has.
    keeps_accounts: bool,
    /// Whether a response tells anything: the same.
    is_told: bool,
    /// Whether each hit tells in `Cache-Status`.
    has_slot: bool,
}

pub(crate) type Predicate = dyn Fn(&request::Parts) -> bool + Send + Sync;

/// What has to be known of a request to tell of its answer.
pub(crate) struct Account {
    /// Whether the client is told.
    is_told: bool,
    key: Option<Box<str>>,
    /// With an observer.
    watch: Option<Watch>,
}

/// Dropped before the answer is there, it says that the client has left.
struct Watch {
    witness: Witness,
    clock: Arc<dyn Clock>,
    began: Timestamp,
    is_over: bool,
}

impl Emit {
    /// Has changed.
    pub(crate) fn settle(&mut self) {
        self.keeps_accounts =
            self.only_if.is_some() || self.has_key || self.witness.observer().is_some();
        self.is_told = self.header.is_some() || self.x_cache || self.extension;
        self.has_slot = self.header.is_some() && self.only_if.is_none();
    }

    /// Whether a hit is to have a slot for `Cache-Status`: an empty value that is to be replaced.
    #[inline]
    pub(crate) fn has_slot(&self) -> bool {
        self.has_slot
    }

    /// Whatever is to be known of a request beside its answer; nothing, unless somebody has asked for
    /// it.
    #[inline]
    pub(crate) fn open(&self, request: &request::Parts, clock: &Arc<dyn Clock>) -> Option<Account> {
        self.keeps_accounts.then(|| self.account(request, clock))
    }

    fn account(&self, request: &request::Parts, clock: &Arc<dyn Clock>) -> Account {
        let is_told = self.only_if.as_ref().is_none_or(|is_told| is_told(request));
        let watch = self.witness.observer().map(|_| Watch {
            witness: self.witness.clone(),
            clock: clock.clone(),
            began: clock.now(),
            is_over: false,
        });
        Account { is_told, key: None, watch }
    }

    /// What it is looked up under.
    #[inline]
    pub(crate) fn look_up(&self, account: &mut Option<Account>, key: &CacheKey) {
        if let Some(account) = account.as_mut().filter(|account| self.has_key && account.is_told) {
            account.key = Some(key.to_url().into());
        }
    }

    /// Tells of an answer.
    #[inline]
    pub(crate) fn close<B: Body>(
        &self,
        account: Option<Account>,
        response: &mut Response<CacheBody<B>>,
    ) {
        let served = response.body().status_ref().served();
        self.witness.counters().served(served);
        if self.is_told || account.is_some() {
            self.tell(account, served, response);
        }
    }

    #[inline(never)]
    fn tell<B: Body>(
        &self,
        account: Option<Account>,
        served: Served,
        response: &mut Response<CacheBody<B>>,
    ) {
        let status = response.body().status();
        if self.extension {
            response.extensions_mut().insert(status);
        }
        match account {
            None => self.write(status, served, None, response),
            Some(account) => self.settle_account(account, status, served, response),
        }
    }

    fn settle_account<B: Body>(
        &self,
        mut account: Account,
        status: CacheStatus,
        served: Served,
        response: &mut Response<CacheBody<B>>,
    ) {
        if account.is_told {
            self.write(status, served, account.key.as_deref(), response);
        }
        if let Some(watch) = &mut account.watch {
            let (code, bytes) = (response.status(), response.body().length());
            watch.end(|took| Event::Answered { status, code, bytes, took });
        }
    }

    #[inline]
    fn write<B>(
        &self,
        status: CacheStatus,
        served: Served,
        key: Option<&str>,
        response: &mut Response<CacheBody<B>>,
    ) {
        // An answer of our own is no other cache's and no origin's (RFC 9211 §2).
        let name = self.header.as_deref().filter(|_| served != Served::Generated);
        let headers = response.headers_mut();
        // One of several lines is none.
        let may_be_slot = self.has_slot && headers.len() == headers.keys_len();
        let slot = may_be_slot.then(|| headers.get_mut(CACHE_STATUS)).flatten();
        let slot = slot.filter(|slot| slot.is_empty());
        match (name.and_then(|name| status.member(name, key)), slot) {
            (Some(member), Some(slot)) => *slot = member,
            (Some(member), None) => drop(headers.append(CACHE_STATUS, member)),
            (None, Some(_)) => drop(headers.remove(CACHE_STATUS)),
            (None, None) => {}
        }
        if self.x_cache {
            response.headers_mut().insert(X_CACHE, x_cache(served));
        }
    }
}

impl fmt::Debug for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emit").field("header", &self.header).finish_non_exhaustive()
    }
}

impl Account {
    /// The inner service has failed, and so has the request.
    pub(crate) fn fail(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.end(|took| Event::Failed { took });
        }
    }
}

impl Watch {
    fn end(&mut self, event: impl FnOnce(std::time::Duration) -> Event<'static>) {
        self.is_over = true;
        let took = self.clock.now().since(self.began);
        self.witness.tell_at_the_end(&event(took));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_over {
            self.end(|took| Event::Left { took });
        }
    }
}

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");

fn x_cache(served: Served) -> HeaderValue {
    HeaderValue::from_static(match served {
        Served::Hit | Served::Validated => "HIT",
        Served::Stale | Served::StaleOnError => "STALE",
        Served::Collapsed | Served::Miss | Served::Bypass | Served::Generated => "MISS",
    })
}
