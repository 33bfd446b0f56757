//! Parts of responses in the store: which are kept, and what they answer (RFC 9111 §3.3).

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use larder::{
    CacheManager, Policy,
    policy::{Forward, Reason},
};

use crate::support::{
    Answer, Cache, Reply, TestBody, cache, channel, ok, read, request, status, with,
};

/// What the origin has: a strong tag and a body, which may change, and how it answers.
#[derive(Clone)]
pub struct Site(Arc<Mutex<Page>>);

#[derive(Clone)]
pub struct Page {
    pub tag: &'static str,
    pub body: String,
    pub control: &'static str,
    /// Whether `If-Range` is looked at.
    pub hears_if_range: bool,
    pub hears_range: bool,
}

/// A body in which every byte tells where it stands: `00000,00006,00012,...`.
pub fn long(length: usize) -> String {
    let mut text: String = (0..length / 6 + 1).map(|at| format!("{:05},", 6 * at)).collect();
    text.truncate(length);
    text
}

impl Site {
    /// Behind `cache`, with `body` under the tag `"1"`.
    pub fn of<M: CacheManager>(cache: &Cache<M>, body: impl Into<String>) -> Self {
        let page = Page {
            tag: "\"1\"",
            body: body.into(),
            control: "max-age=60",
            hears_if_range: true,
            hears_range: true,
        };
        let site = Self(Arc::new(Mutex::new(page)));
        let own = site.clone();
        cache.origin.on(move |request| own.page().answer(request));
        site
    }

    pub fn page(&self) -> Page {
        self.0.lock().unwrap().clone()
    }

    pub fn change(&self, change: impl FnOnce(&mut Page)) {
        change(&mut self.0.lock().unwrap());
    }
}

impl Page {
    pub fn head(&self, code: u16) -> Reply {
        let reply = status(code).cache_control(self.control).header("x-own", "1");
        let reply = reply.header("content-type", "text/plain");
        if self.tag.is_empty() { reply } else { reply.header("etag", self.tag) }
    }

    /// The bytes of `range`, as they should be sent.
    pub fn part(&self, first: usize, last: usize) -> Response<TestBody> {
        let shown = format!("bytes {first}-{last}/{}", self.body.len());
        let text = &self.body[first..=last];
        let reply = self.head(206).header("content-range", shown);
        reply.header("content-length", text.len().to_string()).text(text)
    }

    pub fn whole(&self) -> Response<TestBody> {
        self.head(200).header("content-length", self.body.len().to_string()).text(&self.body)
    }

    pub fn answer(&self, request: &Request<()>) -> Response<TestBody> {
        let field = |name| request.headers().get(name).map(|value| value.to_str().unwrap());
        if field("if-none-match").is_some_and(|tag| tag == self.tag) {
            return self.head(304).text("");
        }
        let is_same = field("if-range").is_none_or(|tag| tag == self.tag);
        let range =
            field("range").filter(|_| self.hears_range && (is_same || !self.hears_if_range));
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            return self.whole();
        };
        let length = self.body.len();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let (first, last) = match range.split_once('-').unwrap() {
            ("", count) => (length.saturating_sub(number(count)), length - 1),
            (first, "") => (number(first), length - 1),
            (first, last) => (number(first), number(last).min(length - 1)),
        };
        if first >= length {
            return status(416).header("content-range", format!("bytes */{length}")).text("");
        }
        self.part(first, last)
    }
}

/// Asks for a range.
pub async fn part<M: CacheManager>(cache: &Cache<M>, range: &str) -> Answer {
    cache.get_with("/", &[("range", &format!("bytes={range}"))]).await
}

/// Behaviour 34; RFC 9111 §3.3, RFC 9110 §14.4: the same range and every range within it, in all
/// three forms, with the fields that came.
#[tokio::test]
async fn a_stored_part_answers_the_ranges_within_it() {
    let cache = cache(Policy::shared());
    Site::of(&cache, long(100));
    let first = part(&cache, "40-").await;
    assert_eq!(first.status, 206);
    assert_eq!(first.field("cache-status"), Some("larder; fwd=uri-miss; ttl=60; stored"));
    cache.clock.set_secs(7);
    for (range, shown, text) in [
        ("40-", "bytes 40-99/100", &long(100)[40..]),
        ("40-99", "bytes 40-99/100", &long(100)[40..]),
        ("-60", "bytes 40-99/100", &long(100)[40..]),
        ("-1", "bytes 99-99/100", &long(100)[99..]),
        ("50-59", "bytes 50-59/100", &long(100)[50..60]),
        ("98-1000", "bytes 98-99/100", &long(100)[98..]),
    ] {
        let hit = part(&cache, range).await;
        hit.assert_hit();
        assert_eq!((hit.status.as_u16(), hit.text()), (206, text), "{range}");
        assert_eq!(hit.field("content-range"), Some(shown));
        assert_eq!(hit.field("content-length"), Some(&*text.len().to_string()));
        assert_eq!((hit.field("x-own"), hit.field("etag")), (Some("1"), Some("\"1\"")));
        assert_eq!(hit.age(), Some(7));
    }
    let several = part(&cache, "40-40,99-99").await;
    several.assert_hit();
    assert_eq!(several.status, 206);
    assert!(several.text().contains("Content-Range: bytes 99-99/100\r\n\r\n"));
    assert_eq!(cache.origin.calls(), 1);
}

