use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, Uri, request};
use tower_layer::Layer;

use crate::{
    CacheHandle, CacheService, Clock, Disconnect, Executor, Policy, SystemClock,
    admission::Uses,
    background::{Background, Counted, Limits},
    bus::{Attached, CutOff, PurgeBus, WhenCutOff},
    emit::Emit,
    log::Budget,
    observe::{Event, Observer},
    pending::Pending,
    shared::{Core, Waits},
    storage::CacheManager,
};

/// A tower layer that keeps HTTP responses by RFC 9111.
///
/// # Who the user is may stand where no RFC looks
///
/// A shared cache goes by the fields of a message. If a layer *outside* of the cache has
/// authenticated the user and put it into the request's extensions, or if a session cookie says who
/// it is, then a handler's answer for one user looks like an answer for all. Say so in one line:
///
/// ```
/// use larder::{CacheLayer, MemoryManager, Policy};
/// # #[derive(Clone)] struct User { id: String }
///
/// // Keep responses apart, a cache for each user:
/// let policy = Policy::shared().partition(|head| Some(head.extensions.get::<User>()?.id.clone()));
/// // or let requests with a user pass by:
/// let policy = Policy::shared().bypass_if_extension::<User>();
/// // or those with a cookie:
/// let policy = Policy::shared().bypass_cookies(true);
/// let cache = CacheLayer::new(MemoryManager::new(64 << 20)).policy(policy);
/// ```
///
/// or let the handler mark its answer with [`Private`](crate::Private) or
/// `Cache-Control: private`.
///
/// # Sharing
///
/// Clones of a layer share its store, and so do all the services that one layer makes: axum's
/// `Router::layer` calls [`layer`](Layer::layer) once for each route. A clone with another policy
/// still uses the same store:
///
/// ```
/// # use std::time::Duration;
/// use axum::{Router, routing::get};
/// use larder::{CacheLayer, MemoryManager};
///
/// let cache = CacheLayer::new(MemoryManager::new(64 << 20));
/// let app: Router = Router::new()
///     .route("/news", get(|| async { "news" }).layer(cache.clone().default_ttl(Duration::from_secs(10))))
///     .route("/report", get(|| async { "report" }).layer(cache));
/// ```
///
/// # Readiness
///
/// The service is always ready: a hit never waits for a busy origin. A miss clones the inner
/// service and waits for the clone to be ready. It follows that
///
/// - `LoadShed`, `Buffer` and balancers *outside* of the cache do not see the origin's pressure; put
///   them inside;
/// - a limit such as `ConcurrencyLimit` inside counts the requests that reach the origin, and never
///   a hit; a permit is given back when the request has ended, which with [`Disconnect::Abandon`] is as
///   soon as the response future is dropped;
/// - a service that is not `Clone` goes into a `Buffer` first.
///
/// # Order
///
/// On a server, outermost first: tracing, authentication, cache, handler. A `CompressionLayer` may
/// stand inside (each coding is stored once, by the `Vary` that it sets) or outside (what is stored
/// is compressed for each hit). In a client: redirects, cache, retries, time limits, transport.
#[must_use]
pub struct CacheLayer<M> {
    core: Arc<Core<M>>,
}

impl<M: CacheManager> CacheLayer<M> {
    /// A cache over `manager` with the rules of [`Policy::shared`].
    pub fn new(manager: M) -> Self {
        #[cfg(feature = "tokio")]
        let executor: Arc<dyn Executor> = Arc::new(crate::TokioExecutor::new());
        #[cfg(not(feature = "tokio"))]
        let executor: Arc<dyn Executor> = Arc::new(crate::NoExecutor);
        let background = Arc::new(Background::default());
        Self {
            core: Arc::new(Core {
                policy: Policy::shared(),
                purges: manager.purge_log().clone(),
                manager,
                clock: Arc::new(SystemClock),
                executor: Arc::new(Counted::new(executor.clone(), background.clone())),
                uncounted: executor,
                emit: Arc::default(),
                store_timeout: Duration::from_millis(50),
                waits: Waits::default(),
                budget: Arc::new(Budget::new(64 << 20)),
                background,
                pending: Pending::default(),
                uses: Arc::new(Uses::new(1)),
                bus: None,
                cut_off: CutOff::default(),
            }),
        }
    }

