mod choices;
mod hooks;
mod keys;
mod lifetimes;
mod requests;
mod stale;
mod storing;

use std::{fmt, sync::Arc, time::Duration};

use http::{Extensions, HeaderName, StatusCode, Uri, request};

pub use self::choices::{ClientMaxStale, ClientReload, Scope, SetCookie, VaryOnCredentials};
use super::{
    downstream::Downstream,
    explain::Trail,
    hooks::{Apart, OnRequest},
    labels::usual_tag_fields,
    lifetimes::Lifetimes,
    normal::Forms,
    query::QueryKey,
    stale::StaleRules,
};

type Target = dyn Fn(&request::Parts) -> Option<Uri> + Send + Sync;
type Partition = dyn Fn(&request::Parts) -> Option<String> + Send + Sync;
type RefreshRequest = dyn Fn(&mut request::Parts) + Send + Sync;
type Pass = dyn Fn(&Extensions) -> bool + Send + Sync;

/// The rules of one cache: RFC 9111 with its choices made.
///
/// A policy is a value: each method returns it changed, and a clone is cheap. What the rules decide
/// is asked in three questions: [`begin`](Policy::begin), [`Lookup::decide`](super::Lookup::decide)
/// and [`Fetch::on_response`](super::Fetch::on_response).
///
/// ```
/// use std::time::Duration;
/// use larder::{Policy, policy::SetCookie};
///
/// let policy = Policy::shared()
///     .default_ttl(Duration::from_secs(5))
///     .set_cookie(SetCookie::Strip);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Policy {
    pub(super) rules: Arc<Rules>,
}

#[derive(Clone)]
pub(super) struct Rules {
    pub(super) storing: StoringRules,
    pub(super) client_reload: ClientReload,
    pub(super) client_max_stale: ClientMaxStale,
    pub(super) immutable: bool,
    pub(super) clear_site_data: bool,
    pub(super) bypass_cookies: bool,
    pub(super) pass: Option<Arc<Pass>>,
    pub(super) default_scheme: String,
    pub(super) default_authority: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) normal_paths: bool,
    pub(super) query: QueryKey,
    pub(super) target: Option<Arc<Target>>,
    pub(super) partition: Option<Arc<Partition>>,
    pub(super) partition_quota: Option<u64>,
    pub(super) max_variants: usize,
    pub(super) make_etag: bool,
    pub(super) head_as_get: bool,
    pub(super) whole_for_range: bool,
    pub(super) collapse: bool,
    pub(super) forms: Forms,
    pub(super) apart: Vec<Apart>,
    pub(super) on_request: Vec<Arc<OnRequest>>,
    pub(super) stale: StaleRules,
    pub(super) downstream: Downstream,
    pub(super) trail: Trail,
    pub(super) refresh_request: Option<Arc<RefreshRequest>>,
    /// Names these rules inside a stored head, so that other rules read its fields again.
    pub(super) fingerprint: u64,
}

/// The rules that a stored head was evaluated by.
#[derive(Clone, Hash)]
pub(super) struct StoringRules {
    pub(super) revision: u64,
    pub(super) scope: Scope,
    pub(super) set_cookie: SetCookie,
    pub(super) vary_on_credentials: VaryOnCredentials,
    pub(super) heuristic_errors: bool,
    pub(super) heuristic_max: Duration,
    pub(super) negative_max: Duration,
    pub(super) heuristic_queries: bool,
    pub(super) default_ttl: Option<Duration>,
    pub(super) lifetimes: Lifetimes,
    pub(super) strict_s_maxage: bool,
    pub(super) tag_fields: Arc<[HeaderName]>,
    /// Names in `Vary` that do not count.
    pub(super) unvaried: Arc<[HeaderName]>,
    pub(super) targets: Arc<[HeaderName]>,
    /// Sorted.
    pub(super) understood: Arc<[StatusCode]>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Policy {
    /// A cache for many users, on a server or in a proxy.
    ///
    /// Set-Cookie and `private` are not stored, a client's reload is honoured at most once a second
    /// for each response, `max-stale` is ignored, and a URL has at most 64 variants.
    pub fn shared() -> Self {
        Self::new(
            Scope::Shared,
            SetCookie::Bypass,
            VaryOnCredentials::Bypass,
            ClientReload::Collapse(Duration::from_secs(1)),
            ClientMaxStale::Ignore,
        )
    }

    /// A cache for one user, in a client.
    ///
    /// `private` and Set-Cookie are stored, `s-maxage` and `proxy-revalidate` mean nothing, and
    /// the client's directives are honoured to the letter.
    pub fn private() -> Self {
        Self::new(
            Scope::Private,
            SetCookie::Store,
            VaryOnCredentials::Store,
            ClientReload::Honour,
            ClientMaxStale::Honour,
        )
    }

    fn new(
        scope: Scope,
        set_cookie: SetCookie,
        vary_on_credentials: VaryOnCredentials,
        client_reload: ClientReload,
        client_max_stale: ClientMaxStale,
    ) -> Self {
        let storing = StoringRules {
            revision: 0,
            scope,
            set_cookie,
            vary_on_credentials,
            heuristic_errors: false,
            heuristic_max: DAY,
            negative_max: Duration::from_secs(60),
            heuristic_queries: true,
            default_ttl: None,
            lifetimes: Lifetimes::default(),
            strict_s_maxage: false,
            tag_fields: Arc::new(usual_tag_fields()),
            unvaried: Arc::new([]),
            targets: Arc::new([]),
            understood: storing::usual_codes(),
        };
        let fingerprint = storing.fingerprint();
        Self {
            rules: Arc::new(Rules {
                storing,
                client_reload,
                client_max_stale,
                immutable: false,
                clear_site_data: scope == Scope::Private,
                bypass_cookies: false,
                pass: None,
                default_scheme: "http".to_owned(),
                default_authority: None,
                namespace: None,
                normal_paths: false,
                query: QueryKey::whole(),
                target: None,
                partition: None,
                partition_quota: None,
                max_variants: 64,
                make_etag: false,
                head_as_get: false,
                whole_for_range: false,
                collapse: true,
                forms: Forms::default(),
                apart: Vec::new(),
                on_request: Vec::new(),
                stale: StaleRules::default(),
                downstream: Downstream::keep(),
                trail: Trail::default(),
                refresh_request: None,
                fingerprint,
            }),
        }
    }

    /// For whom this cache keeps responses.
    pub fn scope(&self) -> Scope {
        self.rules.storing.scope
    }

    pub(super) fn rules(mut self, change: impl FnOnce(&mut Rules)) -> Self {
        change(Arc::make_mut(&mut self.rules));
        self
    }

    fn storing(self, change: impl FnOnce(&mut StoringRules)) -> Self {
        self.rules(|rules| {
            change(&mut rules.storing);
            rules.fingerprint = rules.storing.fingerprint();
        })
    }
}

impl StoringRules {
    /// FNV-1a over the rules. Where it differs between builds, stored heads are read again.
    fn fingerprint(&self) -> u64 {
        struct Fnv(u64);
        impl std::hash::Hasher for Fnv {
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
            fn finish(&self) -> u64 {
                self.0
            }
        }
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        std::hash::Hash::hash(self, &mut hasher);
        std::hash::Hasher::finish(&hasher)
    }
}

impl Default for Policy {
    /// [`Policy::shared`].
    fn default() -> Self {
        Self::shared()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("scope", &self.scope()).finish_non_exhaustive()
    }
}
