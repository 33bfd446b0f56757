//! RFC 9111 §3.3, §3.4; RFC 9110 §14, §15.3.7.3, §13.1.5.

use super::{
    message::{Fields, Millis, Request, Response, trim},
    preconditions::{etag, strongly_equal, tag},
    reuse::Ask,
    serving::LENGTH,
    store::{Oracle, Stored},
    storing,
    tri::Tri,
    updating, vary,
};

/// The first and the last byte of a part, and how many the whole has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    pub first: u64,
    pub last: u64,
    pub total: Option<u64>,
}

/// What is sent of a stored response.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sent {
    All,
    Bytes(Part),
    Unsatisfiable(u64),
}

impl Part {
    fn length(self) -> u64 {
        self.last - self.first + 1
    }

    /// As `Content-Range` says it.
    pub fn shown(self) -> String {
        let total = self.total.map_or("*".to_string(), |total| total.to_string());
        format!("bytes {}-{}/{total}", self.first, self.last)
    }
}

fn digits(text: &str) -> Option<u64> {
    let all = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

/// RFC 9110 §14.4: "invalid if it contains a range-resp that has a last-pos value less than its
/// first-pos value, or a complete-length value less than or equal to its last-pos value."
pub fn content_range(fields: &Fields) -> Option<Part> {
    let lines = fields.lines("content-range");
    let [line] = lines.as_slice() else { return None };
    let (unit, rest) = line.split_once(' ')?;
    let (range, total) = rest.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (digits(first)?, digits(last)?);
    let total = if total == "*" { None } else { Some(digits(total)?) };
    let valid = first <= last && total.is_none_or(|total| total > last);
    (valid && unit.eq_ignore_ascii_case("bytes")).then_some(Part { first, last, total })
}

/// RFC 9110 §14.1.2 for one range of a representation of so many bytes: `None` if there is no such
/// byte, an error if nobody can tell.
fn resolve(range: &str, total: Option<u64>) -> Result<Option<(u64, u64)>, ()> {
    let (first, last) = range.split_once('-').ok_or(())?;
    let clip = |first: u64, last: u64| match total {
        Some(total) => (first < total).then(|| (first, last.min(total - 1))),
        None => Some((first, last)),
    };
    match (digits(trim(first)), digits(trim(last)), total) {
        (Some(first), Some(last), _) => Ok(clip(first, last)),
        (Some(first), None, Some(total)) => Ok(clip(first, total - 1)),
        (None, Some(count), Some(total)) => {
            Ok((count > 0 && total > 0).then(|| (total.saturating_sub(count), total - 1)))
        }
        _ => Err(()),
    }
}

/// What the request's `Range` asks for. "Of no meaning" but with GET.
fn asked(request: &Request) -> Option<&str> {
    let lines = request.fields.lines("range");
    let line = lines.first()?;
    if request.method == "GET" { line.strip_prefix("bytes=") } else { None }
}

/// RFC 9110 §13.1.5: by strong comparison.
fn if_range_holds(request: &Request, stored: &Fields) -> bool {
    match request.fields.lines("if-range").as_slice() {
        [] => true,
        [line] => match (tag(line), etag(stored)) {
            (Some(theirs), Some(own)) => strongly_equal(&theirs, &own),
            _ => false,
        },
        _ => false,
    }
}

/// What of it the request is to get, if anything.
pub fn sent(stored: &Stored, request: &Request) -> Option<Sent> {
    let wanted = asked(request).filter(|_| if_range_holds(request, &stored.fields));
    match (stored.part, wanted) {
        (None, Some(range)) if stored.status == 200 => {
            let own = stored.fields.lines("content-length").first().copied().unwrap_or(LENGTH);
            let length = digits(own)?;
            Some(match resolve(range, Some(length)).ok()? {
                Some((first, last)) => Sent::Bytes(Part { first, last, total: Some(length) }),
                None => Sent::Unsatisfiable(length),
            })
        }
        (None, _) => Some(Sent::All),
        // "The request is partial and specifies a range wholly within the incomplete response."
        (Some(part), Some(range)) => {
            let (first, last) = resolve(range, part.total).ok()??;
            let within = part.first <= first && last <= part.last;
            within.then_some(Sent::Bytes(Part { first, last, total: part.total }))
        }
        (Some(_), None) => None,
    }
}

/// Whether a 206 may be kept (§3.3). To keep it is our choice where nothing else is known.
pub fn may_keep(request: &Request, response: &Response) -> Tri {
    let Some(part) = content_range(&response.fields) else { return Tri::No };
    let lengths = response.fields.members("content-length");
    let right = lengths.iter().all(|length| *length == part.length().to_string());
    if !right || asked(request).is_none() {
        return Tri::No;
    }
    // "Representation header fields" may be missing in the answer to If-Range.
    Tri::Yes.unless_odd(request.fields.has("if-range"))
}

fn is_same(one: &Fields, other: &Fields) -> bool {
    match (etag(one), etag(other)) {
        (Some(one), Some(other)) => strongly_equal(&one, &other),
        _ => false,
    }
}

impl Oracle {
    /// The parts that may be combined with a 206, or completed by it: those that the request selects.
    fn bases(&self, request: &Request) -> Vec<&Stored> {
        let all = self.of(&request.uri).into_iter();
        let fits =
            |stored: &&Stored| stored.part.is_some() && vary::matches(stored, request) != Tri::No;
        all.filter(fits).collect()
    }

    /// What may be kept of a 206: by itself, or with a part that is stored (§3.4).
    pub fn kept_of(
        &self,
        request: &Request,
        forwarded: &Fields,
        response: &Response,
        (sent_at, now): (Millis, Millis),
    ) -> Vec<Stored> {
        let Some(own) = content_range(&response.fields) else { return Vec::new() };
        let whole = |mut stored: Stored, part: Part| {
            ["content-range", "content-length"].iter().for_each(|n| stored.fields.remove(n));
            let is_whole = part.first == 0 && part.total == Some(part.last + 1);
            stored.status = if is_whole { 200 } else { 206 };
            stored.part = (!is_whole).then_some(part);
            stored
        };
        let mut found = Vec::new();
        if !forwarded.has("if-range") {
            found.push(whole(self.stored_as(request, response, sent_at, now), own));
        }
        for base in self.bases(request) {
            let part = base.part.expect("a base is a part");
            let touches = own.first <= part.last + 1 && part.first <= own.last + 1;
            let total = match (own.total, part.total) {
                (Some(a), Some(b)) if a != b => continue,
                (a, b) => a.or(b),
            };
            let (first, last) = (own.first.min(part.first), own.last.max(part.last));
            let valid = total.is_none_or(|total| last < total);
            if touches && valid && is_same(&base.fields, &response.fields) {
                let renewed = self.updated(base.id, request, response, sent_at, now);
                found.push(whole(renewed, Part { first, last, total }));
            }
        }
        found
    }

    /// Whether another range may have been asked for than the client's: what is missing of it beside a
    /// part, by that part's strong tag.
    pub fn check_gap(&self, request: &Request, forwarded: &Fields) -> Result<(), String> {
        let fill = |base: &&Stored| -> Option<bool> {
            let part = base.part?;
            let total = part.total?;
            let own = etag(&base.fields).filter(|tag| !tag.weak)?;
            let (first, last) = match asked(request) {
                None => (0, total - 1),
                Some(range) => resolve(range, Some(total)).ok()??,
            };
            let missing = if part.first <= first && first <= part.last && part.last < last {
                (part.last + 1, last)
            } else if first < part.first && part.first <= last && last <= part.last {
                (first, part.first - 1)
            } else {
                return None;
            };
            let range = format!("bytes={}-{}", missing.0, missing.1);
            let by_tag = forwarded.lines("if-range").first().copied().and_then(tag);
            Some(
                forwarded.lines("range") == [range.as_str()]
                    && by_tag.is_some_and(|tag| strongly_equal(&tag, &own))
                    && if_range_holds(request, &base.fields),
            )
        };
        if self.bases(request).iter().any(|base| fill(base) == Some(true)) {
            return Ok(());
        }
        Err(format!("asked for {:?}, for no reason", forwarded.lines("range")))
    }

    /// Whether what came is what was asked for to complete a part.
    pub fn completes(&self, request: &Request, forwarded: &Fields, response: &Response) -> bool {
        let Some(own) = content_range(&response.fields) else { return false };
        let range = format!("bytes={}-{}", own.first, own.last);
        response.status == 206
            && forwarded.lines("range") == [range.as_str()]
            && may_keep(&plainly(request, forwarded), response) != Tri::No
            && self.bases(request).iter().any(|base| {
                let total = base.part.and_then(|part| part.total);
                is_same(&base.fields, &response.fields)
                    && (own.total.is_none() || own.total == total)
            })
    }

    /// Whether the head that goes out for a completed answer is right: fields of both, the newer first.
    pub fn check_completed(
        &self,
        request: &Request,
        response: &Response,
        (status, sent): (u16, &Fields),
        times: (Millis, Millis),
    ) -> Result<(), String> {
        let wanted = asked(request);
        let right = |base: &&Stored| -> Option<bool> {
            let total = base.part?.total?;
            let mut fields = updating::merged(&base.fields, &response.fields, times.1);
            ["content-range", "content-length", "age"].iter().for_each(|n| fields.remove(n));
            for line in response.fields.lines("age").into_iter().take(1) {
                fields.0.push(("age".to_string(), line.to_string()));
            }
            let (first, last) = match wanted {
                None => (0, total - 1),
                Some(range) => resolve(range, Some(total)).ok()??,
            };
            if wanted.is_some() {
                fields.set("content-range", Part { first, last, total: Some(total) }.shown());
            }
            fields.set("content-length", (last - first + 1).to_string());
            // What was another user's, and is not in this answer.
            let mut sent = sent.clone();
            for name in storing::excepted(&fields, &self.options) {
                fields.remove(&name);
                sent.remove(&name);
            }
            Some(fields.same_as(&sent) && status == if wanted.is_some() { 206 } else { 200 })
        };
        let bases = self.bases(request);
        if bases.iter().any(|base| right(base) == Some(true)) {
            return Ok(());
        }
        Err(format!("completed as {status} {sent:?}, of {bases:?}"))
    }
}

impl Ask {
    /// Whether a 206 would have to be kept: nothing else is there to be weighed against it.
    pub fn is_alone(&self, oracle: &Oracle, request: &Request) -> bool {
        self.candidates.is_empty() && oracle.of(&request.uri).is_empty()
    }
}

/// The request as it went out.
fn plainly(request: &Request, forwarded: &Fields) -> Request {
    Request { fields: forwarded.clone(), ..request.clone() }
}
