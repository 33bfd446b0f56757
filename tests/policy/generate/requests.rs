use super::{
    super::{
        oracle::{Fields, Millis, Request, imf},
        tape::Tape,
    },
    Palette, cased, when,
};

pub fn request(tape: &mut Tape, palette: &Palette, now: Millis, number: usize) -> Request {
    const METHODS: [&str; 12] = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "FOO", "PROPFIND", "TRACE",
        "get", "REPORT",
    ];
    // The first one fills the store, as a rule.
    let method =
        if tape.once_in(if number == 0 { 20 } else { 4 }) { tape.pick(&METHODS) } else { "GET" };
    let mut fields = Fields::default();
    let mut add = |name: &str, value: String| fields.0.push((name.to_string(), value));
    if tape.once_in(6) {
        add("authorization", tape.pick(&["Bearer x", "Bearer y"]).to_string());
    }
    if tape.once_in(8) {
        add("cookie", tape.pick(&["a=1", "a=2"]).to_string());
    }
    for (name, values) in [
        ("accept-encoding", palette.encodings),
        ("accept-language", palette.languages),
        ("x-a", palette.others),
    ] {
        if !tape.one_of(2) {
            add(name, tape.pick(&values).to_string());
            if tape.once_in(10) {
                add(name, tape.pick(&values).to_string());
            }
        }
    }
    for _ in 0..tape.pick(&[0, 0, 0, 0, 0, 1, 1, 2]) {
        add("cache-control", wishes(tape));
    }
    if tape.once_in(12) {
        add("pragma", tape.pick(&["no-cache", "NO-CACHE", "x", "x, no-cache"]).to_string());
    }
    if tape.one_of(5) {
        const LISTS: [&str; 11] = [
            "\"a\"",
            "W/\"a\"",
            "\"b\"",
            "*",
            "\"x\", \"a\"",
            "\"x\",W/\"a\"",
            "",
            "a",
            "w/\"a\"",
            "\"a,b\"",
            "\"a\", *",
        ];
        add("if-none-match", tape.pick(&LISTS).to_string());
    }
    if tape.once_in(6) {
        let at = now - tape.pick(&[1000, 0, 10_000, 1_000_000, 100_000, -10_000, 86_400_000]);
        add("if-modified-since", when(tape, at));
        if tape.once_in(10) {
            add("if-modified-since", imf(now));
        }
    }
    if tape.once_in(40) {
        add(tape.pick(&["if-match", "if-range"]), "\"a\"".to_string());
    }
    if tape.once_in(60) {
        add("if-unmodified-since", imf(now));
    }
    Request {
        method: method.to_string(),
        uri: palette.targets[tape.pick(&[0, 0, 0, 0, 0, 0, 1])].to_string(),
        fields,
    }
}

/// A request's Cache-Control.
fn wishes(tape: &mut Tape) -> String {
    const WISHES: [&str; 26] = [
        "no-cache",
        "max-age=0",
        "max-age=10",
        "max-age=60",
        "max-age=100",
        "min-fresh=10",
        "min-fresh=40",
        "max-stale",
        "max-stale=10",
        "max-stale=100",
        "only-if-cached",
        "no-store",
        "no-transform",
        "stale-if-error=60",
        "foo",
        "foo=\"no-cache, no-store\"",
        "max-age=abc",
        "max-age",
        "max-stale=x",
        "min-fresh=",
        "max-age=\"10\"",
        "no-store=1",
        "no-cache=x",
        "max-age=-1",
        "only-if-cached=0",
        "foo=\"",
    ];
    let first = cased(tape, WISHES);
    if tape.once_in(3) { format!("{first}, {}", cased(tape, WISHES)) } else { first }
}

/// A range of about ten bytes.
pub fn add_range(tape: &mut Tape, request: &mut Request) {
    const RANGES: [&str; 16] = [
        "bytes=0-4",
        "bytes=5-9",
        "bytes=2-6",
        "bytes=0-9",
        "bytes=3-",
        "bytes=-4",
        "bytes=0-0",
        "bytes=9-9",
        "bytes=5-",
        "bytes=-5",
        "bytes=0-",
        "bytes=4-20",
        "bytes=8-9",
        "bytes=1-2",
        "bytes=10-",
        "bytes=20-30",
    ];
    request.fields.set("range", tape.pick(&RANGES));
    if tape.once_in(8) {
        request.fields.set("if-range", tape.pick(&["\"a\"", "\"b\"", "W/\"a\""]));
    }
}
