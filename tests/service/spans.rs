//! What `tracing` is told, by a subscriber that writes everything down.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
};

use http::Response;
use larder::{CacheBody, Policy, Purge, TracingObserver};
use tower::Service;
use tracing::{
    Event, Id, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Record},
    subscriber::with_default,
};

use super::spy::{Call, Fault, Spy};
use crate::support::{
    Cache, OriginError, TestBody, cache, cache_over, get, now_or_never, ok, read,
};

#[derive(Clone, Default)]
struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    spans: Vec<Span>,
    /// Those that are entered, innermost last.
    stack: Vec<usize>,
    events: Vec<String>,
}

#[derive(Clone, Debug)]
struct Span {
    name: String,
    parent: Option<usize>,
    fields: String,
    handles: usize,
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = match field.name() {
            "message" => format!("{value:?}"),
            name => format!(" {name}={value:?}"),
        };
        match field.name() {
            "message" => self.0.insert_str(0, &text),
            _ => self.0.push_str(&text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push_str(&format!(" {}={value}", field.name()));
    }
}

impl Book {
    fn change<T>(&self, change: impl FnOnce(&mut Pages) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Events since the last time, each with the spans that it was in.
    fn events(&self) -> Vec<String> {
        self.change(|pages| std::mem::take(&mut pages.events))
    }

    fn spans(&self, name: &str) -> Vec<Span> {
        self.change(|pages| pages.spans.iter().filter(|span| span.name == name).cloned().collect())
    }
}

fn index(id: &Id) -> usize {
    id.into_u64() as usize - 1
}

impl Subscriber for Book {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "larder" || metadata.target() == "test"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = String::new();
        attributes.record(&mut Fields(&mut fields));
        self.change(|pages| {
            let parent = pages.stack.last().copied().filter(|_| attributes.is_contextual());
            let name = attributes.metadata().name().to_owned();
            pages.spans.push(Span { name, parent, fields, handles: 1 });
            Id::from_u64(pages.spans.len() as u64)
        })
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        self.change(|pages| values.record(&mut Fields(&mut pages.spans[index(id)].fields)));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = String::new();
        event.record(&mut Fields(&mut text));
        self.change(|pages| {
            let spans = pages.stack.iter().map(|at| pages.spans[*at].name.as_str());
            let place = spans.collect::<Vec<_>>().join(" > ");
            let level = event.metadata().level();
            pages.events.push(format!("[{place}] {level} {text}"));
        });
    }

    fn enter(&self, id: &Id) {
        self.change(|pages| pages.stack.push(index(id)));
    }

    fn exit(&self, id: &Id) {
        self.change(|pages| assert_eq!(pages.stack.pop(), Some(index(id))));
    }

    fn clone_span(&self, id: &Id) -> Id {
        self.change(|pages| pages.spans[index(id)].handles += 1);
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        self.change(|pages| {
            pages.spans[index(&id)].handles -= 1;
            pages.spans[index(&id)].handles == 0
        })
    }
}

fn traced(cache: Cache) -> Cache {
    cache.layered(|layer| layer.observer(TracingObserver::new()))
}

/// One event for a request, in whatever span it came in, with the words of its `Cache-Status`; one
/// span for what the origin is asked, that closes.
#[test]
fn a_request_is_an_event_and_what_it_asks_a_span() {
    let book = Book::default();
    with_default(book.clone(), || {
        let cache = traced(cache(Policy::shared()));
        cache.origin.on(|_| {
            tracing::info!(target: "test", "handled");
            ok().cache_control("max-age=10").text("hello")
        });
        let path = "/secret?token=secret";
        let span = tracing::info_span!(target: "test", "request");
        span.in_scope(|| now_or_never(cache.get(path)).unwrap());
        let expected = [
            "[request > origin] INFO handled",
            "[request > origin] DEBUG stored bytes=5",
            "[request] DEBUG answered served=miss reason=uri-miss ttl=10 stored=true \
             collapsed=false status=200 bytes=5 seconds=0.0",
        ];
        assert_eq!(book.events(), expected);
        now_or_never(cache.get(path)).unwrap();
        let hit = "[] DEBUG answered served=hit ttl=10 stored=false collapsed=false status=200 \
                   bytes=5 seconds=0.0";
        assert_eq!(book.events(), [hit]);
    });
    let spans = book.spans("origin");
    let [origin] = &spans[..] else { panic!("{spans:?}") };
    let fields = " reason=uri-miss refresh=false authority=a.example status=200 seconds=0.0";
    assert_eq!((origin.fields.as_str(), origin.parent, origin.handles), (fields, Some(0), 0));
    let all = format!("{:?}", book.change(|pages| pages.spans.clone()));
    assert!(!all.contains("secret"), "{all}");
}

type Open = Pin<Box<dyn Future<Output = Result<Response<CacheBody<TestBody>>, OriginError>>>>;

/// Whoever polls the request to the origin, what the inner service says of it stands in the span of
/// the one who asked.
#[test]
fn a_follower_does_not_take_over_the_span() {
    let book = Book::default();
    with_default(book.clone(), || {
        let cache = traced(cache(Policy::shared()));
        cache.origin.on_later(|_| {
            let mut polls = 0;
            std::future::poll_fn(move |_| {
                polls += 1;
                tracing::info!(target: "test", polls);
                match polls {
                    1 | 2 => Poll::Pending,
                    _ => Poll::Ready(Ok(ok().cache_control("max-age=10").text("x"))),
                }
            })
        });
        let begin = || -> Open { Box::pin(cache.service.clone().call(get("/"))) };
        let (mut leader, mut follower) = (begin(), begin());
        let first = tracing::info_span!(target: "test", "first");
        let second = tracing::info_span!(target: "test", "second");
        assert!(first.in_scope(|| now_or_never(leader.as_mut())).is_none());
        second.in_scope(|| assert!(now_or_never(follower.as_mut()).is_none()));
        // From now on it is the other one who drives what both have waited for.
        drop(leader);
        let response = second.in_scope(|| now_or_never(follower.as_mut())).unwrap().unwrap();
        second.in_scope(|| now_or_never(read(response))).unwrap().unwrap();
    });
    let origin = book.spans("origin");
    let parents: Vec<_> = origin.iter().map(|span| span.parent).collect();
    assert_eq!(parents, [Some(0)], "the child of the one who asked");
    let events = book.events();
    let inner: Vec<_> = events.iter().filter(|event| event.contains("polls")).collect();
    let expected = [
        "[first > origin] INFO  polls=1",
        "[second > origin] INFO  polls=2",
        "[second > origin] INFO  polls=3",
    ];
    assert_eq!(inner, expected);
    assert_eq!(origin[0].handles, 0, "it has closed");
}

/// What goes wrong is a warning, and a purge is worth telling.
#[test]
fn failures_warn_and_purges_inform() {
    let book = Book::default();
    with_default(book.clone(), || {
        let spy = Spy::new();
        spy.breaks(Call::Put, Fault::Fail);
        let cache = cache_over(spy, Policy::shared())
            .layered(|layer| layer.observer(TracingObserver::new()));
        cache.origin.on(|_| ok().cache_control("max-age=10").text("x"));
        now_or_never(cache.get("/")).unwrap();
        now_or_never(cache.layer.handle().purge(Purge::tag("reports"))).unwrap().unwrap();
    });
    let events = book.events();
    let told = |text: &str| events.iter().any(|event| event.contains(text));
    assert!(told("WARN store failed operation=put error="), "{events:?}");
    assert!(told("DEBUG not stored reason=store-error"), "{events:?}");
    assert!(told("INFO purge seq=1 purge="), "{events:?}");
}
