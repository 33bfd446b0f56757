//! Variants that a request does not select, and what a 304 makes of them (RFC 9111 §4.1, §4.3.1,
//! §4.3.4).

use larder::{
    Policy,
    policy::{Forward, Reason, VaryOnCredentials},
};

use crate::support::{Answer, Cache, cache, ok, request, status, with};

/// A cache whose origin answers in the language that is asked for, by tags of its own: `de` and
/// `de-AT` are one text.
fn multilingual(policy: Policy) -> Cache {
    let cache = cache(policy);
    cache.origin.on(|request| {
        let asked = request.headers()["accept-language"].to_str().unwrap();
        let language = asked.split(['-', ',', ';']).next().unwrap().to_ascii_lowercase();
        let tag = format!("\"{language}-1\"");
        let known = request.headers().get("if-none-match");
        if known.is_some_and(|known| known.to_str().unwrap().contains(&tag)) {
            return status(304).header("etag", &tag).cache_control("max-age=60").text("");
        }
        ok().cache_control("max-age=60")
            .header("vary", "accept-language")
            .header("content-language", &language)
            .header("etag", &tag)
            .text(format!("in {language}"))
    });
    cache
}

async fn speaking(cache: &Cache, language: &str) -> Answer {
    cache.get_with("/", &[("accept-language", language)]).await
}

/// Requirements, "Validation": on a mismatch the origin hears what is there, and may choose of it.
#[tokio::test]
async fn a_304_selects_among_the_other_variants() {
    for policy in [Policy::shared(), Policy::private()] {
        let cache = multilingual(policy);
        for language in ["en", "de", "fr"] {
            assert_eq!(speaking(&cache, language).await.cache.forward_status(), None);
        }
        cache.clock.advance_secs(50);
        let answer = speaking(&cache, "de-AT").await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "in de"));
        assert_eq!(answer.assert_revalidated().cache.forward(), Some(Forward::VaryMiss));
        let sent = cache.origin.last();
        assert_eq!(sent.field("if-none-match"), Some("\"fr-1\", \"de-1\", \"en-1\""));
        assert_eq!(sent.field("if-modified-since"), None);
        // It is found for both from now on, and good for a minute; the others are not.
        cache.clock.advance_secs(59);
        for language in ["de-AT", "de"] {
            let hit = speaking(&cache, language).await;
            assert_eq!((hit.assert_hit().text(), hit.age()), ("in de", Some(59)), "{language}");
        }
        speaking(&cache, "en").await.assert_revalidated();
        assert_eq!(cache.origin.last().field("if-none-match"), Some("\"en-1\""));
        cache.send(with(request("POST", "/"), &[("accept-language", "en")])).await;
        assert!(!speaking(&cache, "de-AT").await.cache.is_hit(), "all variants go together");
    }
}

/// RFC 9111 §4.3.3: another answer is a variant of its own.
#[tokio::test]
async fn a_whole_answer_is_another_variant() {
    let cache = multilingual(Policy::shared());
    speaking(&cache, "en").await;
    let answer = speaking(&cache, "de").await;
    assert_eq!(cache.origin.last().field("if-none-match"), Some("\"en-1\""));
    assert_eq!((answer.assert_forwarded().text(), answer.cache.is_stored()), ("in de", true));
    assert_eq!(speaking(&cache, "en").await.assert_hit().text(), "in en");
    assert_eq!(speaking(&cache, "de").await.assert_hit().text(), "in de");
}

/// Only the last four are known: the index does not grow with the variants (scenario 4.2).
#[tokio::test]
async fn the_last_four_are_known() {
    let cache = multilingual(Policy::private());
    for n in 0..20 {
        speaking(&cache, &format!("x{n}")).await;
    }
    let expected = "\"x18-1\", \"x17-1\", \"x16-1\", \"x15-1\"";
    assert_eq!(cache.origin.last().field("if-none-match"), Some(expected));
}

