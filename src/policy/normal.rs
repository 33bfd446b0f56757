//! Normal forms of request fields, so that equal wishes select one variant (RFC 9111 §4.1).

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{fields, inline::Draft};

/// How `Accept-Language` is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Languages {
    /// As written, but for white space and letter case.
    #[default]
    InOrder,
    /// By weight, whatever the order.
    ByWeight,
}

/// What of a field is compared beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forms {
    pub(super) languages: Languages,
    /// `Accept` by weight, whatever the order.
    pub(super) accept: bool,
}

/// Appends the value of a field that the request has, in its normal form. For any field, lines are
/// joined and white space round commas is dropped.
pub(super) fn write(request: &HeaderMap, name: &HeaderName, forms: Forms, out: &mut Draft<'_>) {
    let start = out.len();
    if *name == header::ACCEPT_ENCODING {
        return write_codings(request, out);
    }
    if *name == header::ACCEPT_LANGUAGE {
        let by_weight = forms.languages == Languages::ByWeight;
        if by_weight && write_weighted(request, name, Order::Weight, is_range, out) {
            return;
        }
        write_list(request, name, out);
        // Language ranges are case-insensitive (RFC 9110 §12.5.4).
        return out.since(start).make_ascii_lowercase();
    }
    let by_weight = *name == header::ACCEPT && forms.accept;
    if !by_weight || !write_weighted(request, name, Order::Weight, is_media_range, out) {
        write_list(request, name, out);
    }
}

fn write_list(request: &HeaderMap, name: &HeaderName, out: &mut Draft<'_>) {
    let start = out.len();
    for member in fields::list(request, name) {
        if out.len() > start {
            out.push(b',');
        }
        out.put(member);
    }
}

/// RFC 9110 §12.5.3: a set of codings. One that cannot be read counts as `identity`, which the
/// origin is asked for then.
fn write_codings(request: &HeaderMap, out: &mut Draft<'_>) {
    let name = header::ACCEPT_ENCODING;
    if !write_weighted(request, &name, Order::Name, fields::is_token, out) {
        out.put(IDENTITY);
    }
}

const IDENTITY: &[u8] = b"identity";

/// Puts `identity` in the place of an `Accept-Encoding` that cannot be read, so that the origin
/// reads no more in it than the cache.
pub(super) fn mend_codings(request: &mut HeaderMap) {
    if request.contains_key(header::ACCEPT_ENCODING)
        && !fields::list(request, &header::ACCEPT_ENCODING)
            .all(|member| Weighted::parse(member, fields::is_token).is_some())
    {
        request.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Name,
    /// Greatest first, those of one weight by name.
    Weight,
}

/// So many members take no allocation.
const FEW: usize = 8;

/// Appends the members with their weights in one order, each once. `false`: one cannot be read, and
/// nothing was appended.
fn write_weighted(
    request: &HeaderMap,
    name: &HeaderName,
    order: Order,
    is_name: fn(&[u8]) -> bool,
    out: &mut Draft<'_>,
) -> bool {
    let (mut few, mut many, mut count) = ([Weighted::NONE; FEW], Vec::new(), 0);
    for member in fields::list(request, name) {
        let Some(member) = Weighted::parse(member, is_name) else { return false };
        if let Some(place) = few.get_mut(count) {
            *place = member;
        } else {
            if count == FEW {
                many.extend(few);
            }
            many.push(member);
        }
        count += 1;
    }
    let members = few.get_mut(..count).unwrap_or(&mut many);
    members.sort_unstable_by(|a, b| {
        let by_weight = b.weight.cmp(&a.weight);
        let by_name = a.lower().cmp(b.lower());
        match order {
            Order::Name => by_name.then(by_weight),
            Order::Weight => by_weight.then(by_name),
        }
    });
    let mut last: Option<&Weighted<'_>> = None;
    for member in &*members {
        if let Some(last) = last {
            if last.weight == member.weight && last.name.eq_ignore_ascii_case(member.name) {
                continue;
            }
            out.push(b',');
        }
        last = Some(member);
        let start = out.len();
        out.put(member.name);
        out.since(start).make_ascii_lowercase();
        if member.weight != Weighted::FULL {
            out.push(b';');
            put_number(member.weight, out);
        }
    }
    true
}

/// Appends one below 1000.
fn put_number(number: u16, out: &mut Draft<'_>) {
    let digits = [100, 10, 1].map(|place| b'0' + (number / place % 10) as u8);
    let zeros = digits.iter().take(2).take_while(|digit| **digit == b'0').count();
    out.put(&digits[zeros..]);
}

/// A member with a weight (RFC 9110 §12.4.2).
#[derive(Clone, Copy)]
struct Weighted<'a> {
    name: &'a [u8],
    /// In thousandths.
    weight: u16,
}

impl<'a> Weighted<'a> {
    const FULL: u16 = 1000;
    const NONE: Self = Self { name: b"", weight: 0 };

