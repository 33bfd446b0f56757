//! The key of a request: that of its target URI.

use http::{
    HeaderMap, header, request,
    uri::{Authority, PathAndQuery},
};

use super::{
    CacheKey,
    authority::{self, Normal},
    encoding::{MARK, VERSION, room_for, write_length, write_marked},
};
use crate::policy::{Reason, options::Rules};

impl CacheKey {
    /// The key of a request; the method is not part of it, since only GET and HEAD look.
    #[cfg(test)]
    pub(in crate::policy) fn of(rules: &Rules, head: &request::Parts) -> Result<Self, Reason> {
        let mut key = Self::BLANK;
        key.write(rules, head, single_host(&head.headers)?)?;
        Ok(key)
    }

    /// Writes the key of a request here, which has this `Host`.
    pub(in crate::policy) fn write(
        &mut self,
        rules: &Rules,
        head: &request::Parts,
        host: Option<&str>,
    ) -> Result<(), Reason> {
        let target = rules.target.as_ref().and_then(|target| target(head));
        let uri = target.as_ref().unwrap_or(&head.uri);
        let scheme = uri.scheme_str().or_else(|| head.uri.scheme_str());
        let scheme = scheme.unwrap_or(&rules.default_scheme);
        // All that name the authority must agree, also where the target is taken from a hook.
        let own = target.as_ref().and_then(|_| head.uri.authority()).map(Authority::as_str);
        let named = uri.authority().map(Authority::as_str).or(own).or(host);
        let Some(named) = named.or(rules.default_authority.as_deref()) else {
            return Err(Reason::NoAuthority);
        };
        let authority = Normal::of(named, scheme)?;
        for other in [own, host].into_iter().flatten() {
            // The very same text needs no second look.
            if other != named && Normal::of(other, scheme)? != authority {
                return Err(Reason::Authority);
            }
        }
        let partition = rules.partition.as_ref().and_then(|partition| partition(head));
        let (namespace, partition) = (rules.namespace.as_deref(), partition.as_deref());
        let (path, query) = (rules.keyed_path(uri.path()), rules.query.apply(uri.query()));
        let (path, query) = (if path.is_empty() { "/" } else { &*path }, query.as_deref());
        let marked = |text: Option<&str>| text.map_or(0, |text| 1 + text.len());
        let lengths = [
            marked(namespace),
            marked(partition),
            scheme.len(),
            authority.length(),
            path.len() + marked(query),
        ];

        self.0.write(room_for(lengths), |out| {
            out.push(VERSION);
            write_length(out, lengths[0]);
            write_marked(out, MARK, namespace);
            write_length(out, lengths[1]);
            write_marked(out, MARK, partition);
            write_length(out, lengths[2]);
            let start = out.len();
            out.put(scheme.as_bytes());
            out.since(start).make_ascii_lowercase();
            write_length(out, lengths[3]);
            authority.write(out)?;
            write_length(out, lengths[4]);
            out.put(path.as_bytes());
            write_marked(out, b'?', query);
            Ok(())
        })
    }

    /// The same where no rule has anything to change, as with nearly all. `false`: one may have, and
    /// nothing of use was written.
    #[inline]
    pub(in crate::policy) fn write_usual(
        &mut self,
        rules: &Rules,
        head: &request::Parts,
        has_host: bool,
    ) -> bool {
        if !rules.keys_as_it_came() {
            return false;
        }
        let scheme = head.uri.scheme_str().unwrap_or(&rules.default_scheme);
        let (begin, length, own_port) = match scheme {
            "http" => (b"\x01\0\0\x04http\0", 8, &b"80"[..]),
            "https" => (b"\x01\0\0\x05https", 9, &b"443"[..]),
            _ => return false,
        };
        let authority = match (head.uri.authority(), has_host) {
            (Some(authority), false) => authority.as_str().as_bytes(),
            (named, true) => match single_host(&head.headers) {
                Ok(Some(host)) if named.is_none_or(|named| named.as_str() == host) => {
                    host.as_bytes()
                }
                _ => return false,
            },
            (None, false) => return false,
        };
        let path = head.uri.path_and_query().map_or("", PathAndQuery::as_str).as_bytes();
        if !path.starts_with(b"/") || !authority::is_normal(authority, own_port) {
            return false;
        }
        let whole = length + 1 + authority.len() + 1 + path.len();
        let Some(room) = self.0.room(whole) else { return false };
        let (room, of_path) = room.split_at_mut(whole - path.len());
        of_path.copy_from_slice(path);
        let (room, of_authority) = room.split_at_mut(length + 1);
        if let [named @ .., last] = of_authority {
            named.copy_from_slice(authority);
            // None is longer than the room.
            *last = path.len() as u8;
        }
        room[..begin.len()].copy_from_slice(begin);
        room[length] = authority.len() as u8;
        true
    }
}

/// The one `Host` of a request; more than one, or one that cannot be read, is a conflict
/// (RFC 9112 §3.2).
pub(in crate::policy) fn single_host(headers: &HeaderMap) -> Result<Option<&str>, Reason> {
    let mut lines = headers.get_all(header::HOST).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(Reason::Authority);
    }
    let host = line.to_str().map_err(|_| Reason::Authority)?;
    Ok((!host.is_empty()).then_some(host))
}
