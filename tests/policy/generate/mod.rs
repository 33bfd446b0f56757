//! Exchanges as they happen, and odd ones.

mod requests;
mod responses;

use self::{
    requests::{add_range, request},
    responses::{name_places, response, unchanged},
};
use super::{
    oracle::{Millis, Options, Reload, Request, Response, SetCookie, asctime, imf, rfc850},
    tape::Tape,
};

/// A few requests, one after the other, to a cache of these options.
#[derive(Debug)]
pub struct Case {
    pub options: Options,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub at: Millis,
    pub request: Request,
    /// How long the origin takes.
    pub delay: Millis,
    /// What the origin says, unless it is asked with conditions and says [`Step::unchanged`].
    pub response: Response,
    pub unchanged: Option<Unchanged>,
    /// Whether it gives the range that it is asked for.
    pub knows_ranges: bool,
    /// There is no answer at all.
    pub fails: bool,
}

/// A 304.
#[derive(Clone, Debug)]
pub struct Unchanged {
    pub response: Response,
    /// With the validators that it was asked with.
    pub echo: bool,
}

/// Sun, 22 Nov 2026, some seconds after eleven.
const START: Millis = 1_795_345_207_000;

pub fn case(tape: &mut Tape) -> Case {
    let options = options(tape);
    // Much that is odd at once hides what each of it does.
    let by = tape.pick(&[1, 3, 8]);
    tape.calm_down(by);
    let palette = Palette::of(tape);
    let ranged = tape.once_in(4);
    let mut now = START;
    let mut steps = Vec::new();
    for number in 0..tape.pick(&[2, 2, 3, 3, 3, 4, 1]) {
        if number > 0 {
            now += wait(tape);
        }
        let delay = tape.pick(&[0, 0, 0, 0, 0, 1, 999, 1000, 5000, 60_000]);
        let mut request = request(tape, &palette, now, number);
        if ranged && tape.pick(&[true, true, true, false]) {
            add_range(tape, &mut request);
        }
        let mut response = response(tape, &palette, now + delay, number);
        if !["GET", "HEAD"].contains(&request.method.as_str()) {
            name_places(tape, &mut response.fields);
        }
        if ranged && !tape.one_of(3) {
            ready_for_ranges(tape, &mut request, &mut response);
        }
        let unchanged = (!tape.one_of(4)).then(|| unchanged(tape, &palette, now + delay));
        let fails = tape.one_of(if number == 0 { 12 } else { 6 });
        // Ranges come together.
        let knows_ranges = ranged && !tape.one_of(4);
        steps.push(Step { at: now, request, delay, response, unchanged, knows_ranges, fails });
        now += delay;
    }
    Case { options, steps }
}