    fn parse(member: &'a [u8], is_name: impl Fn(&[u8]) -> bool) -> Option<Self> {
        let mut parts = member.splitn(2, |byte| *byte == b';').map(fields::trim);
        let name = parts.next().filter(|name| is_name(name))?;
        let weight = match parts.next() {
            None => Self::FULL,
            Some([b'q' | b'Q', b'=', value @ ..]) => weight(value)?,
            Some(_) => return None,
        };
        // One coding, two names (RFC 9110 §8.4.1).
        let name = match name {
            _ if name.eq_ignore_ascii_case(b"x-gzip") => &b"gzip"[..],
            _ if name.eq_ignore_ascii_case(b"x-compress") => b"compress",
            name => name,
        };
        Some(Self { name, weight })
    }

    fn lower(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.name.iter().map(u8::to_ascii_lowercase)
    }
}

/// RFC 9110 §12.4.2, in thousandths.
fn weight(text: &[u8]) -> Option<u16> {
    let (whole, fraction) = match text {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u16::from(byte - b'0'));
    let mut weight = digit(*whole)?;
    for place in 0..3 {
        weight = weight * 10 + fraction.get(place).map_or(Some(0), |byte| digit(*byte))?;
    }
    (weight <= Weighted::FULL).then_some(weight)
}

/// RFC 4647 §2.1, and `*`.
fn is_range(text: &[u8]) -> bool {
    text == b"*"
        || text.split(|byte| *byte == b'-').all(|part| {
            (1..=8).contains(&part.len())
                && part.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'*')
        })
}

/// RFC 9110 §12.5.1, without parameters.
fn is_media_range(text: &[u8]) -> bool {
    let mut parts = text.split(|byte| *byte == b'/');
    let (kind, subtype) = (parts.next(), parts.next());
    [kind, subtype].iter().all(|part| part.is_some_and(fields::is_token)) && parts.next().is_none()
}

/// The one language that the request rates best, in lower case (RFC 9110 §12.5.4).
pub(super) fn best_language(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut best: Option<Weighted<'_>> = None;
    let mut is_single = false;
    for member in fields::list(request, &header::ACCEPT_LANGUAGE) {
        let member = Weighted::parse(member, is_range)?;
        match &best {
            Some(before) if before.weight > member.weight => {}
            Some(before) if before.weight == member.weight => is_single = false,
            _ => (best, is_single) = (Some(member), true),
        }
    }
    best.filter(|best| is_single && best.weight > 0 && !best.name.contains(&b'*'))
        .map(|best| best.lower().collect())
}

