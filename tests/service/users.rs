//! Users that no field names: identity in extensions or in a session cookie (`security.md`).

use http::Request;
use larder::{Policy, Private, policy::Reason};

use crate::support::{Cache, Reply, cache, get, ok, request};

/// What an authentication layer outside of the cache leaves in a request.
#[derive(Clone)]
pub struct User(pub &'static str);

pub fn of(
    user: &'static str,
    mut request: Request<http_body_util::Full<bytes::Bytes>>,
) -> Request<http_body_util::Full<bytes::Bytes>> {
    request.extensions_mut().insert(User(user));
    request
}

/// A handler that greets whoever asks, as `mark` sends it.
fn greeting(policy: Policy, mark: impl Fn(Reply) -> Reply + Send + 'static) -> Cache {
    let cache = cache(policy);
    cache.origin.on(move |request| {
        let user = request.extensions().get::<User>().map_or("stranger", |user| user.0);
        mark(ok().cache_control("max-age=60")).text(user)
    });
    cache
}

async fn cross(cache: &Cache) -> usize {
    for turn in 0..100 {
        let user = ["ada", "bob"][turn % 2];
        assert_eq!(cache.send(of(user, get("/"))).await.text(), user);
        assert_eq!(cache.get("/").await.text(), "stranger");
    }
    cache.origin.calls()
}

pub fn by_user() -> Policy {
    Policy::shared().partition(|head| head.extensions.get::<User>().map(|user| user.0.to_owned()))
}

/// One line each: a part for each user, users pass by, or the handler marks its answer.
#[tokio::test]
async fn two_users_never_meet() {
    assert_eq!(cross(&greeting(by_user(), |reply| reply)).await, 3);
    let bypass = Policy::shared().bypass_if_extension::<User>();
    assert_eq!(cross(&greeting(bypass, |reply| reply)).await, 101);
    assert_eq!(cross(&greeting(Policy::shared(), |reply| reply.extension(Private))).await, 200);
}

/// An extension of another type is nobody.
#[tokio::test]
async fn requests_pass_by_for_any_of_the_named_extensions() {
    let policy = Policy::shared().bypass_if_extension::<User>().bypass_if_extension::<u8>();
    let cache = greeting(policy, |reply| reply);
    cache.get("/").await;
    for passes in [true, false] {
        let mut request = get("/");
        match passes {
            true => request.extensions_mut().insert(7u8).is_some(),
            false => request.extensions_mut().insert(7u16).is_some(),
        };
        let answer = cache.send(request).await;
        assert_eq!(answer.cache.reason(), passes.then_some(Reason::Extension));
    }
}

/// A session cookie says who it is.
#[tokio::test]
async fn sessions_pass_by() {
    let cache = cache(Policy::shared().bypass_cookies(true));
    cache.origin.on(|request| {
        let session = request.headers().get("cookie").map_or("none", |it| it.to_str().unwrap());
        ok().cache_control("max-age=60").text(session)
    });
    for _ in 0..10 {
        assert_eq!(cache.get("/").await.text(), "none");
        for session in ["a", "b"] {
            let answer = cache.get_with("/", &[("cookie", session)]).await;
            assert_eq!((answer.text(), answer.cache.reason()), (session, Some(Reason::Cookie)));
        }
    }
}

/// Each part is a cache of its own: an unsafe request empties its own part only.
#[tokio::test]
async fn a_part_knows_nothing_of_the_others() {
    let cache = greeting(by_user(), |reply| reply);
    for user in ["ada", "bob"] {
        cache.send(of(user, get("/"))).await;
    }
    cache.send(of("ada", request("POST", "/"))).await;
    cache.send(of("bob", get("/"))).await.assert_hit();
    cache.send(of("ada", get("/"))).await.assert_forwarded();
}
