//! A purge that comes while the origin says that what is stored is good: scenario 0.4.

use larder::{Policy, Purge};
use tokio::sync::oneshot;
use tower::Service;

use crate::{
    spy::Spy,
    support::{Answer, Cache, cache, cache_over, get, now_or_never, ok, status, with},
};

/// A cache whose pages vary by `x-a` and have the tag `old`. The origin answers the first condition when
/// it is released, with these fields, and others than the first with a new page.
fn scripted(vary: &'static str, tag: &'static str) -> (Cache, oneshot::Sender<()>) {
    let cache = cache(Policy::shared());
    let (release, released) = oneshot::channel::<()>();
    let (mut released, mut is_first) = (Some(released), true);
    cache.origin.on_later(move |request| {
        let is_conditional = request.headers().contains_key("if-none-match");
        let wait = if is_conditional { released.take() } else { None };
        let text = if std::mem::take(&mut is_first) { "old" } else { "new" };
        async move {
            if let Some(wait) = wait {
                let _ = wait.await;
            }
            let (reply, vary, tag, text) = match is_conditional {
                true => (status(304), vary, tag, ""),
                false => (ok(), "x-a", "old", text),
            };
            let reply = reply.header("etag", "\"1\"").cache_control("max-age=60");
            Ok(reply.header("vary", vary).header("cache-tag", tag).text(text))
        }
    });
    (cache, release)
}

/// Whether it freshens what is stored, copies it to another variant or moves it there: nothing of it is
/// used again without asking, and what was purged for good is not used at all, also if it has other
/// tags by now.
#[tokio::test]
async fn a_purge_beats_a_validation() {
    // By which fields it was asked about, and what the 304 says: what is stored is replaced, copied,
    // moved.
    for (held_for, vary) in [("1", "x-a"), ("2", "x-a"), ("1", "x-a, x-b")] {
        for tag in ["old", "new"] {
            for (purge, selects_stored) in [
                (Purge::tag("old"), true),
                (Purge::tag("new"), false),
                (Purge::url("http://a.example/").unwrap(), true),
                (Purge::matching(|key, _| key.path_and_query() == "/"), true),
                (Purge::everything(), true),
            ] {
                for soft in [false, true] {
                    let purge = if soft { purge.clone().soft() } else { purge.clone() };
                    let selects = selects_stored || tag == "new";
                    let case = format!("{held_for}, {vary}, {tag}, {purge}, soft: {soft}");
                    let (cache, release) = scripted(vary, tag);
                    cache.get_with("/", &[("x-a", "1")]).await;
                    cache.clock.advance_secs(if held_for == "1" { 61 } else { 0 });
                    let request = with(get("/"), &[("x-a", held_for)]);
                    let waiting = tokio::spawn(cache.service.clone().call(request));
                    while cache.origin.calls() < 2 {
                        tokio::task::yield_now().await;
                    }
                    let purged = cache.layer.handle().purge(purge).await.unwrap();
                    let _ = release.send(());
                    let answer = Answer::of(waiting.await.unwrap().unwrap()).await;
                    assert_eq!(answer.text(), "old", "{case}");
                    purged.swept().await.unwrap();
                    let again = cache.get_with("/", &[("x-a", held_for)]).await;
                    assert_eq!(again.cache.is_hit(), !selects, "{case}");
                    let is_gone = selects_stored && !soft;
                    assert_eq!(again.text(), if is_gone { "new" } else { "old" }, "{case}");
                }
            }
        }
    }
}

/// The same where it comes between the steps of a store that takes its time: what was purged by the tag
/// that it had does not come back under another.
#[tokio::test]
async fn a_purge_beats_a_store_that_is_being_told() {
    for (asked_for, vary) in [("1", "x-a"), ("2", "x-a"), ("1", "x-a, x-b")] {
        let mut between = 0;
        for polls in 0..40 {
            let cache = cache_over(Spy::slow(), Policy::shared());
            let mut count = 0;
            cache.origin.on(move |request| {
                count += 1;
                let is_conditional = request.headers().contains_key("if-none-match");
                let (reply, vary, tag) = match is_conditional {
                    true => (status(304), vary, "new"),
                    false => (ok(), "x-a", "old"),
                };
                let reply = reply.header("etag", "\"1\"").cache_control("max-age=60");
                let reply = reply.header("vary", vary).header("cache-tag", tag);
                reply.text(if count > 1 { "new" } else { "old" })
            });
            cache.get_with("/", &[("x-a", "1")]).await;
            let others = async || {
                for _ in 0..16 {
                    tokio::task::yield_now().await;
                }
            };
            others().await;
            cache.clock.advance_secs(if asked_for == "1" { 61 } else { 0 });
            let mut asking = Box::pin(async {
                let request = with(get("/"), &[("x-a", asked_for)]);
                Answer::of(cache.service.clone().call(request).await.unwrap()).await
            });
            let mut is_done = false;
            for _ in 0..polls {
                is_done = is_done || now_or_never(&mut asking).is_some();
            }
            let is_freshened = is_done;
            if cache.origin.calls() == 2 && !is_done {
                assert_eq!(cache.origin.last().field("if-none-match"), Some("\"1\""));
                between += 1;
            }
            cache.layer.handle().purge(Purge::tag("old")).await.unwrap();
            if !is_done {
                asking.await;
            }
            others().await;
            let again = cache.get_with("/", &[("x-a", asked_for)]).await;
            if !is_freshened {
                assert_eq!(again.text(), "new", "{asked_for}, {vary}, after {polls} polls");
            }
        }
        assert!(between > 0, "{asked_for}, {vary}");
    }
}