/// RFC 9111 §3.3, RFC 9110 §13.1.5, §13.2.2; Behaviour 36: "MUST NOT use an incomplete response to
/// answer requests unless ... the request is partial and specifies a range wholly within".
#[tokio::test]
async fn a_stored_part_is_no_answer_to_anything_else() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(100));
    part(&cache, "40-59").await;
    type Fields = &'static [(&'static str, &'static str)];
    let hits: [(Fields, u16); 4] = [
        (&[("range", "bytes=40-59"), ("if-range", "\"1\"")], 206),
        (&[("range", "bytes=40-59"), ("if-none-match", "\"1\"")], 304),
        (&[("range", "bytes=40-59"), ("if-none-match", "\"2\"")], 206),
        (&[("range", "bytes=41-58"), ("if-none-match", "*")], 304),
    ];
    for (fields, code) in hits {
        let hit = cache.get_with("/", fields).await;
        assert_eq!(hit.assert_hit().status, code, "{fields:?}");
    }
    let passed: [(Fields, u16); 9] = [
        (&[("range", "bytes=40-59"), ("if-range", "\"2\"")], 200),
        (&[("range", "bytes=40-59"), ("if-range", "W/\"1\"")], 200),
        (&[("range", "bytes=0-39")], 206),
        (&[("range", "bytes=200-")], 416),
        (&[("range", "bytes=0-")], 206),
        (&[("range", "bytes=-100")], 206),
        (&[("if-none-match", "\"1\"")], 304),
        (&[("if-none-match", "\"2\"")], 200),
        (&[], 200),
    ];
    for (fields, code) in passed {
        cache.layer.handle().manager().clear().await.unwrap();
        part(&cache, "40-59").await;
        let calls = cache.origin.calls();
        let answer = cache.get_with("/", fields).await;
        assert_eq!(answer.status, code, "{fields:?}");
        assert_eq!(answer.cache.forward(), Some(Forward::Partial), "{fields:?}");
        assert_eq!(cache.origin.calls(), calls + 1, "{fields:?}");
        let seen = cache.origin.last();
        assert_eq!(seen.headers.len(), fields.len(), "as it came: {fields:?}");
    }
    cache.layer.handle().manager().clear().await.unwrap();
    part(&cache, "40-59").await;
    let head = cache.send(request("HEAD", "/")).await;
    assert_eq!((head.status.as_u16(), head.field("content-length")), (200, Some("100")));
    part(&cache, "40-59").await.assert_hit();
    let cached = cache.get_with("/", &[("cache-control", "only-if-cached")]).await;
    assert_eq!(cached.status, 504);
    // RFC 9111 §4.3.5: a HEAD that tells of another version ends it.
    site.change(|page| page.tag = "\"2\"");
    cache.send(request("HEAD", "/")).await;
    part(&cache, "40-59").await.assert_forwarded();
}

