use super::{
    super::{
        oracle::{Fields, Millis, Response},
        tape::Tape,
    },
    Palette, Unchanged, cased, when,
};

pub fn response(tape: &mut Tape, palette: &Palette, now: Millis, number: usize) -> Response {
    const ODD: [u16; 26] = [
        404, 301, 302, 410, 500, 503, 203, 204, 300, 308, 307, 303, 400, 401, 403, 405, 414, 501,
        451, 201, 205, 299, 399, 599, 504, 206,
    ];
    let status = if tape.once_in(3) {
        tape.pick(&ODD)
    } else if number > 0 && tape.one_of(6) {
        tape.pick(&[503, 500, 502, 504, 501, 505])
    } else {
        200
    };
    let mut fields = metadata(tape, palette, now);
    if tape.once_in(3) {
        fields.set("content-length", tape.pick(&["5", "6"]));
    }
    if status == 206 || tape.once_in(60) {
        const PLACES: [&str; 12] = [
            "bytes 0-4/10",
            "bytes 5-9/10",
            "bytes 2-6/10",
            "bytes 0-9/10",
            "bytes 0-4/5",
            "bytes 3-7/*",
            "bytes 0-4/*",
            "bytes 5-4/10",
            "bytes 0-9/9",
            "items 0-4/10",
            "bytes */10",
            "bytes 0-4",
        ];
        fields.set("content-range", tape.pick(&PLACES));
    }
    Response { status, fields }
}

pub fn unchanged(tape: &mut Tape, palette: &Palette, now: Millis) -> Unchanged {
    let echo = !tape.one_of(3);
    let mut fields = if tape.one_of(3) { metadata(tape, palette, now) } else { Fields::default() };
    if tape.once_in(6) {
        fields.set("content-length", tape.pick(&["0", "5", "7"]));
    }
    Unchanged { response: Response { status: 304, fields }, echo }
}

/// What a response says beside its status and its length.
fn metadata(tape: &mut Tape, palette: &Palette, now: Millis) -> Fields {
    let mut fields = Fields::default();
    let mut add = |name: &str, value: String| fields.0.push((name.to_string(), value));
    for _ in 0..tape.pick(&[1, 1, 1, 1, 1, 1, 2, 0, 0]) {
        add("cache-control", policy(tape));
    }
    // The origin's clock may be wrong.
    let skew = tape.pick(&[0, 0, 0, 0, 0, 0, -1000, -5000, -60_000, 5000, 3_600_000, -86_400_000]);
    if !tape.once_in(5) {
        add("date", when(tape, now + skew));
    }
    if tape.once_in(5) {
        let after = tape.pick(&[60_000, 0, 10_000, 100_000, -1000, 86_400_000_000]);
        add("expires", when(tape, now + skew + after));
        if tape.once_in(8) {
            add("expires", when(tape, now + skew + 100_000));
        }
    }
    if tape.one_of(4) {
        let before = tape.pick(&[100_000, 1000, 600_000, 1_000_000, 0, -1000, 31_536_000_000]);
        add("last-modified", when(tape, now + skew - before));
    }
    if tape.one_of(3) {
        const TAGS: [&str; 8] =
            ["\"a\"", "\"b\"", "W/\"a\"", "a", "\"\"", "\"a,b\"", "w/\"a\"", "\"é\""];
        add("etag", tape.pick(&TAGS).to_string());
    }
    if tape.one_of(6) {
        const AGES: [&str; 14] = [
            "10",
            "0",
            "5",
            "60",
            "59",
            "5, 60",
            "99999999999999999999",
            "-1",
            "1.5",
            "",
            "x",
            "010",
            "60, 5",
            "5;x",
        ];
        add("age", tape.pick(&AGES).to_string());
        if tape.once_in(8) {
            add("age", "7".to_string());
        }
    }
    if tape.one_of(3) {
        add("vary", tape.pick(&palette.vary).to_string());
        if tape.once_in(8) {
            add("vary", tape.pick(&palette.vary).to_string());
        }
    }
    if tape.once_in(10) {
        add("set-cookie", "id=1".to_string());
    }
    if tape.one_of(5) {
        add("x-a", tape.pick(&["one", "two"]).to_string());
        if tape.once_in(3) {
            add("x-a", "three".to_string());
        }
    }
    if tape.once_in(12) {
        add("connection", tape.pick(&["x-a", "close, X-A", "keep-alive", "x-b"]).to_string());
    }
    if tape.once_in(15) {
        const HOP: [&str; 5] =
            ["keep-alive", "proxy-authenticate", "upgrade", "te", "proxy-connection"];
        add(tape.pick(&HOP), "x".to_string());
    }
    if tape.once_in(20) {
        name_places(tape, &mut fields);
    }
    fields
}