/// The values that the requests of one case choose between, and what the responses name in Vary:
/// few, so that two of them are often about the same.
struct Palette {
    encodings: [&'static str; 2],
    languages: [&'static str; 2],
    others: [&'static str; 2],
    vary: [&'static str; 2],
    targets: [&'static str; 2],
}

impl Palette {
    fn of(tape: &mut Tape) -> Palette {
        const ENCODINGS: [&str; 11] = [
            "gzip",
            "br",
            "gzip, br",
            "gzip,br",
            "br, gzip",
            "GZIP",
            "",
            "gzip;q=0",
            "gzip;q=0.5",
            "identity",
            "gzip ,\tbr",
        ];
        const LANGUAGES: [&str; 8] =
            ["en", "de", "EN", "en, de", "en,de", "de, en;q=0.5", " en ,de", "en-GB"];
        const OTHERS: [&str; 7] = ["1", "2", "1, 2", "1 ,2", "\"1, 2\"", "\"1,2\"", ""];
        const VARY: [&str; 14] = [
            "Accept-Encoding",
            "accept-language",
            "X-A",
            "accept-encoding, x-a",
            "x-a,accept-encoding",
            "*",
            "x-a, *",
            "",
            "cookie",
            "authorization",
            "User-Agent",
            ", ,X-A",
            "x a",
            "ACCEPT-LANGUAGE",
        ];
        const TARGETS: [&str; 9] = [
            "http://a.example:80/x",
            "http://A.EXAMPLE/x",
            "http://a.example/x?q=1",
            "https://a.example/x",
            "http://b.example/x",
            "http://a.example/X",
            "http://a.example",
            "http://a.example/d/y",
            "http://a.example:8080/x",
        ];
        let other = tape.pick(&TARGETS);
        let mut two = |from: &[&'static str]| [tape.pick(from), tape.pick(from)];
        Palette {
            encodings: two(&ENCODINGS),
            languages: two(&LANGUAGES),
            others: two(&OTHERS),
            vary: two(&VARY),
            targets: ["http://a.example/x", other],
        }
    }
}

fn options(tape: &mut Tape) -> Options {
    let shared = !tape.once_in(2);
    let mut options = Options {
        shared,
        set_cookie: if shared { SetCookie::Bypass } else { SetCookie::Store },
        vary_on_credentials: !shared,
        heuristic_errors: false,
        client_max_stale: !shared,
        reload: if shared { Reload::Collapse(1000) } else { Reload::Honour },
        default_ttl: None,
        immutable: false,
        strict_s_maxage: false,
        stale_on_disconnect: None,
    };
    if tape.once_in(3) {
        options.set_cookie = tape.pick(&[SetCookie::Bypass, SetCookie::Store, SetCookie::Strip]);
        options.vary_on_credentials = tape.once_in(2);
        options.heuristic_errors = tape.once_in(2);
        options.client_max_stale = tape.once_in(2);
        options.strict_s_maxage = tape.once_in(2);
        options.stale_on_disconnect = tape.pick(&[None, Some(60_000)]);
        options.immutable = tape.once_in(2);
        options.reload = tape.pick(&[
            Reload::Honour,
            Reload::Collapse(1000),
            Reload::Collapse(10_000),
            Reload::Ignore,
        ]);
        options.default_ttl = tape.pick(&[None, None, Some(10_000)]);
    }
    options
}

/// Without much else that could keep parts from coming together.
fn ready_for_ranges(tape: &mut Tape, request: &mut Request, response: &mut Response) {
    request.method = "GET".to_string();
    for name in ["if-none-match", "if-modified-since", "if-match", "cache-control", "pragma"] {
        request.fields.remove(name);
    }
    response.status = 200;
    response.fields.set("etag", tape.pick(&["\"a\"", "\"a\"", "\"a\"", "\"a\"", "\"b\""]));
    if !tape.one_of(3) {
        response.fields.set("cache-control", "max-age=60");
        response.fields.remove("vary");
        response.fields.remove("age");
    }
}

/// Round about the lifetimes that responses have here.
fn wait(tape: &mut Tape) -> Millis {
    const SECONDS: [Millis; 22] =
        [1, 0, 0, 2, 5, 8, 10, 9, 11, 50, 50, 60, 59, 61, 20, 30, 70, 99, 100, 101, 160, 86_400];
    let seconds = tape.pick(&SECONDS);
    seconds * 1000 + tape.pick(&[0, 0, 0, 0, 1, -1, 500, 999]).max(-seconds * 1000)
}

/// Letter case says nothing.
fn cased<const N: usize>(tape: &mut Tape, from: [&str; N]) -> String {
    let text = tape.pick(&from);
    if tape.once_in(8) { text.to_ascii_uppercase() } else { text.to_string() }
}

/// A date in any of the three forms, or none.
fn when(tape: &mut Tape, at: Millis) -> String {
    match tape.below(16) {
        0..=9 => imf(at),
        10 => rfc850(at),
        11 => asctime(at),
        12 => imf(at).to_ascii_uppercase(),
        13 => imf(at).replace("GMT", tape.pick(&["UTC", "+0000", "PST", "", "gmt"])),
        14 => tape.pick(&["0", "", "-1", "now", "Thu, 01 Jan 1970"]).to_string(),
        _ => imf(at).replace(' ', tape.pick(&["  ", "\t"])),
    }
}
