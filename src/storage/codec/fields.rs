use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    super::Error,
    wire::{In, Out},
};

const MAX_FIELDS: usize = 256;
/// Flags, and the lengths of name and value.
const BEFORE_FIELD: usize = 7;
const SENSITIVE: u8 = 1;

/// Each line by itself, so that their order and octets stay.
pub(super) fn write_fields(out: &mut Out, fields: &HeaderMap) -> Result<(), Error> {
    let count = u16::try_from(fields.len()).map_err(|_| Error::too_large())?;
    if fields.len() > MAX_FIELDS {
        return Err(Error::too_large());
    }
    out.u16(count);
    let mut text = 0;
    for (name, value) in fields {
        let name = name.as_str().as_bytes();
        out.u8(if value.is_sensitive() { SENSITIVE } else { 0 });
        out.u16(u16::try_from(name.len()).map_err(|_| Error::too_large())?);
        out.u32(u32::try_from(value.len()).map_err(|_| Error::too_large())?);
        out.bytes(name);
        out.bytes(value.as_bytes());
        text += name.len() + value.len();
    }
    out.takes(memory(fields.len(), fields.len() - fields.keys_len(), text));
    Ok(())
}

pub(super) fn read_fields(input: &mut In<'_>) -> Option<HeaderMap> {
    let count = usize::from(input.u16()?);
    if count > MAX_FIELDS || count * BEFORE_FIELD > input.remaining() {
        return None;
    }
    let (mut ahead, mut text, mut values, mut repeated) = (input.ahead(), 0, 0, 0);
    let mut last: &[u8] = b"";
    for _ in 0..count {
        let (_, name, value) = read_field(&mut ahead)?;
        text += name.len() + value.len();
        values += value.len();
        repeated += usize::from(name == last);
        last = name;
    }
    input.spend(memory(count, repeated, text))?;

    // All values lie in one buffer of exact size.
    let mut buffer = Vec::with_capacity(values);
    let mut again = input.ahead();
    for _ in 0..count {
        buffer.extend_from_slice(read_field(&mut again)?.2);
    }
    let mut buffer = Bytes::from(buffer);
    let mut fields = HeaderMap::with_capacity(count + MORE);
    let mut last: &[u8] = b"";
    for _ in 0..count {
        let (flags, text, value) = read_field(input)?;
        let name = HeaderName::from_bytes(text).ok()?;
        let mut value = HeaderValue::from_maybe_shared(buffer.split_to(value.len())).ok()?;
        value.set_sensitive(flags & SENSITIVE != 0);
        let is_repeated = fields.try_append(name, value).ok()?;
        // The lines of a name follow one another, as a map gives them.
        if is_repeated != (text == last) {
            return None;
        }
        last = text;
    }
    Some(fields)
}

fn read_field<'a>(input: &mut In<'a>) -> Option<(u8, &'a [u8], &'a [u8])> {
    let flags = input.u8()?;
    let (name, value) = (usize::from(input.u16()?), input.u32()? as usize);
    (flags & !SENSITIVE == 0).then_some(())?;
    Some((flags, input.take(name)?, input.take(value)?))
}

/// A slot for `Age`, and a `Content-Length` that comes with the body.
const MORE: usize = 2;

/// The most that a map of `count` fields takes, of which so many have the name of the one before, with
/// so much text: including the tables that it has grown out of.
fn memory(count: usize, repeated: usize, text: usize) -> usize {
    const BUCKET: usize = 104;
    const POSITION: usize = 4;
    const REPEATED: usize = 72;
    const NAME: usize = 32;
    let wanted = count + MORE;
    let table = (wanted + wanted / 3).next_power_of_two().max(8);
    let grown = if repeated > 0 { 2 * repeated.next_power_of_two().max(4) } else { 0 };
    (table - table / 4) * BUCKET + table * POSITION + grown * REPEATED + count * NAME + text
}
