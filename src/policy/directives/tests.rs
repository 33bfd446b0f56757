use http::HeaderValue;

use super::*;

/// One field line for each line of text.
fn headers(field: &HeaderName, text: &str) -> HeaderMap {
    let value = |line: &str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
    text.split('\n').map(|line| (field.clone(), value(line))).collect()
}

fn response(text: &str) -> ResponseDirectives {
    ResponseDirectives::parse(&headers(&CACHE_CONTROL, text))
}

fn request(text: &str) -> RequestDirectives {
    RequestDirectives::parse(&headers(&CACHE_CONTROL, text))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn valid(lifetime: u64) -> Option<Delta> {
    Some(Delta::Valid(seconds(lifetime)))
}

fn only(names: &[&'static str]) -> Option<Reach> {
    Some(Reach::Fields(names.iter().copied().map(HeaderName::from_static).collect()))
}

/// Behaviour 12; RFC 9111 §5.2: names in any case, several lines, empty and unknown members.
#[test]
fn every_directive_is_found() {
    let text = "Max-Age=60,, S-MAXAGE=\"9\", NO-store\n\nno-Cache , PRIVATE, x, y=1,public,\n\
        Must-Revalidate,proxy-revalidate, must-understand, no-transform, immutable\n\
        Stale-While-Revalidate=30, stale-if-error=\"4\\0\"";
    let expected = ResponseDirectives {
        max_age: valid(60),
        s_maxage: valid(9),
        no_store: true,
        no_cache: Some(Reach::Whole),
        private: Some(Reach::Whole),
        public: true,
        must_revalidate: true,
        proxy_revalidate: true,
        must_understand: true,
        no_transform: true,
        immutable: true,
        stale_while_revalidate: Some(seconds(30)),
        stale_if_error: Some(seconds(40)),
    };
    assert_eq!(response(text), expected);
    for text in "|,|x|x=1, y=\"z\"|x-no-store-hint|no-store-x|no-stores".split('|') {
        assert_eq!(response(text), ResponseDirectives::default(), "{text}");
    }
    let found = ResponseDirectives::parse(&HeaderMap::new());
    assert_eq!(found, ResponseDirectives::default());
}

/// A restriction holds whatever stands behind its name, here between bars.
#[test]
fn a_malformed_restriction_restricts() {
    let unquoted = "|=|=x y|==x|=x=y|=;|;|;x=1|; foo|:|: x| =x|= x|\t| x|(x)|/x|=/|=(x)|=[x]|={x}\
        |=x;y|@|=@|\\|=\\x|;, x| public|=\u{e9}|\u{a0}|=a;b=c|=?1;x|=:eA==:|?0|>|<x>|{|}|[";
    let quoted = r#"=""|=","|=" "|="x y"|="x, y z"|="|="x|="x\"|="x"y|="x" y|="x""y"|=x"y"
        |=""x|=x"| ="x"|= "x"| = "x"| "x"|"x"|="x";y="z"|="\""|="x;y"|="x=y"|="é"|="a\\ b"|"|""|"="#;
    let restricted = |name: &str, found: ResponseDirectives| match name {
        "no-store" => found.no_store,
        "no-cache" => found.no_cache == Some(Reach::Whole),
        "private" => found.private == Some(Reach::Whole),
        "must-revalidate" => found.must_revalidate,
        _ => found.proxy_revalidate,
    };
    for name in "no-store|no-cache|private|must-revalidate|proxy-revalidate".split('|') {
        for form in unquoted.split('|').chain(quoted.split('|')) {
            let form = form.trim_end_matches(['\n', ' ']);
            let upper = name.to_uppercase();
            for text in [
                format!("{name}{form}"),
                format!("public, max-age=9 , {upper}{form}"),
                format!("{name}{form}\nmax-age=9, public"),
                format!("x=a; {name}{form}"),
            ] {
                assert!(restricted(name, response(&text)), "{text}");
            }
        }
        for form in unquoted.split('|') {
            let text = format!("x=\"a, {name}{form}"); // the quote is nowhere closed
            assert!(restricted(name, response(&text)), "{text}");
        }
        for form in ["=0", "=1", "=\"0\"", "=false"] {
            let qualifies = ["no-cache", "private"].contains(&name); // a list of one field
            let text = format!("{name}{form}");
            assert!(qualifies || restricted(name, response(&text)), "{text}");
        }
    }
}

/// RFC 9111 §5.2.2.4, §5.2.2.7.
#[test]
fn a_list_of_fields_qualifies() {
    let whole = || Some(Reach::Whole);
    let many: String = (0..=MAX_NAMES).map(|i| format!("f{i},")).collect();
    let cases = [
        ("=\"Set-Cookie\"", only(&["set-cookie"])),
        ("=set-cookie", only(&["set-cookie"])),
        ("=\" a ,,\tb,\"", only(&["a", "b"])),
        ("=\"\\a\"", only(&["a"])),
        ("=\"a,A\", NAME=A, NAME=\"b\"", only(&["a", "b"])),
        ("=\"a\"\nNAME=\"c\"", only(&["a", "c"])),
        ("=\"a\", NAME", whole()),
        (", NAME=\"a\"", whole()),
        ("=\"a\", NAME=\"\", NAME=b", whole()),
        ("=\"a, \\\"b\\\"\"", whole()),
        (&format!("=\"{many}\""), whole()),
    ];
    for (form, expected) in cases {
        for name in ["no-cache", "private"] {
            let found = response(&format!("{name}{}", form.replace("NAME", name)));
            let (this, other) = match name {
                "private" => (found.private, found.no_cache),
                _ => (found.no_cache, found.private),
            };
            assert_eq!((this, other), (expected.clone(), None), "{name}{form}");
        }
    }
}

/// Behaviour 13; RFC 9111 §1.2.2, §4.2.1.
/// Feature malformed-lifetime.
#[test]
fn a_malformed_lifetime_is_stale() {
    let cases = [
        ("NAME=60", valid(60)),
        ("NAME=\"60\"", valid(60)),
        ("NAME=\"6\\0\"", valid(60)),
        ("NAME=0060", valid(60)),
        ("NAME=99999999999999999999", valid(1 << 31)),
        ("NAME=60, NAME=\"060\"\nNAME=60", valid(60)),
        ("NAME=60, x=\"a", valid(60)),
    ];
    let malformed = "NAME|NAME=|NAME=\"\"|NAME=-1|NAME=+1|NAME=1.5|NAME='60'|NAME=60s|NAME=1e3\
        |NAME=0x1|NAME = 60|NAME =60|NAME= 60|NAME=60 60|NAME=60;x|NAME:60|NAME==60|NAME=\"60\
        |NAME=60\"|NAME=\" 60\"|NAME=\"60\"0|NAME=60, NAME=61|NAME=60, NAME|NAME, NAME=60\
        |x=\"a, NAME=60|x; NAME=60|NAME=60, x=\"a, NAME=60";
    let malformed = malformed.split('|').map(|it| (it, Some(Delta::Malformed)));
    for (text, expected) in cases.into_iter().chain(malformed) {
        let max_age = response(&text.replace("NAME", "max-age"));
        let s_maxage = response(&text.replace("NAME", "S-MaxAge"));
        assert_eq!([max_age.max_age, max_age.s_maxage], [expected, None], "{text}");
        assert_eq!([s_maxage.max_age, s_maxage.s_maxage], [None, expected], "{text}");
    }
    assert_eq!(Delta::Malformed.lifetime(), Duration::ZERO);
    assert_eq!(Delta::Valid(seconds(9)).lifetime(), seconds(9));
}

/// RFC 5861 §3, §4.
#[test]
fn a_malformed_permission_permits_nothing() {
    let cases = [
        ("NAME=9", Some(9)),
        ("NAME=\"9\"", Some(9)),
        ("NAME=9, NAME=5, NAME=7", Some(5)),
        ("NAME", None),
        ("NAME=", None),
        ("NAME=-1", None),
        ("NAME = 9", None),
        ("NAME=9, NAME=x, NAME=9", None),
        ("NAME=9, x=\"a, NAME=9", None),
        ("x=\"a, NAME=9", None),
    ];
    for (text, expected) in cases {
        let expected = expected.map(seconds);
        let found = response(&text.replace("NAME", "stale-while-revalidate"));
        assert_eq!(found.stale_while_revalidate, expected, "{text}");
        let text = text.replace("NAME", "stale-if-error");
        assert_eq!(response(&text).stale_if_error, expected, "{text}");
        assert_eq!(request(&text).stale_if_error, expected, "{text}");
    }
    for form in ["=", "=1", "=\"\"", " x", ";x", "=\""] {
        let text = "public~\nimmutable~\nmust-understand~".replace('~', form);
        let found = response(&text);
        assert!(found.no_store && !found.must_understand, "{text}");
        assert!(!found.public && !found.immutable, "{text}");
        assert!(!response(&format!("must-understand, must-understand{form}")).must_understand);
    }
    let found = response("x=\"a, public, immutable");
    assert_eq!(found, ResponseDirectives::default());
}

/// RFC 9111 §5.2: the argument of an unknown directive is text.
#[test]
fn quoted_text_is_no_directive() {
    let quoted = [
        r#"x="no-store""#,
        r#"x="a, no-store, private, max-age=0""#,
        r#"x="a\", no-store""#,
        r#"x="\\\", private; no-cache""#,
        r#"x = "no-store, private""#,
    ];
    for text in quoted {
        assert_eq!(response(text), ResponseDirectives::default(), "{text}");
        assert_eq!(request(text), RequestDirectives::default(), "{text}");
    }
    for text in [
        r#"x="a, no-store"#,
        r#"x="a\", no-store"#,
        r#"x="a\\", no-store"#,
        r#"x="a, "no-store"#,
        r#""no-store"#,
        // Nobody's argument.
        r#""private", "no-store, max-age=1""#,
        r#"max-age=10, ", no-store, x=""#,
        "=no-store",
        "max-age=10, (no-store)",
        ": no-store=x",
        r#"x=a"b, no-store""#,
        r#"x="a"b", no-store""#,
        "x=\"a\nno-store",
    ] {
        assert!(response(text).no_store && request(text).no_store, "{text}");
    }
}

/// RFC 9111 §5.2.1.
#[test]
fn the_stricter_request_counts() {
    type Change = fn(&mut RequestDirectives);
    let cases: &[(&str, Change)] = &[
        ("max-age=9", |it| it.max_age = Some(seconds(9))),
        ("MAX-AGE=\"9\", max-age=5", |it| it.max_age = Some(seconds(5))),
        ("max-age=x, max-age=5", |it| it.max_age = Some(seconds(0))),
        ("max-age", |it| it.max_age = Some(seconds(0))),
        ("max-stale", |it| it.max_stale = Some(MaxStale::Any)),
        ("max-stale, max-stale=5, max-stale=9", |it| {
            it.max_stale = Some(MaxStale::For(seconds(5)))
        }),
        ("max-stale=x, max-stale", |_| ()),
        ("max-stale=", |_| ()),
        ("min-fresh=5, min-fresh=9", |it| it.min_fresh = Some(seconds(9))),
        ("min-fresh=x", |it| it.no_cache = true),
        ("min-fresh", |it| it.no_cache = true),
        ("no-cache=1", |it| it.no_cache = true),
        ("No-Store=\"x\"", |it| it.no_store = true),
        ("only-if-cached=", |it| it.only_if_cached = true),
        ("no-transform", |it| it.no_transform = true),
        ("no-cachex, public", |_| ()),
    ];
    for (text, set) in cases {
        let mut expected = RequestDirectives::default();
        set(&mut expected);
        assert_eq!(request(text), expected, "{text}");
    }
}

/// RFC 9111 §5.4.
#[test]
fn pragma_counts_where_cache_control_is_absent() {
    for (text, expected) in [("No-Cache", true), ("x, no-cache", true), ("x=no-cache", false)] {
        let mut headers = headers(&PRAGMA, text);
        let found = RequestDirectives::parse(&headers);
        assert_eq!(found.no_cache, expected, "{text}");
        assert!(ResponseDirectives::parse(&headers).no_cache.is_none());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(""));
        assert!(!RequestDirectives::parse(&headers).no_cache, "{text}");
    }
}

#[test]
fn a_field_that_is_too_long_forbids() {
    let longest = "x,".repeat(MAX_BYTES / 2);
    assert!(!response(&longest).no_store && !request(&longest).no_cache);
    for text in [
        format!("must-understand, max-age=9\n{longest}"),
        "x,".repeat(1 << 19),
        "x=\"".repeat(1 << 18),
    ] {
        let (response, request) = (response(&text), request(&text));
        assert!(response.no_store && !response.must_understand);
        assert!(request.no_cache && request.no_store);
        assert!(RequestDirectives::parse(&headers(&PRAGMA, &text)).no_cache);
    }
}

/// What is read in one go is what is read member by member, as a line is that begins with a quoted string: all
/// lines of up to four of these pieces.
#[test]
fn both_ways_to_read_a_line_are_the_same() {
    const PIECES: [&str; 15] = [
        "no-store",
        "Max-Age",
        "private",
        "max-age=60",
        "=",
        "1",
        ",",
        ", ",
        " ",
        "\t",
        "\"",
        "\\",
        ";",
        "\u{e9}",
        "x-",
    ];
    let member_by_member = |line: &str| format!("x=\"\",{line}");
    for number in 0..16_usize.pow(4) {
        let pieces = (0..4).filter_map(|at| PIECES.get(number >> (4 * at) & 15));
        let line: String = pieces.copied().collect();
        assert_eq!(response(&line), response(&member_by_member(&line)), "{line:?}");
        assert_eq!(request(&line), request(&member_by_member(&line)), "{line:?}");
    }
}