/// RFC 9111 §3.3; RFC 9110 §14.4, §15.3.7: what is not one part of a known place, or need not have all
/// fields, is passed on as it came and not kept.
#[tokio::test]
async fn what_is_no_single_part_is_passed_on() {
    type Fields = &'static [(&'static str, &'static str)];
    const RANGE: (&str, &str) = ("range", "bytes=0-4");
    let cases: [(Fields, Fields); 15] = [
        (&[RANGE], &[]),
        (&[RANGE], &[("content-range", "bytes 0-4")]),
        (&[RANGE], &[("content-range", "bytes 4-0/10")]),
        (&[RANGE], &[("content-range", "bytes 0-4/4")]),
        (&[RANGE], &[("content-range", "items 0-4/10")]),
        (&[RANGE], &[("content-range", "bytes 0-18446744073709551615/*")]),
        (&[RANGE], &[("content-range", "bytes 0-4/10"), ("content-range", "bytes 0-4/10")]),
        (&[RANGE], &[("content-range", "bytes 0-5/10")]),
        (&[RANGE], &[("content-range", "bytes 0-3/10")]),
        (
            &[RANGE],
            &[
                ("content-range", "bytes 0-4/10"),
                ("content-type", "Multipart/ByteRanges; boundary=a"),
            ],
        ),
        (&[RANGE], &[("content-range", "bytes 0-4/10"), ("cache-control", "no-store")]),
        (&[RANGE], &[("content-range", "bytes 0-4/10"), ("vary", "*")]),
        (&[RANGE, ("if-range", "\"1\"")], &[("content-range", "bytes 0-4/10")]),
        (&[RANGE, ("cache-control", "no-store")], &[("content-range", "bytes 0-4/10")]),
        (&[], &[("content-range", "bytes 0-4/10")]),
    ];
    for (asked, said) in cases {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let reply = status(206).header("cache-control", "max-age=60").header("etag", "\"1\"");
            let reply = said.iter().fold(reply, |reply, (name, value)| reply.header(name, value));
            reply.header("content-length", "5").text("01234")
        });
        for _ in 0..2 {
            let passed = cache.get_with("/", asked).await;
            assert!(!passed.cache.is_stored(), "{asked:?} {said:?}");
            assert_eq!((passed.status.as_u16(), passed.text()), (206, "01234"));
            passed.assert_forwarded();
            let shown = said.iter().find(|(name, _)| *name == "content-range");
            let shown = shown.map(|(_, value)| *value);
            assert_eq!(passed.field("content-range"), shown);
        }
        assert_eq!(cache.origin.calls(), 2, "{asked:?} {said:?}");
    }
}

/// Behaviour 35: what is shorter or longer than its Content-Range says is dropped, and no octet is
/// invented. The client gets what came.
#[tokio::test]
async fn a_part_of_another_length_is_dropped() {
    for (text, is_kept) in [("0123", false), ("01234", true), ("012345", false), ("", false)] {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let (sender, body) = channel();
            sender.data(text);
            let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
            reply.header("content-range", "bytes 0-4/10").body(body)
        });
        assert_eq!(part(&cache, "0-4").await.text(), text);
        let again = part(&cache, "0-4").await;
        assert_eq!((again.text(), again.cache.is_hit()), (text, is_kept), "{text}");
    }
}

/// RFC 9110 §14.4: of a length that nobody has told only what is named from first to last is known.
#[tokio::test]
async fn a_part_of_an_unknown_length_answers_what_ends_within_it() {
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = status(206).cache_control("max-age=60").header("etag", "\"1\"");
        reply.header("content-range", "bytes 10-19/*").text("0123456789")
    });
    part(&cache, "10-19").await;
    let hit = part(&cache, "12-13").await;
    assert_eq!(hit.assert_hit().text(), "23");
    assert_eq!(hit.field("content-range"), Some("bytes 12-13/*"));
    for range in ["12-", "-3", "12-20", "9-12"] {
        part(&cache, range).await.assert_forwarded();
        assert_eq!(cache.origin.last().field("range"), Some(&*format!("bytes={range}")));
        assert_eq!(cache.origin.last().field("if-range"), None);
    }
}

/// RFC 9111 §4.3.4: a 304 with its strong tag makes a stale part good again, and nothing else does.
#[tokio::test]
async fn a_stale_part_is_validated_by_its_strong_tag() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(100));
    part(&cache, "40-59").await;
    cache.clock.set_secs(60);
    let good = part(&cache, "42-45").await;
    good.assert_revalidated();
    assert_eq!((good.status.as_u16(), good.text()), (206, &long(100)[42..46]));
    assert_eq!(good.field("content-range"), Some("bytes 42-45/100"));
    let seen = cache.origin.last();
    assert_eq!(
        (seen.field("if-none-match"), seen.field("range")),
        (Some("\"1\""), Some("bytes=42-45"))
    );
    part(&cache, "40-59").await.assert_hit();
    // Of another version a part comes, and takes its place.
    cache.clock.set_secs(120);
    site.change(|page| (page.tag, page.body) = ("\"2\"", "x".repeat(100)));
    let other = part(&cache, "42-45").await;
    assert_eq!((other.status.as_u16(), other.text()), (206, "xxxx"));
    assert_eq!(part(&cache, "43-44").await.assert_hit().text(), "xx");
    part(&cache, "40-45").await.assert_forwarded();

    for tag in ["", "W/\"1\""] {
        site.change(|page| page.tag = tag);
        cache.layer.handle().manager().clear().await.unwrap();
        part(&cache, "40-59").await;
        part(&cache, "40-59").await.assert_hit();
        cache.clock.advance_secs(60);
        part(&cache, "40-59").await.assert_forwarded();
        let seen = cache.origin.last();
        assert_eq!((seen.field("if-none-match"), seen.headers.len()), (None, 1), "{tag}");
    }
    // A 304 that tells of another tag is good for this one request.
    site.change(|page| page.tag = "\"1\"");
    cache.layer.handle().manager().clear().await.unwrap();
    part(&cache, "40-59").await;
    cache.clock.advance_secs(60);
    cache.origin.on(|_| status(304).header("etag", "\"2\"").cache_control("max-age=60").text(""));
    assert_eq!(part(&cache, "40-41").await.assert_revalidated().status, 206);
    Site::of(&cache, long(100));
    part(&cache, "40-41").await.assert_forwarded();
}

