//! The proxy's second port, for its operator and for other proxies.

use larder::{BoxManager, CacheLayer};

/// What the command line says of it.
#[derive(Default)]
pub struct Options {
    pub listen: Option<String>,
    pub token: Option<String>,
    pub peers: Vec<String>,
}

impl Options {
    /// Whether it can be done, in a sentence if not.
    pub fn check(&self) -> Result<(), &'static str> {
        match () {
            () if self.listen.is_none() && self.token.is_some() => {
                Err("--admin-token is of no use without --admin")
            }
            () if self.listen.is_none() && !self.peers.is_empty() => {
                Err("--peer needs --admin, by which the other follows this proxy")
            }
            () if self.listen.is_some() && self.token().is_none() => Err("which --admin-token?"),
            () if self.listen.is_some() && !cfg!(feature = "admin") => {
                Err("--admin needs a build with --features admin")
            }
            () => Ok(()),
        }
    }

    fn token(&self) -> Option<String> {
        let token = self.token.clone().or_else(|| std::env::var("LARDER_ADMIN_TOKEN").ok());
        token.filter(|token| !token.is_empty())
    }
}

/// Attaches the cache to the other proxies, and gives what serves the second port until it is to stop.
#[cfg(feature = "admin")]
pub fn attach(
    cache: CacheLayer<BoxManager>,
    options: Options,
) -> Result<(CacheLayer<BoxManager>, impl Future<Output = ()>), larder::Error> {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::Either;
    use hyper::body::Incoming;
    use larder::admin::{Access, Action, AdminService, Authorise, BearerToken};
    use tower::{ServiceExt, service_fn};

    use super::{args, peers::Peers, serve, stop};

    let token = options.token().unwrap_or_default();
    let authoriser = match options.listen {
        Some(_) => Some(BearerToken::new(&token)?),
        None => None,
    };
    let peers = Peers::new(options.peers.clone(), token);
    let cache = match (authoriser.is_some(), options.peers.is_empty()) {
        (false, _) => cache,
        // Who follows nobody misses nothing, and what a disk has kept is still good.
        (true, true) => cache.bus_after(peers.clone(), ""),
        (true, false) => cache.bus(peers.clone()),
    };
    let handle = cache.handle();
    let serving = async move {
        let (Some(address), Some(authoriser)) = (options.listen, authoriser) else { return };
        let listener = args::listen(&address).await;
        println!("Purges are taken on http://{address}/");
        let service = AdminService::new(handle.clone(), authoriser.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, peers, authoriser) = (service.clone(), peers.clone(), authoriser.clone());
            async move {
                let (head, body) = request.into_parts();
                let is_bus = head.method == http::Method::GET && head.uri.path() == "/bus";
                if is_bus && authoriser.authorise(&head, Action::Purge) == Access::Granted {
                    return Ok(peers.hand_out(&head).await.map(Either::Left));
                }
                let response = service.oneshot(Request::from_parts(head, body)).await;
                response.map(|response: Response<_>| response.map(Either::Right))
            }
        });
        let service = tower::util::BoxCloneService::<_, _, Infallible>::new(service);
        tokio::spawn(async move {
            // Who follows the events is not waited for.
            stop::asked().await;
            handle.shutdown().await;
        });
        serve::until_stopped(listener, service).await;
    };
    Ok((cache, serving))
}

#[cfg(not(feature = "admin"))]
pub fn attach(
    cache: CacheLayer<BoxManager>,
    _: Options,
) -> Result<(CacheLayer<BoxManager>, impl Future<Output = ()>), larder::Error> {
    Ok((cache, std::future::ready(())))
}
