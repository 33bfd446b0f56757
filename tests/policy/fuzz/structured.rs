//! Structured fields, through the public policy.

use http::{HeaderMap, HeaderName, Request, Response, header};
use http_body::SizeHint;
use larder::policy::{Begin, Policy};

use super::{
    super::alone::{kept, served},
    fields::head,
    mutate::Numbers,
    text::{damaged, pick, text, value},
};

const STRUCTURED: [&str; 30] = [
    "\"a\"",
    "\"b c\"",
    "\"\\\"\"",
    "\"\\\\\"",
    "\"",
    "\\",
    ", ",
    ",",
    "a",
    "a=1",
    "max-age=60",
    "no-store",
    "private",
    "=",
    ";x=1",
    ";x",
    "(1 \"a\");q",
    "?1",
    "?0",
    "1.5",
    "999999999999999",
    ":YQ==:",
    "@1",
    "%\"x\"",
    " ",
    "\t",
    "s-maxage=\"1\"",
    "no-cache=(\"a\")",
    "*",
    "max-age=1.0",
];

/// RFC 9651 §4: what is read, written again, is read as the same.
pub fn lists(numbers: &mut Numbers) -> Result<(), String> {
    const GROUPS: HeaderName = HeaderName::from_static("cache-groups");
    let written = match numbers.below(3) {
        0 => text(numbers, &STRUCTURED, 12),
        _ => {
            let many = numbers.below(9);
            let each: Vec<_> = (0..many).map(|_| pick(numbers, &STRUCTURED[..4])).collect();
            let list = each.join(", ");
            if numbers.below(2) == 0 { damaged(numbers, &list, &STRUCTURED) } else { list }
        }
    };
    let policy = Policy::shared();
    let groups = |written: &str| -> Option<Vec<String>> {
        let fields = [(header::CACHE_CONTROL, "max-age=60"), (GROUPS, written)];
        let stored = kept(&policy, &HeaderMap::new(), &head(&fields))?;
        Some(stored.head().groups().map(str::to_owned).collect())
    };
    let found = groups(&written).ok_or("not kept")?;
    let quoted =
        |group: &String| format!("\"{}\"", group.replace('\\', "\\\\").replace('"', "\\\""));
    let again = found.iter().map(quoted).collect::<Vec<_>>().join(", ");
    if groups(&again).as_ref() != Some(&found) {
        return Err(format!("{written:?} is {found:?}, but {again:?} is not"));
    }
    // The same list, as one that invalidates.
    let (request, ()) =
        Request::post("http://a.example/").body(()).map_err(|e| e.to_string())?.into_parts();
    let Begin::Invalidate(post) = policy.begin(&request, &SizeHint::with_exact(0)) else {
        return Err("a POST is unsafe".to_owned());
    };
    let (mut response, ()) = Response::new(()).into_parts();
    response.headers.append("cache-group-invalidation", value(&written));
    let invalidated = post.on_response(&response);
    match invalidated.groups() == found {
        true => Ok(()),
        false => Err(format!("{written:?} is {found:?} and {:?}", invalidated.groups())),
    }
}

/// RFC 9213 §2.2: a field that parses rules, and one that does not says nothing.
pub fn targeted(numbers: &mut Numbers) -> Result<(), String> {
    const TARGET: HeaderName = HeaderName::from_static("cdn-cache-control");
    let written = text(numbers, &STRUCTURED, 8);
    let policy = Policy::shared().targets(["CDN-Cache-Control"]);
    let with = |target: &str, control: &str| {
        let fields = [(TARGET, target), (header::CACHE_CONTROL, control), (header::ETAG, "\"1\"")];
        kept(&policy, &HeaderMap::new(), &head(&fields))
    };
    let Some(stored) = with(&written, "no-store") else { return Ok(()) };
    // It was heard instead of `no-store`: then it is heard where it restricts, too.
    for (more, name) in [("no-store", "no-store"), ("private", "private"), ("no-cache", "no-cache")]
    {
        let more = format!("{written}, {more}");
        let is_used = with(&more, "public, max-age=60").is_some_and(|stored| {
            name != "no-cache" || served(&policy, &HeaderMap::new(), &stored, 0).is_some()
        });
        if is_used {
            return Err(format!("{more:?} does not restrict"));
        }
    }
    let other = with(&written, "max-age=7, must-revalidate");
    match other.map(|other| other.head().lifetime()) == Some(stored.head().lifetime()) {
        true => Ok(()),
        false => Err(format!("{written:?} does not rule alone")),
    }
}
