//! The authority of a key: host and port, in one form for all that are equal.

use crate::policy::{Reason, fields, inline::Draft};

/// An authority in the form in which equal ones are equal (RFC 3986 §6.2). One of two that are equal tells
/// whether both are names.
pub(super) struct Normal<'a> {
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Normal<'a> {
    #[inline]
    pub(super) fn of(text: &'a str, scheme: &str) -> Result<Self, Reason> {
        // From the end: digits behind a colon are the port, also behind an IPv6 literal.
        let digits = text.bytes().rev().position(|byte| !byte.is_ascii_digit());
        let digits = digits.unwrap_or(text.len());
        let (before, digits) = text.split_at(text.len() - digits);
        let (host, port) = match before.strip_suffix(':') {
            Some(host) if digits.is_empty() => (host, None),
            Some(host) => (host, Some(digits.parse().map_err(|_| Reason::Authority)?)),
            None => (text, None),
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_usual = |port: &u16| match port {
            80 => scheme.eq_ignore_ascii_case("http"),
            443 => scheme.eq_ignore_ascii_case("https"),
            _ => false,
        };
        Ok(Self { host, port: port.filter(|port| !is_usual(port)) })
    }

    #[inline]
    pub(super) fn length(&self) -> usize {
        self.host.len()
            + self.port.map_or(0, |port| 2 + port.checked_ilog10().unwrap_or(0) as usize)
    }

    #[inline]
    pub(super) fn write(&self, out: &mut Draft<'_>) -> Result<(), Reason> {
        let start = out.len();
        out.put(self.host.as_bytes());
        let host = out.since(start);
        let is_address = host.starts_with(b"[") && host.ends_with(b"]");
        let mut is_name = !host.is_empty();
        for byte in host {
            *byte = match LOWER[usize::from(*byte)] {
                0 if is_address && matches!(byte, b':' | b'[' | b']') => *byte,
                lower => lower,
            };
            is_name &= *byte != 0;
        }
        if !is_name {
            return Err(Reason::Authority);
        }
        if let Some(port) = self.port {
            out.push(b':');
            out.put(port.to_string().as_bytes());
        }
        Ok(())
    }
}

/// Whether this is all that [`Normal`] would write of it: a host by its name or its IPv4 address, and
/// perhaps a port, but not the scheme's `own`. `false`: it may be.
#[inline]
pub(super) fn is_normal(text: &[u8], own: &[u8]) -> bool {
    let is_of_name = |byte: &u8| LOWER[usize::from(*byte)] == *byte && *byte != 0;
    let end = text.iter().position(|byte| !is_of_name(byte)).unwrap_or(text.len());
    let (host, port) = text.split_at(end);
    let is_port = match port {
        [] => true,
        [b':', port @ ..] => is_normal_port(port) && port != own,
        _ => false,
    };
    is_port && !matches!(host, [] | [.., b'.'])
}

fn is_normal_port(port: &[u8]) -> bool {
    // Of as many digits, the text of the larger one is the larger one.
    const LARGEST: &[u8] = b"65535";
    let is_small = port.len() < LARGEST.len() || (port.len() == LARGEST.len() && port <= LARGEST);
    is_small && matches!(port, [b'1'..=b'9', ..]) && port.iter().all(u8::is_ascii_digit)
}

/// The bytes of a registered name in lower case, 0 for all others (RFC 3986 §3.2.2). Not `@`: user
/// information is no part of an http URI (RFC 9110 §4.2.4), and may be anybody's.
const LOWER: [u8; 256] = {
    let is_in_names = fields::alphanumeric_and(b"-._~%!$&'()*+,;=");
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if is_in_names[byte] {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

impl PartialEq for Normal<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(other.host)
    }
}