    /// Goes by these rules.
    pub fn policy(self, policy: Policy) -> Self {
        self.core(|core| core.policy = policy)
    }

    /// [`Policy::default_ttl`] of this layer's policy.
    pub fn default_ttl(self, ttl: Duration) -> Self {
        self.core(|core| core.policy = core.policy.clone().default_ttl(ttl))
    }

    /// [`Policy::namespace`] of this layer's policy.
    pub fn namespace(self, namespace: impl Into<String>) -> Self {
        self.core(|core| core.policy = core.policy.clone().namespace(namespace))
    }

    /// [`Policy::target`] of this layer's policy.
    pub fn target(
        self,
        target: impl Fn(&request::Parts) -> Option<Uri> + Send + Sync + 'static,
    ) -> Self {
        self.core(|core| core.policy = core.policy.clone().target(target))
    }

    /// Appends a `Cache-Status` member called `name` to each response, behind those of the caches
    /// further inside (RFC 9211). A name that is not a token is sent as a string. A 504 of the cache's own
    /// has none (§2 there). Default: none.
    ///
    /// Who may see it can learn what others have asked for: [`tell_if`](Self::tell_if) and
    /// [`tell_with_secret`](Self::tell_with_secret) say to whom it is sent.
    pub fn cache_status_header(self, name: impl Into<String>) -> Self {
        self.emit(|emit| emit.header = Some(name.into().into()))
    }

    /// Whether the `Cache-Status` member has a `key` (RFC 9211 §2.7): the URL under which the
    /// request was looked up, and nothing of its namespace, partition and fields. Default: `false`,
    /// since it tells how keys are made (§6 there).
    pub fn cache_status_key(self, is_sent: bool) -> Self {
        self.emit(|emit| emit.has_key = is_sent)
    }

    /// Whether each response gets an `X-Cache` field, for tools that know no better: `HIT` for what
    /// came from the store, `STALE` where that was stale, else `MISS`. It takes the place of one that
    /// came from further inside. Default: `false`.
    pub fn x_cache_header(self, is_sent: bool) -> Self {
        self.emit(|emit| emit.x_cache = is_sent)
    }

    /// Sends `Cache-Status` and `X-Cache` only to requests for which this says so. Default: to all.
    ///
    /// ```
    /// # use larder::{CacheLayer, MemoryManager};
    /// #[derive(Clone)]
    /// struct Staff;
    ///
    /// let cache = CacheLayer::new(MemoryManager::new(64 << 20))
    ///     .cache_status_header("larder")
    ///     .tell_if(|head| head.extensions.get::<Staff>().is_some());
    /// ```
    pub fn tell_if(
        self,
        is_told: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.emit(|emit| emit.only_if = Some(Arc::new(is_told)))
    }

    /// Sends `Cache-Status` and `X-Cache` only to requests whose `field` has the value `secret`,
    /// compared in a time that does not depend on where they differ. It takes the place of
    /// [`tell_if`](Self::tell_if).
    ///
    /// ```
    /// # use larder::{CacheLayer, MemoryManager};
    /// use http::HeaderName;
    ///
    /// # let token = String::new();
    /// let cache = CacheLayer::new(MemoryManager::new(64 << 20))
    ///     .cache_status_header("larder")
    ///     .tell_with_secret(HeaderName::from_static("x-debug"), token);
    /// ```
    pub fn tell_with_secret(self, field: HeaderName, secret: impl AsRef<[u8]>) -> Self {
        let secret = blake3::hash(secret.as_ref());
        self.tell_if(move |head| {
            head.headers.get(&field).is_some_and(|value| blake3::hash(value.as_bytes()) == secret)
        })
    }