/// Requirements, "Validation": what the request could not take, or what could be mistaken for
/// another, is not asked about.
/// Feature variant-validators.
#[tokio::test]
async fn only_what_could_be_the_answer_is_asked_about() {
    type Fields = &'static [(&'static str, &'static str)];
    const GZIP: (&str, &str) = ("content-encoding", "gzip");
    const TAG: (&str, &str) = ("etag", "\"1\"");
    // What was stored for other fields, what the next request says, and what the origin hears.
    let table: [(Fields, Fields, Option<&str>); 9] = [
        (&[TAG], &[("accept-encoding", "br")], Some("\"1\"")),
        (&[TAG, GZIP], &[("accept-encoding", "gzip, br")], Some("\"1\"")),
        (&[TAG, GZIP], &[("accept-encoding", "br")], None),
        (&[TAG, GZIP], &[], None),
        (&[TAG, GZIP], &[("accept-encoding", "gzip;q=0, *")], None),
        (&[("etag", "W/\"1\"")], &[("accept-encoding", "br")], None),
        (&[("last-modified", "Wed, 01 Jan 2020 00:00:00 GMT")], &[("accept-encoding", "br")], None),
        (&[TAG], &[("if-none-match", "\"own\"")], Some("\"own\"")),
        (&[TAG], &[("if-modified-since", "Wed, 01 Jan 2020 00:00:00 GMT")], None),
    ];
    for (stored, asked, heard) in table {
        let cache = cache(Policy::shared());
        cache.origin.on(move |_| {
            let reply = ok().cache_control("max-age=60").header("vary", "accept-encoding");
            stored.iter().fold(reply, |reply, (name, value)| reply.header(name, value)).text("")
        });
        cache.get_with("/", &[("accept-encoding", "gzip")]).await;
        cache.get_with("/", asked).await.assert_forwarded();
        assert_eq!(cache.origin.last().field("if-none-match"), heard, "{stored:?} {asked:?}");
    }
    // Axum's usual stack gives all codings of a page one strong tag.
    let cache = cache(Policy::shared());
    cache.origin.on(|_| {
        let reply = ok().cache_control("max-age=60").header("vary", "accept");
        reply.header("etag", "\"same\"").text("")
    });
    for accept in ["a", "b", "c"] {
        cache.get_with("/", &[("accept", accept)]).await;
    }
    assert_eq!(cache.origin.last().field("if-none-match"), None);
}

/// Who is told apart, by credentials or by choice, hears nothing of the others.
#[tokio::test]
async fn users_are_not_asked_about_each_others_variants() {
    let tagged = |cache: &Cache, vary: &'static str| {
        cache.origin.on(move |_| {
            ok().cache_control("public, max-age=60")
                .header("vary", vary)
                .header("etag", "\"1\"")
                .text("")
        });
    };
    for name in ["cookie", "authorization"] {
        let policy = Policy::shared().vary_on_credentials(VaryOnCredentials::Store);
        for policy in [policy, Policy::private()] {
            let cache = cache(policy);
            tagged(&cache, if name == "cookie" { "cookie" } else { "accept, authorization" });
            for user in ["a", "b"] {
                cache.get_with("/", &[(name, user)]).await;
                assert_eq!(cache.origin.last().field("if-none-match"), None, "{name}");
            }
        }
    }
    let policy = Policy::shared().key(|head| {
        Ok(head.headers.get("x-class").map(|class| class.to_str().unwrap_or_default().to_owned()))
    });
    let cache = cache(policy);
    tagged(&cache, "accept");
    for class in ["a", "b"] {
        cache.get_with("/", &[("x-class", class)]).await;
        assert_eq!(cache.origin.last().field("if-none-match"), None);
    }
}