/// A response's Cache-Control.
fn policy(tape: &mut Tape) -> String {
    const USUAL: [&str; 27] = [
        "max-age=60",
        "max-age=10",
        "max-age=100",
        "max-age=0",
        "s-maxage=10",
        "s-maxage=100",
        "s-maxage=0",
        "public",
        "private",
        "no-store",
        "no-cache",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "no-transform",
        "stale-if-error=60",
        "stale-while-revalidate=60",
        "max-age=31536000",
        "no-cache=\"x-a\"",
        "private=\"x-a\"",
        "no-cache=\"set-cookie, X-A\"",
        "private=\"set-cookie\"",
        "foo",
        "foo=bar",
        "foo=\"no-store, private, max-age=1\"",
        "foo=\"\\\"no-store\\\\\"",
    ];
    const ODD: [&str; 48] = [
        "max-age=\"60\"",
        "max-age=060",
        "max-age=99999999999999999999",
        "max-age=4294967296",
        "max-age=-1",
        "max-age=+60",
        "max-age=1.5",
        "max-age",
        "max-age=",
        "max-age=\"\"",
        "max-age=abc",
        "max-age='60'",
        "max-age=60s",
        "max-age = 60",
        "max-age= 60",
        "max-age=60 ",
        "max-age=60;foo",
        "max-age=6 0",
        "max-age:60",
        "s-maxage",
        "s-maxage=abc",
        "s-maxage=\"60\"",
        "no-store=1",
        "no-store=\"x\"",
        "no-store;",
        "\"no-store\"",
        "no-store=",
        "private=",
        "private=\"\"",
        "private=x-a",
        "private=\"x-a",
        "private;x",
        "=private",
        "private x",
        "no-cache=",
        "no-cache=\"",
        "no-cache=x-a",
        "no-cache=\"x a\"",
        "no-cache=\", \"",
        "public=1",
        "public=",
        "must-revalidate=0",
        "must-revalidate;",
        "foo=\"",
        "foo=\"a, max-age=60",
        "\"foo\"",
        ",",
        "",
    ];
    const LIFETIMES: [&str; 10] = [
        "max-age=60",
        "max-age=10",
        "max-age=100",
        "s-maxage=10",
        "s-maxage=60, max-age=10",
        "public, max-age=60",
        "max-age=10, stale-while-revalidate=60",
        "max-age=10, stale-if-error=60",
        "max-age=60, must-revalidate",
        "stale-while-revalidate=10, stale-if-error=100, max-age=60",
    ];
    let mut text = String::new();
    if !tape.one_of(3) {
        text += &cased(tape, LIFETIMES);
    }
    for _ in 0..tape.pick(&[0, 0, 0, 1, 1, 1, 2, 3]) {
        if !text.is_empty() {
            text += tape.pick(&[", ", ",", " ,\t", ",,", " , "]);
        }
        text += &if tape.once_in(8) { cased(tape, ODD) } else { cased(tape, USUAL) };
    }
    text
}

/// Where the answer to another method than GET points to.
pub fn name_places(tape: &mut Tape, fields: &mut Fields) {
    const PLACES: [&str; 10] = [
        "/x",
        "http://a.example/x",
        "http://b.example/x",
        "y",
        "/d/../x",
        "../x",
        "?q=1",
        "//a.example/x",
        "https://a.example/x",
        "http://A.example:80/x?q=1#f",
    ];
    for name in ["location", "content-location"] {
        if tape.one_of(2) {
            fields.0.push((name.to_string(), tape.pick(&PLACES).to_string()));
        }
    }
}