    /// Has `observer` hear what happens in this layer and its clones, and which purges there are in
    /// its store. Called again, both hear.
    pub fn observer(self, observer: impl Observer) -> Self {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        let hearing = observer.clone();
        let purges = self.core.purges.on_event(move |event| hearing.observe(&Event::Purge(event)));
        let usage = self.core.manager.usage();
        self.emit(|emit| {
            emit.witness.begin_at(usage);
            emit.witness.add(observer, purges);
        })
    }

    /// Whether each response gets its [`CacheStatus`](crate::CacheStatus) as an extension. Default: `false`;
    /// [`CacheBody::status`](crate::CacheBody::status) says the same for nothing.
    pub fn cache_status_extension(self, is_set: bool) -> Self {
        self.emit(|emit| emit.extension = is_set)
    }

    /// Takes the time from `clock`. Default: [`SystemClock`].
    pub fn clock(self, clock: impl Clock) -> Self {
        self.core(|core| core.clock = Arc::new(clock))
    }

    /// Runs on `executor` what has to go on when nobody waits. Default: `TokioExecutor` with the
    /// feature `tokio`, else [`NoExecutor`](crate::NoExecutor).
    pub fn executor(self, executor: impl Executor) -> Self {
        self.core(|core| {
            let executor: Arc<dyn Executor> = Arc::new(executor);
            core.executor = Arc::new(Counted::new(executor.clone(), core.background.clone()));
            core.uncounted = executor;
        })
    }

    /// How long a request waits for the store: for what it has, for a change, and with the end of a
    /// response where no executor can finish the write. Default: 50 milliseconds; then the request
    /// goes on as if the store had failed.
    pub fn store_timeout(self, timeout: Duration) -> Self {
        self.core(|core| core.store_timeout = timeout)
    }

    /// What happens to a request to the origin, and to the response that is being stored, when the
    /// last client that waits for it has gone. Default: [`Disconnect::Finish`].
    pub fn on_disconnect(self, disconnect: Disconnect) -> Self {
        self.core(|core| core.waits.disconnect = disconnect)
    }

    /// How long requests wait for another one to get its answer's head. Then one of them asks as
    /// well; after three that were silent for so long, all ask for themselves. Default: 10 seconds.
    pub fn collapse_timeout(self, timeout: Duration) -> Self {
        self.core(|core| core.waits.collapse_timeout = timeout)
    }

    /// How much of a body that is on its way is kept for requests that come later, in bytes, where the
    /// store does not hold it in memory anyway. Of a larger one the clients read the same part at the
    /// same pace, and later requests ask for themselves. Default: 4 MiB.
    pub fn kept_bytes(self, bytes: u64) -> Self {
        self.core(|core| core.waits.kept_bytes = bytes)
    }

    /// How often the origin has to be asked for something, lately, before its answer is stored: what is
    /// asked for once does not fill a store. Answers that are not stored for this are shared by those
    /// who ask at the same time all the same. Counted for some thousands of resources, those that were
    /// asked for last; shared with the layer's clones that are made afterwards. Default: 1, each.
    pub fn min_uses(self, count: u32) -> Self {
        self.core(|core| core.uses = Arc::new(Uses::new(count)))
    }

    /// How many bytes of bodies that are on their way may be kept in memory at once. Over it new
    /// responses pass by unstored. Shared with the layer's clones that are made afterwards. Default:
    /// 64 MiB.
    pub fn inflight_bytes(self, bytes: u64) -> Self {
        self.core(|core| core.budget = Arc::new(Budget::new(bytes)))
    }

    /// How long the readers of a large body wait for one that takes nothing, before that one gets an
    /// error. Whoever has made a request and does not poll its future takes nothing, either. A reader that
    /// nobody waits for is never cut off. Default: 10 seconds.
    pub fn slow_reader_timeout(self, timeout: Duration) -> Self {
        self.core(|core| core.waits.slow_reader_timeout = timeout)
    }

    /// How many background refreshes run at once, in all and for one authority; more wait their
    /// turn. Default: 64 and 16.
    pub fn refresh_limits(self, in_all: usize, per_authority: usize) -> Self {
        self.core(|core| core.waits.refreshes = Limits { in_all, per_authority })
    }

