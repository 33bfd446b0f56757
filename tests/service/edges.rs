//! Corners that were once wrong.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use larder::{
    BoxError, MemoryManager, Policy,
    policy::{QueryKey, Reason, VaryOnCredentials},
};

use crate::support::{cache, cache_over, channel, now_or_never, ok, request, status};

type Frames = Vec<Result<Frame<Bytes>, BoxError>>;

/// A body that does not know that it has no bytes.
fn frames(frames: Frames) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send {
    StreamBody::new(futures_util::stream::iter(frames))
}

/// RFC 9110 §8.6: nobody asks a body of length 0 for its end.
#[tokio::test]
async fn an_empty_body_of_known_length_is_stored_unread() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        ok().cache_control("max-age=60").header("content-length", "0").body(frames(Vec::new()))
    });
    drop(cache.open("/").await);
    cache.get("/").await.assert_hit();
}

/// RFC 9110 §8.6: an answer without a body does not say that the length is 0.
#[tokio::test]
async fn what_has_no_body_by_nature_has_no_length_of_0() {
    use http_body::Body;
    let cache = cache(Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").header("etag", "\"a\"").text("hello"));
    let open = async |method: &str, field: (&str, &str)| {
        let request = crate::support::with(request(method, "/"), &[field]);
        let response = tower::Service::call(&mut cache.service.clone(), request).await.unwrap();
        assert!(response.body().is_end_stream());
        response.body().size_hint().exact()
    };
    assert_eq!(open("HEAD", ("x", "y")).await, Some(5), "as long as the body that is dropped");
    cache.get("/").await;
    assert_eq!(open("HEAD", ("x", "y")).await, None, "the stored head says it");
    assert_eq!(open("GET", ("if-none-match", "\"a\"")).await, None);
}

/// A body that has failed is not asked again: not every body can bear it.
#[tokio::test]
async fn a_failed_body_has_ended() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let stream = futures_util::stream::unfold(0, |n| async move {
            (n == 0).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"a"))), 1))
        });
        let reply = ok().cache_control("max-age=60").header("content-length", "5");
        reply.body(StreamBody::new(Box::pin(stream)))
    });
    let mut body = cache.open("/").await.into_body();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
}

/// A redirect's body is read ahead of its head, and its error is the origin's own.
#[tokio::test]
async fn a_redirect_whose_body_fails_says_what_the_origin_said() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reset: BoxError = "connection reset".into();
        let body = vec![Ok(Frame::data(Bytes::from_static(b"a"))), Err(reset)];
        let reply = status(301).cache_control("max-age=60").header("content-length", "5");
        reply.body(frames(body))
    });
    let mut body = cache.open("/").await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
    assert_eq!(body.frame().await.unwrap().unwrap_err().to_string(), "connection reset");
    cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(cache.origin.calls(), 1);
}

/// A redirect whose body stalls goes on without it, and is stored when the rest comes.
#[tokio::test]
async fn a_redirect_does_not_wait_for_a_body_that_stalls() {
    let cache = cache(Policy::shared());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |_| {
        let reply = status(302).cache_control("max-age=60").header("content-length", "5");
        reply.body(body.take().unwrap())
    });
    sender.data("he");
    let mut opening = Box::pin(cache.open("/"));
    assert!(now_or_never(&mut opening).is_none());
    cache.clock.advance(std::time::Duration::from_millis(50));
    let response = now_or_never(&mut opening).expect("the head does not wait for ever");
    sender.data("llo");
    drop(sender);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    cache.get("/").await.assert_hit();
}

/// A head with more fields than anybody means is passed on as it came.
#[tokio::test]
async fn a_head_of_25_000_fields_is_passed_on() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let mut response = ok().cache_control("max-age=60").text("hello");
        for _ in 0..25_000 {
            response.headers_mut().append("x-a", "b".parse().unwrap());
        }
        response
    });
    let answer = cache.get("/").await;
    assert_eq!(answer.cache.reason(), Some(Reason::TooLarge));
    assert_eq!(answer.headers.get_all("x-a").iter().count(), 25_000);
}

/// Credentials are told apart to the byte, however much like a list they look.
#[tokio::test]
async fn cookies_that_differ_in_spaces_are_different_users() {
    let policy = Policy::shared().vary_on_credentials(VaryOnCredentials::Store);
    let cache = cache(policy);
    cache.origin.on(|request| {
        let cookie = request.headers()["cookie"].to_str().unwrap().to_owned();
        ok().cache_control("max-age=60").header("vary", "cookie").text(cookie)
    });
    for _ in 0..2 {
        for cookie in ["u=Doe,J", "u=Doe, J", "u=Doe,,J,"] {
            assert_eq!(cache.get_with("/", &[("cookie", cookie)]).await.text(), cookie);
        }
    }
    assert_eq!(cache.origin.calls(), 3);
}

/// RFC 9111 §4.4: what `Location` names is keyed as a request for it would be.
#[tokio::test]
async fn a_location_is_keyed_like_a_request() {
    let cache = cache(Policy::shared().query(QueryKey::without(["utm_*"])));
    cache.origin.on(|request| match request.method().as_str() {
        "POST" => status(303).header("location", "/x?a=1&utm_source=2").text(""),
        _ => ok().cache_control("max-age=60").text("hello"),
    });
    cache.get("/x?a=1").await;
    cache.get("/x?a=1").await.assert_hit();
    cache.send(request("POST", "/y")).await;
    cache.get("/x?a=1").await.assert_forwarded();
}

/// Two layers over one store know of each other's fetches: a fill that began before an unsafe
/// request through the other layer is not stored.
#[tokio::test]
async fn an_unsafe_request_reaches_the_fills_of_every_layer_over_a_store() {
    let manager = MemoryManager::new(1 << 20);
    let one = cache_over(manager.clone(), Policy::shared());
    let two = cache_over(manager, Policy::shared());
    let (send, answer) = tokio::sync::oneshot::channel();
    let mut answer = Some(answer);
    one.origin.on_later(move |_| {
        let answer = answer.take().unwrap();
        async move { answer.await.unwrap() }
    });
    two.origin.on(|_| ok().cache_control("max-age=60").text("new"));
    let mut old = Box::pin(one.get("/"));
    let poll = std::future::poll_fn(|cx| std::task::Poll::Ready(old.as_mut().poll(cx).is_ready()));
    assert!(!poll.await, "on its way");
    two.send(request("POST", "/")).await;
    send.send(Ok(ok().cache_control("max-age=60").text("old"))).ok().unwrap();
    assert_eq!(old.await.text(), "old");
    assert_eq!(two.get("/").await.text(), "new");
}
