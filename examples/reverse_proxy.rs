//! A caching reverse proxy over hyper, for one origin.

#[path = "support/admin.rs"]
mod admin;
#[path = "support/args.rs"]
mod args;
#[path = "support/gateway.rs"]
mod gateway;
#[cfg(feature = "admin")]
#[path = "support/peers.rs"]
mod peers;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/serve.rs"]
mod serve;
#[path = "support/stop.rs"]
mod stop;
#[path = "support/storage.rs"]
mod storage;

use std::{sync::Arc, time::Duration};

use http::{
    HeaderName,
    uri::{Authority, Uri},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use larder::{
    BoxManager, CacheLayer, Policy,
    policy::{ClientMaxStale, SetCookie},
};
use lexopt::prelude::*;
use storage::{Settings, Storage};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

const HELP: &str = "Stands before an HTTP origin and keeps its responses by RFC 9111.

Usage: reverse_proxy --origin URL [OPTIONS]

Options:
  --origin URL           http://HOST[:PORT], where requests go
  --listen ADDRESS       [default: 127.0.0.1:3000]
  --mode shared|private  whether it serves many users or one [default: shared]
  --storage STORAGE      memory[:BYTES] or, with the feature `disk`, disk:PATH[:BYTES]
                         or tiered:PATH[:BYTES], memory before a disk; with the feature
                         `redis`, redis:URL or tiered+redis:URL, memory before Redis
  --secret-file PATH     32 bytes that all nodes over one Redis share, to hide credentials in
                         keys [default: this node's own]
  --capacity BYTES       of a cache in memory, also 64K, 64M, 1G [default: 256M]
  --max-entry BYTES      the largest body to keep [default in memory: an eighth of that]
  --target FIELD         a field whose directives count before Cache-Control, such as
                         CDN-Cache-Control; may be given several times, first wins
  --set-cookie CHOICE    store, strip or bypass: what to do with responses that set a cookie
                         [default: bypass if shared, store if private]
  --stale-on-disconnect SECONDS
                         how long past its lifetime a response may be served where the origin
                         gives no answer at all [default: not at all]
  --normalise-language   select by the weights of Accept-Language, not by its text
  --strict-s-maxage      with s-maxage, serve nothing stale whatever stands beside it
  --heuristic-errors     guess a lifetime for 405, 414 and 501, too
  --client-max-stale     do as requests with max-stale ask [default if private]
  --admin ADDRESS        a second port, to purge and look into the cache; with the feature `admin`
  --admin-token TOKEN    what its clients have to know [default: $LARDER_ADMIN_TOKEN]
  --peer URL             another proxy's --admin, with the same token: what is purged there is
                         purged here; may be given several times; not with redis, where nodes
                         have purges in common
  --cache-status         say in a Cache-Status field what the cache did
  --help
";

struct Options {
    origin: Authority,
    listen: String,
    policy: Policy,
    store: BoxManager,
    admin: admin::Options,
    cache_status: bool,
}

#[tokio::main]
async fn main() {
    let options = args::or_exit(parse());
    let listener = args::listen(&options.listen).await;
    println!("Serving http://{} on http://{}/", options.origin, options.listen);
    run(listener, options).await;
}

fn parse() -> Result<Options, lexopt::Error> {
    const BYTES: &str = "a number of bytes such as 64M";
    const CHOICE: &str = "store, strip or bypass";
    let (mut origin, mut listen) = (None, args::LISTEN.to_owned());
    let (mut mode, mut targets): (fn() -> Policy, Vec<String>) = (Policy::shared, Vec::new());
    // Said before or after the mode, an option changes it.
    let mut changes: Vec<Box<dyn FnOnce(Policy) -> Policy>> = Vec::new();
    let (mut store, mut settings, mut cache_status) = (None, Settings::default(), false);
    let mut admin = admin::Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("origin") => {
                origin =
                    Some(args::value(&mut parser, "--origin", "http://HOST[:PORT]", read_origin)?);
            }
            Long("listen") => listen = parser.value()?.string()?,
            Long("mode") => {
                mode = args::value(&mut parser, "--mode", "shared or private", read_mode)?;
            }
            Long("target") => {
                targets.push(args::value(&mut parser, "--target", "a field name", read_name)?);
            }
            Long("set-cookie") => {
                let choice = args::value(&mut parser, "--set-cookie", CHOICE, read_set_cookie)?;
                changes.push(Box::new(move |policy| policy.set_cookie(choice)));
            }
            Long("stale-on-disconnect") => {
                const SECONDS: &str = "a number of seconds";
                let window =
                    args::value(&mut parser, "--stale-on-disconnect", SECONDS, args::seconds)?;
                changes.push(Box::new(move |policy| policy.stale_on_disconnect(window)));
            }
            Long("normalise-language") => {
                changes.push(Box::new(|policy| policy.normalise_language(true)));
            }
            Long("strict-s-maxage") => {
                changes.push(Box::new(|policy| policy.strict_s_maxage(true)));
            }
            Long("heuristic-errors") => {
                changes.push(Box::new(|policy| policy.heuristic_errors(true)));
            }
            Long("client-max-stale") => {
                changes.push(Box::new(|policy| policy.client_max_stale(ClientMaxStale::Honour)));
            }
            Long("storage") => {
                const STORAGE: &str = "memory[:BYTES], disk:PATH[:BYTES], tiered:PATH[:BYTES], \
                                       redis:URL or tiered+redis:URL";
                store = Some(args::value(&mut parser, "--storage", STORAGE, storage::read)?);
            }
            Long("capacity") => {
                let capacity = args::value(&mut parser, "--capacity", BYTES, args::bytes)?;
                store = Some(Storage::Memory { capacity });
            }
            Long("max-entry") => {
                settings.max_entry =
                    Some(args::value(&mut parser, "--max-entry", BYTES, args::bytes)?);
            }
            Long("admin") => admin.listen = Some(parser.value()?.string()?),
            Long("admin-token") => admin.token = Some(parser.value()?.string()?),
            Long("peer") => {
                const URL: &str = "http://HOST[:PORT]";
                let read = |text: &str| read_origin(text).map(|peer| format!("http://{peer}"));
                admin.peers.push(args::value(&mut parser, "--peer", URL, read)?);
            }
            Long("secret-file") => settings.secret = Some(parser.value()?.into()),
            Long("cache-status") => cache_status = true,
            Long("help") | Short('h') => args::help(HELP),
            _ => return Err(arg.unexpected()),
        }
    }
    let origin = origin.ok_or("which --origin?")?;
    admin.check()?;
    let store = store.unwrap_or(Storage::Memory { capacity: 256 << 20 });
    if !admin.peers.is_empty() && matches!(store, Storage::Redis { .. }) {
        return Err("--peer is not for Redis: what is purged there is purged on all nodes".into());
    }
    let store = store.open(settings)?;
    let mut policy = changes.into_iter().fold(mode(), |policy, change| change(policy));
    if !targets.is_empty() {
        policy = policy.targets(targets);
    }
    Ok(Options { origin, listen, policy, store, admin, cache_status })
}