/// Whether a request with these fields takes content of the coding `coding` (RFC 9110 §12.5.3).
pub(super) fn accepts_coding(request: &HeaderMap, coding: &[u8]) -> bool {
    if !request.contains_key(header::ACCEPT_ENCODING) {
        // Any is acceptable, and none is expected.
        return coding.eq_ignore_ascii_case(IDENTITY);
    }
    let (mut named, mut any) = (None, None);
    for member in fields::list(request, &header::ACCEPT_ENCODING) {
        let Some(member) = Weighted::parse(member, fields::is_token) else {
            return coding.eq_ignore_ascii_case(IDENTITY);
        };
        let slot = if member.name == b"*" { &mut any } else { &mut named };
        if member.name == b"*" || member.name.eq_ignore_ascii_case(coding) {
            *slot = Some(member.weight);
        }
    }
    match named.or(any) {
        Some(weight) => weight > 0,
        None => coding.eq_ignore_ascii_case(IDENTITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::inline::InlineBytes;

    fn request(name: HeaderName, lines: &[&str]) -> HeaderMap {
        let value = |line: &&str| HeaderValue::from_bytes(line.as_bytes()).unwrap();
        lines.iter().map(|line| (name.clone(), value(line))).collect()
    }

    fn normal(name: HeaderName, languages: Languages, lines: &[&str]) -> String {
        let (mut out, forms) = (InlineBytes::EMPTY, Forms { languages, accept: true });
        out.write(0, |out| {
            out.put(b"before");
            write(&request(name.clone(), lines), &name, forms, out);
        });
        String::from_utf8(out.to_vec()).unwrap().split_off(6)
    }

    /// Behaviour 22; RFC 9110 §12.5.3; security.md, CVE-2024-35296.
    #[test]
    fn codings_are_a_set_and_what_cannot_be_read_is_identity() {
        let table: [(&[&str], &str); 24] = [
            (&["gzip, br"], "br,gzip"),
            (&["br,gzip"], "br,gzip"),
            (&["BR", "x-GZIP"], "br,gzip"),
            (&["gzip;q=1, br ; Q=1.000"], "br,gzip"),
            (&["gzip, gzip"], "gzip"),
            (&["gzip;q=0.5, br"], "br,gzip;500"),
            (&["gzip;q=0.50, br"], "br,gzip;500"),
            (&["gzip;q=0, *;q=0.001"], "*;1,gzip;0"),
            (&["h,g,f,e,d,c,b,a"], "a,b,c,d,e,f,g,h"),
            (&["j,i;q=0.09,h,g,f", "e,d,c,b,a,j"], "a,b,c,d,e,f,g,h,i;90,j"),
            (&[""], ""),
            (&["identity"], "identity"),
            (&["zstd-like"], "zstd-like"),
            (&["gzip;"], "identity"),
            (&["gzip;q"], "identity"),
            (&["gzip;q=2"], "identity"),
            (&["gzip;q=1.001"], "identity"),
            (&["gzip;q=0.1234"], "identity"),
            (&["gzip;q=-1"], "identity"),
            (&["gzip;level=9"], "identity"),
            (&["gzip br"], "identity"),
            (&["br, \"gzip\""], "identity"),
            (&["\u{e9}"], "identity"),
            (&["@", "gzip"], "identity"),
        ];
        for (lines, expected) in table {
            let found = normal(header::ACCEPT_ENCODING, Languages::InOrder, lines);
            assert_eq!(found, expected, "{lines:?}");
            let mut mended = request(header::ACCEPT_ENCODING, lines);
            mend_codings(&mut mended);
            let is_same = mended == request(header::ACCEPT_ENCODING, lines);
            assert_eq!(is_same, expected != "identity" || lines == ["identity"], "{lines:?}");
        }
    }

    /// Behaviour 22; RFC 9110 §12.5.4.
    #[test]
    fn languages_have_no_case_and_by_choice_no_order() {
        let table: [(&[&str], &str, &str); 7] = [
            (&["en, de"], "en,de", "de,en"),
            (&["DE ,en-GB"], "de,en-gb", "de,en-gb"),
            (&["en;q=0.5", "de"], "en;q=0.5,de", "de,en;500"),
            (&["en;q=0.9, fr;q=1.0, de"], "en;q=0.9,fr;q=1.0,de", "de,fr,en;900"),
            (&["*, en"], "*,en", "*,en"),
            (&["en_GB, de"], "en_gb,de", "en_gb,de"),
            (&["verylongtag, de"], "verylongtag,de", "verylongtag,de"),
        ];
        for (lines, in_order, by_weight) in table {
            assert_eq!(normal(header::ACCEPT_LANGUAGE, Languages::InOrder, lines), in_order);
            assert_eq!(normal(header::ACCEPT_LANGUAGE, Languages::ByWeight, lines), by_weight);
        }
    }

    /// Feature accept-forms; RFC 9110 §12.5.1.
    #[test]
    fn media_ranges_have_no_order_unless_they_have_parameters() {
        let table: [(&[&str], &str); 8] = [
            (&["text/html, application/json"], "application/json,text/html"),
            (&["Text/HTML", "application/json"], "application/json,text/html"),
            (&["*/*;q=0.8, text/html"], "text/html,*/*;800"),
            (&["text/*;q=0.1,a/b;q=0.10"], "a/b;100,text/*;100"),
            (&["text/html;level=1, a/b"], "text/html;level=1,a/b"),
            (&["text/html;q=2, a/b"], "text/html;q=2,a/b"),
            (&["text, a/b/c"], "text,a/b/c"),
            (&[""], ""),
        ];
        for (lines, expected) in table {
            assert_eq!(normal(header::ACCEPT, Languages::InOrder, lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn the_best_language_is_one() {
        for (line, best) in [
            ("de", Some("de")),
            ("fr;q=0.5, DE;q=1.0", Some("de")),
            ("de;q=0.1", Some("de")),
            ("en, de", None),
            ("en;q=0.5, de;q=0.5, fr;q=0.4", None),
            ("en, de, fr;q=0.4", None),
            ("*", None),
            ("de;q=0", None),
            ("de;q=x", None),
            ("", None),
        ] {
            let found = best_language(&request(header::ACCEPT_LANGUAGE, &[line]));
            assert_eq!(found.as_deref(), best.map(str::as_bytes), "{line}");
        }
    }

    /// RFC 9110 §12.5.3.
    #[test]
    fn a_coding_is_accepted_if_it_is_named_or_left_open() {
        let table: [(&[&str], &str, bool); 16] = [
            (&[], "identity", true),
            (&[], "gzip", false),
            (&["gzip"], "gzip", true),
            (&["x-gzip"], "gzip", true),
            (&["gzip"], "GZIP", true),
            (&["gzip"], "br", false),
            (&["gzip"], "identity", true),
            (&["gzip;q=0"], "gzip", false),
            (&["*"], "br", true),
            (&["*, br;q=0"], "br", false),
            (&["*;q=0"], "identity", false),
            (&["*;q=0, identity"], "identity", true),
            (&["identity;q=0"], "identity", false),
            (&[""], "gzip", false),
            (&["gzip;q=x"], "gzip", false),
            (&["gzip;q=x"], "identity", true),
        ];
        for (lines, coding, expected) in table {
            let request = request(header::ACCEPT_ENCODING, lines);
            assert_eq!(accepts_coding(&request, coding.as_bytes()), expected, "{lines:?} {coding}");
        }
    }
}
