//! Looking into a cache, and putting something there by hand.

use bytes::Bytes;
use http::{Response, request::Parts};
use larder::{CacheHandle, Cursor, List, MemoryManager, Policy, Purge, policy::Reason};

use crate::{
    spy::Spy,
    support::{cache, cache_over, channel, get, now_or_never, ok, request, with},
};

fn parts(path: &str) -> Parts {
    get(path).into_parts().0
}

/// A handle is the same for every store, and goes where it is needed.
#[test]
fn a_handle_goes_anywhere() {
    fn anywhere<T: Clone + Send + Sync + 'static>() {}
    anywhere::<CacheHandle<MemoryManager>>();
    anywhere::<CacheHandle<larder::BoxManager>>();
}

/// Scenario 0.5: it outlives the layer and its services.
#[tokio::test]
async fn a_handle_outlives_the_service() {
    let store = MemoryManager::new(1 << 20);
    let cache = cache_over(store.clone(), Policy::shared());
    cache.origin.on(|_| ok().cache_control("max-age=60").text("hello"));
    cache.get("/").await;
    let handle = cache.layer.handle();
    drop(cache);
    let purged = handle.purge(Purge::everything()).await.unwrap();
    assert_eq!(purged.swept().await.unwrap(), 1);
    assert!(store.is_empty());
}

/// Scenario 1.4: a lifetime that was too long is recalled.
#[tokio::test]
async fn an_immortal_entry_is_recalled() {
    let cache = cache(Policy::private().immutable(true));
    cache.origin.on(|_| ok().cache_control("max-age=31536000, immutable").text("hello"));
    cache.get("/d/1").await;
    cache.clock.advance_secs(200 * 86_400);
    cache.get_with("/d/1", &[("cache-control", "no-cache")]).await.assert_hit();
    let purge = Purge::url("http://a.example/d/1").unwrap();
    cache.layer.handle().purge(purge).await.unwrap();
    cache.get("/d/1").await.assert_forwarded();
}

/// Page by page in the order of URLs, each variant by itself; nothing twice and nothing left out, also
/// while entries come and go between pages.
#[tokio::test]
async fn entries_are_listed_in_pages() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let number: u32 = request.uri().path()[1..].parse().unwrap();
        let reply = ok().cache_control("max-age=60").header("vary", "accept");
        let tag = if number.is_multiple_of(3) { "three" } else { "" };
        reply.header("cache-tag", tag).text("hello")
    });
    for number in 100..200 {
        for accept in ["a", "b"] {
            cache.get_with(&format!("/{number}"), &[("accept", accept)]).await;
        }
    }
    let handle = cache.layer.handle();
    let pages = async |list: List| {
        let (mut list, mut found) = (list, Vec::new());
        loop {
            let page = handle.list(&list).await.unwrap();
            assert!(page.entries().len() <= 7);
            found.extend(page.entries().iter().map(|e| e.key().path_and_query().to_owned()));
            let Some(next) = page.next() else { return found };
            // As it goes through a query string.
            list = list.after(next.to_string().parse::<Cursor>().unwrap());
            cache.get_with("/100", &[("accept", "late")]).await;
        }
    };
    let all = pages(List::all().limit(7)).await;
    assert!(all.is_sorted());
    let mut numbers: Vec<_> = (100..200).flat_map(|n| [format!("/{n}"), format!("/{n}")]).collect();
    assert_eq!(all, numbers);
    numbers.retain(|path| path[1..].parse::<u32>().unwrap().is_multiple_of(3));
    assert_eq!(pages(List::all().limit(7).selected_by(Purge::tag("three"))).await, numbers);

    handle.purge(Purge::tag("three").soft()).await.unwrap();
    let page = handle.list(&List::all().limit(1000)).await.unwrap();
    assert_eq!(page.entries().iter().filter(|e| e.is_softly_purged()).count(), numbers.len());
    let first = &page.entries()[0];
    assert_eq!((first.length(), first.head().status().as_u16()), (5, 200));
    now_or_never(handle.purge(Purge::everything())).unwrap().unwrap();
    assert_eq!(handle.list(&List::all()).await.unwrap().entries().len(), 0);
}