fn read_origin(text: &str) -> Option<Authority> {
    let uri: Uri = text.parse().ok()?;
    let is_origin = uri.scheme_str() == Some("http") && uri.path() == "/" && uri.query().is_none();
    uri.authority().filter(|authority| is_origin && !authority.as_str().contains('@')).cloned()
}

fn read_mode(text: &str) -> Option<fn() -> Policy> {
    match text {
        "shared" => Some(Policy::shared),
        "private" => Some(Policy::private),
        _ => None,
    }
}

fn read_name(text: &str) -> Option<String> {
    text.parse::<HeaderName>().is_ok().then(|| text.to_owned())
}

fn read_set_cookie(text: &str) -> Option<SetCookie> {
    match text {
        "store" => Some(SetCookie::Store),
        "strip" => Some(SetCookie::Strip),
        "bypass" => Some(SetCookie::Bypass),
        _ => None,
    }
}

async fn run(listener: TcpListener, options: Options) {
    let mut cache = CacheLayer::new(options.store).policy(options.policy);
    if options.cache_status {
        cache = cache.cache_status_header("larder");
    }
    let (cache, admin) = args::or_exit(admin::attach(cache, options.admin));

    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_secs(10)));
    let client = Client::builder(TokioExecutor::new()).build(connector);
    // Outermost first: failures become 502, the cache sees what the client asked for and failures
    // as errors, and only inside of it is the request addressed to the origin.
    let origin = Arc::new((client, options.origin));
    let to_origin = service_fn(move |request| proxy::forward(origin.clone(), request));
    let (cached, handle) = (cache.layer(to_origin), cache.handle());
    let service = service_fn(move |request| gateway::answer(cached.clone(), request));

    tokio::join!(serve::until_stopped(listener, service), admin);
    handle.shutdown().await;
    if let Err(error) = handle.sync().await {
        eprintln!("reverse_proxy: not all is kept: {error}");
    }
}
