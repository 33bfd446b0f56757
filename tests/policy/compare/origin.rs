//! What the origin says, and what is to become of it.

use http::response;
use larder::policy::StoredHead;

use super::super::{
    generate::Step,
    oracle::{self, Fields, Millis, Response},
    wire,
};

/// Of the body.
pub fn length(head: &StoredHead) -> u64 {
    let fields = wire::fields(head.headers());
    let said = fields.lines("content-length").first().copied().unwrap_or(oracle::LENGTH);
    said.parse().expect("a length")
}

/// What the origin says to what it was asked.
pub fn origin(step: &Step, forwarded: &Fields) -> Response {
    let conditional = forwarded.has("if-none-match") || forwarded.has("if-modified-since");
    match &step.unchanged {
        Some(unchanged) if conditional => {
            let mut response = unchanged.response.clone();
            if unchanged.echo {
                let tags = forwarded.combined("if-none-match").unwrap_or_default();
                let tag = tags.split(", ").next().unwrap_or_default();
                if !tag.is_empty() && tag != "*" {
                    response.fields.set("etag", tag);
                }
                if let [since] = forwarded.lines("if-modified-since").as_slice() {
                    let since = since.to_string();
                    response.fields.set("last-modified", since);
                }
            }
            response
        }
        _ if step.knows_ranges => ranged(step, forwarded),
        _ => step.response.clone(),
    }
}

/// One range of ten bytes, as it was asked for, and with the tag that it was asked with.
fn ranged(step: &Step, forwarded: &Fields) -> Response {
    let mut response = step.response.clone();
    let range = forwarded.lines("range").first().copied().and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let last = last.parse::<u64>().unwrap_or(9).min(9);
        Some((first.parse::<u64>().ok()?, last)).filter(|(first, last)| first <= last)
    });
    let Some((first, last)) = range else { return response };
    response.status = 206;
    response.fields.set("content-range", format!("bytes {first}-{last}/10"));
    response.fields.set("content-length", (last - first + 1).to_string());
    if let Some(tag) = forwarded.lines("if-range").first() {
        response.fields.set("etag", tag.to_string());
    }
    response
}

/// What goes to the client is what came, with a Date.
pub fn passed_on(head: &response::Parts, response: &Response, now: Millis) -> Result<(), String> {
    let sent = wire::fields(&head.headers);
    if head.status.as_u16() != response.status {
        return Err(format!("{} became {}", response.status, head.status));
    }
    if sent.same_as(&response.fields) {
        // `Fetch::on_response`: what is not stored is left as it came.
        return Ok(());
    }
    same_fields(&sent, &oracle::dated(response.fields.clone(), now))
}

/// Beside `Age`, which is of the moment it is sent.
pub fn same_stored(ours: &Fields, theirs: &Fields) -> Result<(), String> {
    let (mut ours, mut theirs) = (ours.clone(), theirs.clone());
    ours.remove("age");
    theirs.remove("age");
    // The body's own, where the origin told none.
    if !theirs.has("content-length") && ours.lines("content-length") == [oracle::LENGTH] {
        ours.remove("content-length");
    }
    same_fields(&ours, &theirs)
}

fn same_fields(ours: &Fields, theirs: &Fields) -> Result<(), String> {
    if ours.same_as(theirs) { Ok(()) } else { Err(format!("fields {ours:?}, not {theirs:?}")) }
}