    /// How long a background refresh may take, body included. Default: 30 seconds.
    pub fn refresh_timeout(self, timeout: Duration) -> Self {
        self.core(|core| core.waits.refresh_timeout = timeout)
    }

    /// Publishes what handles of this layer purge to other caches, and follows what they purge.
    ///
    /// A purge elsewhere takes effect here as soon as the bus brings it. What was stored before the bus
    /// was followed is not vouched for, and taken out when it is: nothing in a new memory, but all that
    /// a disk has kept, unless [`bus_after`](Self::bus_after) says up to where it has heard. The same
    /// happens where messages are lost. What the bus cannot be heard for is
    /// [`when_cut_off`](Self::when_cut_off)'s to say.
    ///
    /// The executor follows the bus for as long as the layer, a service or a handle is there. Without
    /// one each request and each purge hears what there is before it looks into the store.
    ///
    /// The layer's clones share the connection: attach first, then clone. A store that several nodes
    /// share, such as `RedisManager`, has purges in common anyway, and needs no bus: beside it each node
    /// would make every purge once more, and one that begins to follow the bus, or has missed something,
    /// takes everything out for all nodes.
    ///
    /// The cache groups that an origin names in `Cache-Group-Invalidation` (RFC 9875 §3) are purged
    /// elsewhere, too: in the background, so that the client does not wait for the bus where an executor
    /// runs that. The resources that unsafe requests invalidate (RFC 9111 §4.4) stay here, as the RFC has
    /// it, and so does [`Clear-Site-Data`](crate::Policy::clear_site_data): it is about one client.
    pub fn bus(self, bus: impl PurgeBus) -> Self {
        self.core(|core| core.bus = Some(Arc::new(Attached::new(bus, None))))
    }

    /// The same for a store that has outlived the process, and has heard everything up to a position:
    /// [`CacheHandle::bus_position`].
    pub fn bus_after(self, bus: impl PurgeBus, position: impl Into<String>) -> Self {
        let position = Some(position.into());
        self.core(|core| core.bus = Some(Arc::new(Attached::new(bus, position))))
    }

    /// How long a bus may not be heard before requests are treated as
    /// [`when_cut_off`](Self::when_cut_off) says, and how long a purge waits for the bus to take it.
    /// Up to that long, what was purged elsewhere while the connection was cut is served. It counts from
    /// when the follower of the bus gives up, whose own patience comes before. Default: 5 seconds.
    pub fn max_purge_lag(self, lag: Duration) -> Self {
        self.core(|core| core.cut_off.max_lag = lag)
    }

    /// What becomes of requests while the bus has not been heard for longer than
    /// [`max_purge_lag`](Self::max_purge_lag). Default: [`WhenCutOff::Revalidate`]. Whatever it is: when
    /// the bus is heard again, what was purged meanwhile is gone.
    pub fn when_cut_off(self, when: WhenCutOff) -> Self {
        self.core(|core| core.cut_off.when = when)
    }

    /// A handle to this cache, for purging. It outlives the layer and its services.
    pub fn handle(&self) -> CacheHandle<M> {
        self.core.follow(false);
        CacheHandle::new(self.core.clone())
    }

    fn emit(self, change: impl FnOnce(&mut Emit)) -> Self {
        self.core(|core| {
            let emit = Arc::make_mut(&mut core.emit);
            change(emit);
            emit.settle();
        })
    }

    fn core(mut self, change: impl FnOnce(&mut Core<M>)) -> Self {
        change(Arc::make_mut(&mut self.core));
        self
    }
}

impl<M> Clone for CacheLayer<M> {
    fn clone(&self) -> Self {
        Self { core: self.core.clone() }
    }
}

impl<M: CacheManager, S> Layer<S> for CacheLayer<M> {
    type Service = CacheService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        self.core.follow(false);
        CacheService::new(inner, self.core.clone())
    }
}

impl<M> fmt::Debug for CacheLayer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheLayer").field("policy", &self.core.policy).finish_non_exhaustive()
    }
}
