//! Values that are there already: to copy one costs nothing, where another counts its references.

use bytes::Bytes;
use http::HeaderValue;

/// The value with these bytes, if many responses have it.
pub(super) fn value(bytes: &[u8]) -> Option<HeaderValue> {
    let is_number = bytes.iter().all(u8::is_ascii_digit) && !matches!(bytes, [] | [b'0', _, ..]);
    if is_number && bytes.len() <= EACH {
        let digit = |number, digit: &u8| 10 * number + u64::from(digit - b'0');
        return Some(number(bytes.iter().fold(0, digit)));
    }
    let text = std::str::from_utf8(bytes).ok()?;
    text_of(text).map(HeaderValue::from_static)
}

macro_rules! texts {
    ($($text:literal)*) => {
        fn text_of(text: &str) -> Option<&'static str> {
            match text {
                $($text => Some($text),)*
                _ => None,
            }
        }
    };
}

texts! {
    "*" "1; mode=block" "Accept-Encoding" "DENY" "Origin" "SAMEORIGIN" "accept" "accept-encoding"
    "accept-language" "application/javascript" "application/json" "application/json; charset=utf-8"
    "application/octet-stream" "application/pdf" "application/wasm" "application/xml" "br" "bytes"
    "cloudflare" "cross-origin" "deflate" "font/woff2" "gzip" "identity" "image/avif" "image/gif"
    "image/jpeg" "image/png" "image/svg+xml" "image/webp" "max-age=31536000"
    "max-age=31536000; includeSubDomains" "max-age=3600" "max-age=60" "max-age=86400" "nginx"
    "no-cache" "no-referrer" "none" "nosniff" "origin" "public" "public, max-age=31536000"
    "public, max-age=31536000, immutable" "public, max-age=3600" "public, max-age=60"
    "public, max-age=86400" "same-origin" "strict-origin-when-cross-origin" "text/css"
    "text/css; charset=utf-8" "text/html" "text/html; charset=UTF-8" "text/html; charset=utf-8"
    "text/javascript" "text/javascript; charset=utf-8" "text/plain" "text/plain; charset=utf-8" "true"
    "video/mp4" "zstd"
}

/// The digits of a number that is there.
const EACH: usize = 4;

/// A number as a value.
#[inline]
pub(super) fn number(number: u64) -> HeaderValue {
    let width = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let known = || {
        let end = usize::try_from(number).ok()?.checked_add(1)?.checked_mul(EACH)?;
        DIGITS.get(end.checked_sub(width)?..end).filter(|_| width <= EACH)
    };
    match known() {
        Some(digits) => HeaderValue::from_static(digits),
        None => HeaderValue::from_maybe_shared(Bytes::from(number.to_string()))
            // Digits are always a value.
            .unwrap_or(HeaderValue::from_static("0")),
    }
}

/// All digits of each number that has no more than [`EACH`], one number behind the other.
static DIGITS: &str = {
    const LENGTH: usize = 10_000 * EACH;
    static BYTES: [u8; LENGTH] = {
        let mut digits = [b'0'; LENGTH];
        let mut at = 0;
        while at < digits.len() {
            let mut rest = at / EACH;
            let mut digit = EACH;
            while digit > 0 {
                digit -= 1;
                digits[at + digit] += (rest % 10) as u8;
                rest /= 10;
            }
            at += EACH;
        }
        digits
    };
    match std::str::from_utf8(&BYTES) {
        Ok(digits) => digits,
        Err(_) => "",
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_its_digits() {
        let powers = (0..=19).map(|power| 10_u64.pow(power));
        for n in (0..10_100).chain(powers.flat_map(|power| [power - 1, power, power + 1])) {
            assert_eq!(number(n), n.to_string());
        }
        assert_eq!(number(u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn what_is_there_is_the_same() {
        for known in ["0", "7", "10", "9999", "gzip", "text/html; charset=utf-8", "nosniff"] {
            assert_eq!(value(known.as_bytes()).unwrap(), known);
        }
        for other in [&b""[..], b"00", b"012", b"10000", b"-1", b"Gzip", b"gzip ", b"\xff"] {
            assert_eq!(value(other), None, "{other:?}");
        }
    }
}
