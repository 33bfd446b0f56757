//! RFC 9111 §3, §3.1, §3.5.

use super::{
    dates,
    directives::{Directives, Reach, Seconds},
    message::{Fields, Millis, Request, Response, is_token},
    store::{Options, SetCookie},
    tri::Tri,
    uri,
};

/// Whether the response is to be stored. `Yes` only where it can be of use later.
pub fn may_store(request: &Request, response: &Response, as_part: Tri, options: &Options) -> Tri {
    let asked = Directives::of(&request.fields);
    let said = Directives::of(&response.fields);
    let fields = &response.fields;

    // "The request method is understood by the cache."
    let by_method = match request.method.as_str() {
        "GET" => Tri::Yes,
        "POST" => post(request, fields, &said) & Tri::May,
        _ => Tri::No,
    };
    // "Final", and neither 206 nor 304, which are for those who know ranges and validation.
    let by_status = match response.status {
        206 => as_part,
        status => Tri::from(status >= 200 && status != 304),
    };
    // Which codes are understood is our list; no number that nobody has registered is on it.
    let understood = match response.status {
        _ if !said.has("must-understand") => Tri::Yes,
        200 | 203 | 204 | 300..=303 | 307 | 308 | 404 | 405 | 410 | 414 | 501 => Tri::Yes,
        201 | 202 | 205 | 400..=417 | 421..=429 | 431 | 451 | 500..=505 => Tri::May,
        _ => Tri::No,
    };
    // §5.2.1.5, §5.2.2.5; §5.2.2.3: "the cache SHOULD ignore the no-store directive".
    let no_store = if asked.has("no-store") {
        Tri::Yes
    } else if said.has("no-store") {
        if said.has("must-understand") { !understood } else { Tri::Yes }
    } else {
        Tri::No
    };
    let private = match said.reach("private") {
        _ if !options.shared => Tri::No,
        Reach::Nothing | Reach::Fields(_) => Tri::No,
        Reach::FieldsOrAll(_) => Tri::May,
        Reach::All => Tri::Yes,
    };
    let authorized = !options.shared
        || !request.fields.has("authorization")
        || said.has("must-revalidate")
        || said.count("s-maxage") > 0
        || said.permits("public") != Tri::No;
    let literally = said.permits("public") == Tri::Yes
        || said.is_bare("must-revalidate")
        || matches!(said.seconds("s-maxage"), Seconds::Valid(_));
    let authorized = Tri::from(authorized).unless_odd(
        options.shared && request.fields.has("authorization") && (!literally || said.odd),
    );
    let by_freshness = said.permits("public")
        | Tri::from(said.has("private") && !options.shared)
        | Tri::from(fields.has("expires"))
        | Tri::from(said.count("max-age") > 0)
        | Tri::from(said.count("s-maxage") > 0 && options.shared)
        | Tri::from(options.default_ttl.is_some()) & Tri::May
        // A lifetime that an open quote has swallowed is there, and broken.
        | Tri::from(said.odd) & Tri::May
        | match response.status {
            405 | 414 | 501 if !options.heuristic_errors => Tri::May,
            status => Tri::from(heuristically_cacheable(status)),
        };

    let cookie = match options.set_cookie {
        // Decision 4.
        SetCookie::Bypass if fields.has("set-cookie") => match said.reach("private") {
            // It is not stored where it is named (§5.2.2.7), which is as good.
            Reach::Fields(names) | Reach::FieldsOrAll(names) if options.shared => {
                Tri::May & Tri::from(names.iter().any(|name| name == "set-cookie"))
            }
            _ => Tri::No,
        },
        _ => Tri::Yes,
    };
    let names = fields.members("vary");
    let credential = |name: &String| {
        ["cookie", "authorization", "proxy-authorization"].contains(&&*name.to_ascii_lowercase())
    };
    let vary = if names.iter().any(|n| n == "*" || !is_token(n)) {
        // It could serve for validation only.
        Tri::May
    } else if !options.vary_on_credentials && names.iter().any(credential) {
        // Decision 5.
        if names.iter().all(|n| !credential(n) || n.eq_ignore_ascii_case("proxy-authorization")) {
            Tri::May
        } else {
            Tri::No
        }
    } else {
        Tri::Yes
    };
    let all = by_method & by_status & understood & !no_store & !private & authorized;
    let all = all & by_freshness & cookie & vary;
    all.unless_odd(said.odd || asked.odd)
}

/// RFC 9110 §15.1.
fn heuristically_cacheable(status: u16) -> bool {
    [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status)
}

/// RFC 9110 §9.3.3: explicit freshness, and a Content-Location that is the target.
fn post(request: &Request, fields: &Fields, said: &Directives) -> Tri {
    let explicit = fields.has("expires") || said.count("max-age") > 0 || said.count("s-maxage") > 0;
    let location = fields.lines("content-location");
    let same = location.first().is_some_and(|location| {
        uri::resolve(&request.uri, location) == uri::resolve(&request.uri, "")
    });
    Tri::from(explicit && same)
}

/// The fields as they are kept (§3.1), with a Date (RFC 9110 §6.6.1).
pub fn stored_fields(fields: &Fields, received_at: Millis, options: &Options) -> Fields {
    let excepted = excepted(fields, options);
    let mut kept = fields.clone();
    kept.0.retain(|(name, _)| !excepted.contains(name));
    dated(kept, received_at)
}

/// RFC 9110 §6.6.1: a Date is appended, and an invalid one replaced (Behaviour 16).
pub fn dated(mut fields: Fields, received_at: Millis) -> Fields {
    if !is_dated(&fields, received_at) {
        fields.set("date", dates::imf(received_at));
    }
    fields
}

pub fn is_dated(fields: &Fields, received_at: Millis) -> bool {
    fields.lines("date").first().is_some_and(|line| dates::date(line, received_at).is_some())
}

/// What is not stored.
pub fn excepted(fields: &Fields, options: &Options) -> Vec<String> {
    let mut names = hop_by_hop(fields);
    if let Reach::Fields(listed) | Reach::FieldsOrAll(listed) =
        Directives::of(fields).reach("private")
        && options.shared
    {
        names.extend(listed);
    }
    if options.set_cookie == SetCookie::Strip {
        names.push("set-cookie".to_string());
    }
    names
}

/// What is not for those behind the next hop (RFC 9110 §7.6.1, RFC 9111 §3.1).
pub fn hop_by_hop(fields: &Fields) -> Vec<String> {
    let mut names: Vec<String> = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    ]
    .map(str::to_string)
    .to_vec();
    names.extend(fields.members("connection").iter().map(|name| name.to_ascii_lowercase()));
    names
}