/// One request is looked at: what there is for it and what would become of it. No body is read, and
/// nobody is asked.
#[tokio::test]
async fn a_request_is_inspected() {
    let store = Spy::waiting();
    let cache = cache_over(store.clone(), Policy::shared());
    cache.origin.on(|_| {
        let reply = ok().cache_control("max-age=60").header("cache-tag", "a,b");
        reply.header("cache-groups", "\"g\"").text("hello")
    });
    let handle = cache.layer.handle();
    let empty = handle.inspect(&parts("/")).await.unwrap();
    assert_eq!((empty.entries().len(), empty.status().reason()), (0, Some(Reason::UriMiss)));
    cache.get("/").await;
    cache.clock.advance_secs(10);
    store.asked();
    let fresh = handle.inspect(&parts("/")).await.unwrap();
    assert_eq!((fresh.status().is_hit(), fresh.status().ttl()), (true, Some(50)));
    let [entry] = fresh.entries() else { panic!("{fresh}") };
    assert_eq!((entry.age().as_secs(), entry.lifetime().as_secs()), (10, 60));
    assert_eq!(entry.response().length(), 5);
    assert_eq!(entry.response().head().tags().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(
        fresh.to_string(),
        "http://a.example/: hit; ttl=50\n\
         200, 5 bytes, age 10 s of 60 s: fresh, tags [\"a\", \"b\"], groups [\"g\"]"
    );
    cache.clock.advance_secs(10);
    handle.purge(Purge::tag("a").soft()).await.unwrap();
    cache.clock.advance_secs(10);
    let soft = handle.inspect(&parts("/")).await.unwrap();
    assert_eq!(soft.status().reason(), Some(Reason::Stale));
    assert!(soft.to_string().contains("age 30 s of 20 s: softly purged"), "{soft}");
    now_or_never(handle.purge(Purge::tag("b"))).unwrap().unwrap();
    let purged = handle.inspect(&parts("/")).await.unwrap();
    assert_eq!(purged.status().reason(), Some(Reason::Purged));
    assert!(purged.entries()[0].is_purged());
    assert_eq!(store.asked().body_bytes, 0);
    assert_eq!(cache.origin.calls(), 1);
    let post = request("POST", "/").into_parts().0;
    assert!(handle.inspect(&post).await.unwrap_err().is_invalid());
}

/// A response is put by hand under the same rules as one that came.
/// Feature put.
#[tokio::test]
async fn a_response_is_put() {
    let cache = cache(Policy::shared());
    let handle = cache.layer.handle();
    let reply = |directives: &str| {
        let builder = Response::builder().header("cache-control", directives);
        builder.header("cache-tag", "t").body(Bytes::from("by hand")).unwrap()
    };
    for (directives, reason) in
        [("no-store", Reason::NoStore), ("private, max-age=60", Reason::Private)]
    {
        let status = handle.put(&parts("/"), reply(directives)).await.unwrap();
        assert_eq!((status.is_stored(), status.reason()), (false, Some(reason)));
        assert!(cache.layer.handle().manager().is_empty());
    }
    let status = handle.put(&parts("/"), reply("max-age=60")).await.unwrap();
    assert!(status.is_stored());
    assert_eq!(cache.get("/").await.assert_hit().text(), "by hand");
    handle.put(&parts("/empty"), reply("max-age=60").map(|_| Bytes::new())).await.unwrap();
    assert_eq!(cache.get("/empty").await.assert_hit().text(), "");
    handle.purge(Purge::tag("t")).await.unwrap();
    cache.get("/").await.assert_forwarded();
    let passes_by = with(get("/"), &[("if-match", "\"a\"")]).into_parts().0;
    assert!(handle.put(&passes_by, reply("max-age=60")).await.unwrap_err().is_invalid());
    let large = reply("max-age=60").map(|_| Bytes::from(vec![0; 33 << 20]));
    assert!(handle.put(&parts("/large"), large).await.unwrap_err().is_too_large());
}

/// A purge that comes while a response is being put beats it.
#[tokio::test]
async fn a_purge_beats_a_put() {
    for polls in 0..6 {
        let cache = cache_over(Spy::slow(), Policy::shared());
        cache.origin.on(|_| ok().cache_control("max-age=60").text("new"));
        let handle = cache.layer.handle();
        let response = Response::builder().header("cache-control", "max-age=60");
        let (request, response) = (parts("/"), response.body(Bytes::from("old")).unwrap());
        let mut putting = Box::pin(handle.put(&request, response));
        let mut is_done = false;
        for _ in 0..polls {
            is_done = is_done || now_or_never(&mut putting).is_some();
        }
        now_or_never(handle.purge(Purge::host("a.example"))).unwrap().unwrap();
        let put = if is_done { None } else { Some(putting.await) };
        // One that had not begun is newer.
        let answer = cache.get("/").await;
        assert_eq!(answer.text() == "old", polls == 0, "{polls}: {put:?}");
    }
}

/// What has become of the requests so far, by how they were answered.
#[tokio::test]
async fn requests_are_counted() {
    let cache = cache(Policy::private());
    let (sender, body) = channel();
    let mut body = Some(body);
    cache.origin.on(move |request| match request.uri().path() {
        "/slow" => ok().cache_control("max-age=60").body(body.take().unwrap()),
        _ if request.headers().contains_key("if-none-match") => {
            crate::support::status(304).header("etag", "\"1\"").text("")
        }
        _ => ok().cache_control("max-age=60").header("etag", "\"1\"").text("hello"),
    });
    cache.get_twice("/", &[]).await.assert_hit();
    cache.get("/").await;
    cache.clock.advance_secs(61);
    cache.get_with("/", &[("cache-control", "max-stale")]).await.assert_hit();
    cache.get("/").await.assert_revalidated();
    cache.get_with("/none", &[("cache-control", "only-if-cached")]).await;
    cache.send(request("POST", "/form")).await;
    let under_way = cache.open("/slow").await;
    cache.layer.handle().purge(Purge::tag("t").soft()).await.unwrap();
    let stats = cache.layer.handle().stats();
    assert_eq!((stats.hits(), stats.stale(), stats.validated()), (2, 1, 1));
    assert_eq!((stats.forwarded(), stats.generated()), (3, 1));
    assert_eq!((stats.purges(), stats.selectors()), (1, 1));
    assert_eq!(stats.usage().unwrap().records(), 1);
    assert_eq!(cache.layer.clone().handle().stats(), stats);
    drop((sender, under_way));
}
