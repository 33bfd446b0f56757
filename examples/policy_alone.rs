//! The rules without any server or store: what a cache does with a request and a response.

#[path = "support/args.rs"]
mod args;
#[path = "support/exchange.rs"]
mod exchange;

use std::time::SystemTime;

use http::{HeaderMap, header, request};
use http_body::SizeHint;
use larder::policy::{
    self, Begin, Content, Decision, Explanation, Index, Lookup, Outcome, Secret, Stored,
    StoredResponse, Timestamp, Unsafe, VariantKey,
};

use self::exchange::Options;

fn main() {
    let options = args::or_exit(Options::parse());
    let now = SystemTime::now();
    let explained = policy::explain(&options.policy);
    let first = options.request();
    match ask(&explained, &first) {
        Some(Asked::Lookup(lookup)) => {
            let kept = fetch(&explained, &options, lookup, first, now);
            println!("\n{} s later", options.after.as_secs());
            let again = options.request_again();
            if let Some(Asked::Lookup(lookup)) = ask(&explained, &again) {
                reuse(&explained, lookup, again, kept, now + options.after);
            }
        }
        Some(Asked::Unsafe(request)) => {
            let keys = request.on_response(&options.response());
            tell(&explained);
            println!("  its response invalidates {keys:?}");
        }
        None => {}
    }
}

enum Asked<'a> {
    Lookup(Lookup<'a>),
    Unsafe(Unsafe),
}

/// The first question: is the cache to be asked?
fn ask<'p>(explained: &'p Explanation, request: &request::Parts) -> Option<Asked<'p>> {
    println!("{} {}", request.method, request.uri);
    let begun = explained.policy().begin(request, &SizeHint::with_exact(0));
    tell(explained);
    match begun {
        Begin::Lookup(lookup) => Some(Asked::Lookup(lookup)),
        Begin::Invalidate(request) => {
            println!("  written through to the origin");
            Some(Asked::Unsafe(request))
        }
        Begin::Bypass(reason) => {
            println!("  passes by the cache: {reason}");
            None
        }
    }
}

/// What is kept: all that a store would know.
type Kept = Option<(Index, VariantKey, StoredResponse)>;

const SECRET: [u8; 32] = [0; 32];

/// The third question: is the response kept?
fn fetch(
    explained: &Explanation,
    options: &Options,
    lookup: Lookup<'_>,
    mut request: request::Parts,
    at: SystemTime,
) -> Kept {
    let now = Timestamp::from_wall(at);
    let Decision::Forward(fetch) = lookup.decide(&mut request, Stored::Nothing, now) else {
        println!("  answered with 504: nothing is stored, and only that was asked for");
        return None;
    };
    tell(explained);
    println!("  forwarded: {}", fetch.reason());
    let mut response = options.response();
    let length = response.headers.get(header::CONTENT_LENGTH).cloned();
    let size = SizeHint::default();
    let outcome = fetch.on_response(&mut response, &size, now, 0, &Secret::from_bytes(SECRET));
    tell(explained);
    match outcome {
        Outcome::Store(store) => {
            println!("  {}: stored\n  Cache-Status: example; {}", options.status, store.status());
            let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
            let length = store.due().or(length);
            let (placement, head) = store.into_parts();
            let mut index = Index::new(0);
            let _ = index.admit(&placement); // nothing else is there to be evicted
            let response = StoredResponse::new(head, length.unwrap_or(0));
            Some((index, placement.variant().clone(), response))
        }
        Outcome::Pass { status, .. } => {
            println!("  {}: not stored", options.status);
            println!("  Cache-Status: example; {status}");
            None
        }
        // Which take something that is stored.
        Outcome::Freshen { .. }
        | Outcome::ServeStale(_)
        | Outcome::Complete { .. }
        | Outcome::BadGateway { .. } => None,
    }
}

/// The second question: may what is kept be used?
fn reuse(
    explained: &Explanation,
    lookup: Lookup<'_>,
    mut request: request::Parts,
    kept: Kept,
    at: SystemTime,
) {
    let secret = Secret::from_bytes(SECRET);
    let selected = kept.as_ref().and_then(|(index, variant, response)| {
        let wanted = lookup.wanted(&request.headers, &secret);
        wanted.select(index).any(|key| key == *variant).then_some(response)
    });
    let stored = match (&kept, selected) {
        (_, Some(response)) => Stored::Responses(std::slice::from_ref(response)),
        (Some(_), None) => Stored::OtherVariants,
        (None, None) => Stored::Nothing,
    };
    let decision = lookup.decide(&mut request, stored, Timestamp::from_wall(at));
    tell(explained);
    match decision {
        Decision::Serve(serve) => {
            println!("  served from the cache\n  Cache-Status: example; {}", serve.status);
            let body = match &serve.content {
                Content::Whole => "with its body",
                Content::Part { .. } => "with a part of its body",
                Content::Parts(_) => "with parts of its body",
                Content::Nothing => "without its body",
            };
            println!("  {} {body}", serve.head.status);
            show(&serve.head.headers);
        }
        Decision::Refresh(serve, _) => {
            println!("  served stale from the cache, and refreshed in the background");
            println!("  Cache-Status: example; {}", serve.status);
            show(&serve.head.headers);
        }
        Decision::Forward(fetch) => {
            println!("  forwarded: {}", fetch.reason());
            show(&request.headers);
        }
        Decision::GatewayTimeout(status) => {
            println!("  answered with 504\n  Cache-Status: example; {status}");
        }
    }
}

/// The rules that have led here.
fn tell(explained: &Explanation) {
    for step in explained.steps() {
        println!("    {step}");
    }
}

fn show(headers: &HeaderMap) {
    for (name, value) in headers {
        println!("    {name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
}