/// Stale parts stand in for an origin that fails, where that is allowed, and are not refreshed in the
/// background: nobody has asked for the whole (RFC 5861 §3, §4).
#[tokio::test]
async fn a_stale_part_stands_in_for_an_error_and_is_not_refreshed_as_a_whole() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(100));
    site.change(|page| page.control = "max-age=10, stale-while-revalidate=60, stale-if-error=60");
    part(&cache, "40-59").await;
    cache.clock.set_secs(20);
    part(&cache, "50-59").await.assert_revalidated();
    cache.clock.set_secs(40);
    cache.origin.on(|_| status(503).text(""));
    let stale = part(&cache, "50-59").await;
    assert_eq!((stale.status.as_u16(), stale.text()), (206, &long(100)[50..60]));
    assert_eq!(stale.cache.reason(), Some(Reason::ServerError));
    for range in ["30-59", "0-9"] {
        assert_eq!(part(&cache, range).await.status, 503, "{range}");
    }
    assert_eq!(cache.get("/").await.status, 503);
}

/// Behaviours 34 and 22, RFC 9111 §4.1: parts have variants as others have, and the key is the GET's.
#[tokio::test]
async fn parts_are_kept_by_vary() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| {
        let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
        let reply = status(206).cache_control("max-age=60").header("vary", "accept-language");
        reply.header("content-range", "bytes 0-1/10").text(language)
    });
    let ask = async |language| {
        let fields = [("accept-language", language), ("range", "bytes=0-1")];
        cache.get_with("/", &fields).await
    };
    for language in ["en", "de"] {
        ask(language).await.assert_forwarded();
    }
    for language in ["en", "de"] {
        assert_eq!(ask(language).await.assert_hit().text(), language);
    }
    ask("fr").await.assert_forwarded();
}

/// What is whole is not given up for a part: not while it is fresh and the client wants a newer one,
/// nor for a part of the same version, or of an unknown one; another version takes its place.
#[tokio::test]
async fn a_part_takes_the_place_of_a_whole_only_if_it_is_of_another_version() {
    for (tag, own, is_replaced) in [
        ("\"1\"", "\"1\"", false),
        ("\"1\"", "\"2\"", true),
        ("\"1\"", "", false),
        ("", "\"2\"", false),
    ] {
        let cache = cache(Policy::private());
        let site = Site::of(&cache, long(100));
        site.change(|page| page.tag = tag);
        cache.get("/").await;
        cache.clock.advance_secs(5);
        site.change(|page| page.tag = own);
        // An origin that does not look at conditions.
        let page = site.page();
        cache.origin.on(move |_| page.part(0, 9));
        let fields = [("range", "bytes=0-9"), ("cache-control", "no-cache")];
        let answer = cache.get_with("/", &fields).await;
        assert_eq!((answer.status.as_u16(), answer.cache.is_stored()), (206, is_replaced), "{own}");
        assert_eq!(cache.get("/").await.cache.is_hit(), !is_replaced, "{tag} {own}");
    }
}

/// RFC 9111 §4.4: parts go with the resource, and one on its way is not stored then.
#[tokio::test]
async fn parts_are_purged_and_invalidated_like_others() {
    let cache = cache(Policy::shared());
    let site = Site::of(&cache, long(100));
    for _ in 0..2 {
        part(&cache, "0-9").await.assert_forwarded();
        part(&cache, "0-9").await.assert_hit();
        let purge = larder::Purge::url("http://a.example/").unwrap();
        cache.layer.handle().purge(purge).await.unwrap();
    }
    part(&cache, "0-9").await;
    let page = site.page();
    cache.origin.on(move |request| match request.method().as_str() {
        "POST" => ok().text(""),
        _ => page.answer(request),
    });
    cache.send(request("POST", "/")).await;
    part(&cache, "0-9").await.assert_forwarded();
    let request = with(request("GET", "/"), &[("range", "bytes=20-29")]);
    let opened = tower::Service::call(&mut cache.service.clone(), request).await.unwrap();
    cache.send(crate::support::request("POST", "/")).await;
    assert_eq!(read(opened).await.unwrap(), &long(100)[20..30]);
    part(&cache, "20-29").await.assert_forwarded();
}
