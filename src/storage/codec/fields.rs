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
    out.takes(memory(fields.len(), text));
    Ok(())
}

pub(super) fn read_fields(input: &mut In<'_>) -> Option<HeaderMap> {
    let count = usize::from(input.u16()?);
    if count > MAX_FIELDS || count * BEFORE_FIELD > input.remaining() {
        return None;
    }
    let (mut ahead, mut names, mut values) = (input.ahead(), 0, 0);
    for _ in 0..count {
        let (_, name, value) = read_field(&mut ahead)?;
        names += name.len();
        values += value.len();
    }
    input.spend(memory(count, names + values))?;

    // All values lie in one buffer of exact size.
    let mut buffer = Vec::with_capacity(values);
    let mut again = input.ahead();
    for _ in 0..count {
        buffer.extend_from_slice(read_field(&mut again)?.2);
    }
    let mut buffer = Bytes::from(buffer);
    let mut fields = HeaderMap::with_capacity(count + MORE);
    for _ in 0..count {
        let (flags, name, value) = read_field(input)?;
        let name = HeaderName::from_bytes(name).ok()?;
        let mut value = HeaderValue::from_maybe_shared(buffer.split_to(value.len())).ok()?;
        value.set_sensitive(flags & SENSITIVE != 0);
        fields.try_append(name, value).ok()?;
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

/// The most that a map of `count` fields with so much text takes, including the tables that it has
/// grown out of.
fn memory(count: usize, text: usize) -> usize {
    const BUCKET: usize = 104;
    const POSITION: usize = 4;
    const REPEATED: usize = 2 * 72;
    const NAME: usize = 32;
    let wanted = count + MORE;
    let table = (wanted + wanted / 3).next_power_of_two().max(8);
    (table - table / 4) * BUCKET + table * POSITION + count * (REPEATED + NAME) + text
}
