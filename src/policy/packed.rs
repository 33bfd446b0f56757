//! Fields in one allocation, as a store keeps them that has many.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::usual;

/// The fields of a stored head but for the slot for `Age`: a line behind the other, each with what it
/// needs to become a field again. A map of them is more than four times as large.
///
/// Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Packed(Arc<[u8]>);

/// The usual names, which take one byte. Their order is of no meaning outside of a process.
const NAMES: [HeaderName; 40] = [
    header::ACCEPT_RANGES,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::CACHE_CONTROL,
    header::CONTENT_DISPOSITION,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LENGTH,
    header::CONTENT_LOCATION,
    header::CONTENT_RANGE,
    header::CONTENT_SECURITY_POLICY,
    header::CONTENT_TYPE,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::PRAGMA,
    header::REFERRER_POLICY,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TRAILER,
    header::UPGRADE_INSECURE_REQUESTS,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::WWW_AUTHENTICATE,
    header::X_CONTENT_TYPE_OPTIONS,
    header::X_DNS_PREFETCH_CONTROL,
    header::X_FRAME_OPTIONS,
    header::X_XSS_PROTECTION,
];
/// Stands where the place of a usual name would, and the name follows behind its length.
const WRITTEN: u8 = 0x7f;
const SENSITIVE: u8 = 0x80;
/// The bytes of a number of fields, of the length of a name (64 KiB at most, as `http` has it), and of
/// that of a value.
const COUNT: usize = 2;
const NAME: usize = 2;
const VALUE: usize = 4;

impl Packed {
    pub(super) fn of(fields: &HeaderMap) -> Self {
        let fields = || fields.iter().filter(|(name, _)| **name != header::AGE);
        let length = |(name, value): (&HeaderName, &HeaderValue)| {
            let written = place(name).map_or(NAME + name.as_str().len(), |_| 0);
            1 + written + VALUE + value.len()
        };
        let mut out = Vec::with_capacity(COUNT + fields().map(length).sum::<usize>());
        write(&mut out, fields().count(), COUNT);
        for (name, value) in fields() {
            let mark = if value.is_sensitive() { SENSITIVE } else { 0 };
            match place(name) {
                Some(place) => out.push(place | mark),
                None => {
                    out.push(WRITTEN | mark);
                    write(&mut out, name.as_str().len(), NAME);
                    out.extend_from_slice(name.as_str().as_bytes());
                }
            }
            write(&mut out, value.len(), VALUE);
            out.extend_from_slice(value.as_bytes());
        }
        Self(out.into())
    }

    /// A map of them, with the slot for `Age` before them. Its values share what is packed, and count
    /// their references to it by themselves.
    pub(super) fn unpack(&self) -> HeaderMap {
        let mut input = Input { bytes: &Bytes::from_owner(self.0.clone()), at: 0 };
        let count = input.number(COUNT).unwrap_or(0);
        let mut fields = HeaderMap::try_with_capacity(count + 1).unwrap_or_default();
        fields.insert(header::AGE, HeaderValue::from_static("0"));
        for _ in 0..count {
            // What was packed can be read, and fits as it did.
            let Some((name, value)) = input.field() else { break };
            let _ = fields.try_append(name, value);
        }
        fields
    }

    pub(super) fn weight(&self) -> usize {
        self.0.len()
    }
}

fn place(name: &HeaderName) -> Option<u8> {
    NAMES.iter().position(|other| other == name).and_then(|place| u8::try_from(place).ok())
}

fn write(out: &mut Vec<u8>, number: usize, width: usize) {
    out.extend_from_slice(&number.to_le_bytes()[..width]);
}

struct Input<'a> {
    bytes: &'a Bytes,
    at: usize,
}

impl Input<'_> {
    fn field(&mut self) -> Option<(HeaderName, HeaderValue)> {
        let mark = *self.take(1)?.first()?;
        let name = match mark & !SENSITIVE {
            WRITTEN => {
                let length = self.number(NAME)?;
                HeaderName::from_bytes(self.take(length)?).ok()?
            }
            at => NAMES.get(usize::from(at))?.clone(),
        };
        let length = self.number(VALUE)?;
        let start = self.at;
        let mut value = match usual::value(self.take(length)?) {
            Some(value) => value,
            None => HeaderValue::from_maybe_shared(self.bytes.slice(start..self.at)).ok()?,
        };
        value.set_sensitive(mark & SENSITIVE != 0);
        Some((name, value))
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        let mut number = [0; size_of::<usize>()];
        number.get_mut(..width)?.copy_from_slice(self.take(width)?);
        Some(usize::from_le_bytes(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Design, "What is stored owns its memory": nothing of a field is lost.
    #[test]
    fn fields_come_back_as_they_were() {
        let mut fields = HeaderMap::new();
        fields.insert(header::AGE, HeaderValue::from_static("0"));
        for (name, value) in [
            ("content-type", &b"text/html"[..]),
            ("x-own", b""),
            ("set-cookie", b"a=1"),
            ("x-own", b"\xff\t!"),
            ("set-cookie", b"b=2"),
        ] {
            fields.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut secret = HeaderValue::from_static("s");
        secret.set_sensitive(true);
        fields.append("www-authenticate", secret);
        let unpacked = Packed::of(&fields).unpack();
        assert_eq!(unpacked, fields);
        assert!(unpacked.keys().eq(fields.keys()), "in their order");
        assert!(unpacked[header::WWW_AUTHENTICATE].is_sensitive());
        assert!(!unpacked[header::CONTENT_TYPE].is_sensitive());
        assert!(Packed::of(&HeaderMap::new()).unpack().contains_key(header::AGE));
    }

    #[test]
    fn the_place_of_a_name_is_one_byte_and_each_has_its_own() {
        assert!(NAMES.len() < usize::from(WRITTEN));
        for (at, name) in NAMES.iter().enumerate() {
            assert_eq!(NAMES.iter().position(|other| other == name), Some(at));
        }
    }
}