/// RFC 9110 §15.4.5: a 304 should have the tag. Of one that has none it is clear what is meant only
/// where one variant was asked about.
#[tokio::test]
async fn a_304_without_a_tag_selects_only_the_single_one() {
    for languages in [&["en"][..], &["en", "de"]] {
        let cache = cache(Policy::shared());
        cache.origin.on(|request| match request.headers().get("x-silent") {
            Some(_) => status(304).text(""),
            None => {
                let language = request.headers()["accept-language"].to_str().unwrap().to_owned();
                ok().cache_control("max-age=60")
                    .header("vary", "accept-language")
                    .header("etag", format!("\"{language}\""))
                    .text(language)
            }
        });
        for language in languages {
            speaking(&cache, language).await;
            cache.clock.advance_secs(1);
        }
        let fields = [("accept-language", "fr"), ("x-silent", "1")];
        let answer = cache.get_with("/", &fields).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, *languages.last().unwrap()));
        let is_single = languages.len() == 1;
        assert_eq!(answer.cache.is_stored(), is_single);
        assert_eq!(answer.cache.reason() == Some(Reason::ValidatorMismatch), !is_single);
        assert_eq!(speaking(&cache, "fr").await.cache.is_hit(), is_single);
    }
}

/// RFC 9111 §3.2, §4.1: a 304 that changes `Vary` moves what is stored to where it is now found.
/// Feature vary-changed.
#[tokio::test]
async fn a_304_that_changes_vary_moves_what_is_stored() {
    let cache = cache(Policy::shared());
    cache.origin.on(|request| match request.headers().get("if-none-match") {
        Some(_) => status(304).header("vary", "x-a, x-b").text(""),
        None => ok()
            .cache_control("max-age=60")
            .header("vary", "x-a")
            .header("etag", "\"1\"")
            .text("hello"),
    });
    let fields = [("x-a", "1"), ("x-b", "1")];
    cache.get_with("/", &fields).await;
    cache.get_with("/", &[("x-a", "1"), ("x-b", "2")]).await.assert_hit();
    cache.clock.advance_secs(60);
    cache.get_with("/", &fields).await.assert_revalidated();
    let hit = cache.get_with("/", &fields).await;
    assert_eq!((hit.assert_hit().text(), hit.field("vary")), ("hello", Some("x-a, x-b")));
    assert_eq!(hit.field("content-length"), Some("5"));
    cache.get_with("/", &[("x-a", "1"), ("x-b", "2")]).await.assert_forwarded();
    cache.get_with("/", &[("x-a", "1")]).await.assert_forwarded();
}

/// Behaviour 22: order among equals, and the one best-rated language, behind the switch.
#[tokio::test]
async fn languages_are_selected_by_what_was_asked_for_most() {
    let ask =
        async |policy: Policy, stored: &'static str, said: &'static str, asked: &'static str| {
            let cache = cache(policy);
            cache.origin.on(move |_| {
                ok().cache_control("max-age=60")
                    .header("vary", "accept-language, accept")
                    .header("content-language", said)
                    .text("")
            });
            let accept = ("accept", "text/html");
            cache.get_with("/", &[("accept-language", stored), accept]).await;
            let other = [("accept-language", asked), ("accept", "text/plain")];
            assert!(!cache.get_with("/", &other).await.cache.is_hit(), "another field differs");
            cache.get_with("/", &[("accept-language", asked), accept]).await.cache.is_hit()
        };
    let table = [
        ("en, de", "de", "DE, EN", true),
        ("en, de", "de", "fr;q=0.5, de;q=1.0", true),
        ("en, de", "DE", "de", true),
        ("en, de", "de", "en", false),
        ("en, de", "de", "de, fr", false),
        ("en, de", "de, en", "de", false),
        ("en, de", "de", "de-AT", false),
        ("en, de", "de", "de;q=0", false),
        ("en;q=0.9, de", "de", "de, en;q=0.90", true),
    ];
    for (stored, said, asked, is_hit) in table {
        let normalising = Policy::shared().normalise_language(true);
        assert_eq!(ask(normalising, stored, said, asked).await, is_hit, "{asked}");
        assert!(!ask(Policy::shared(), stored, said, asked).await, "{asked}");
    }
}
