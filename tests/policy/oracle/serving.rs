//! What is sent of a stored response (RFC 9111 §4, §5.1, §5.2.2.4; RFC 9110 §15.4.5).

use super::{
    directives::{Directives, Reach, delta_seconds},
    freshness,
    message::{Fields, Millis, Request},
    partial::{self, Sent},
    preconditions,
    store::{Oracle, Stored},
    storing,
};

/// Of a stored body whose head says nothing about it.
pub const LENGTH: &str = "5";

impl Oracle {
    /// Whether what is sent is right, without validation or after one, by a 304 of these fields.
    pub fn check_served(
        &self,
        stored: &Stored,
        request: &Request,
        (status, sent): (u16, &Fields),
        now: Millis,
        validation: Option<&Fields>,
    ) -> Result<(), String> {
        let not_modified = preconditions::not_modified(request, stored, now);
        let answer = match partial::sent(stored, request) {
            Some(Sent::All) => stored.status,
            Some(Sent::Bytes(_)) => 206,
            Some(Sent::Unsatisfiable(_)) => 416,
            None => return Err("it has not what is asked for".to_string()),
        };
        if !not_modified.allows(status == 304) || status != 304 && status != answer {
            return Err(format!("status {status}, not {answer}, 304 is {not_modified:?}"));
        }
        let place = match (status, partial::sent(stored, request)) {
            (206, Some(Sent::Bytes(part))) => Some(part),
            (416, Some(Sent::Unsatisfiable(length))) => {
                let shown = format!("bytes */{length}");
                let right = sent.lines("content-range") == [shown.as_str()];
                return if right { Ok(()) } else { Err(format!("416 of {length}")) };
            }
            _ => None,
        };
        if let Some(part) = place {
            let length = (part.last - part.first + 1).to_string();
            if sent.lines("content-range") != [part.shown().as_str()]
                || sent.lines("content-length") != [length.as_str()]
            {
                return Err(format!("not {}", part.shown()));
            }
        }
        let is_placed =
            |name: &str| place.is_some() && ["content-range", "content-length"].contains(&name);
        let ages = sent.lines("age");
        let age = freshness::age(stored, now);
        let (least, most) = (age.least / 1000, (age.most + 999) / 1000);
        let saturated = |seconds: i64| seconds.min(1 << 31);
        match ages.as_slice() {
            [one] => match delta_seconds(one) {
                Some(one) if (saturated(least)..=saturated(most)).contains(&one) => {}
                _ => return Err(format!("Age is {one}, not {least} to {most}")),
            },
            [] if validation.is_some() => {}
            _ => return Err(format!("{} Age fields", ages.len())),
        }
        // §5.2.2.4, the qualified form.
        let hidden = match Directives::of(&stored.fields).reach("no-cache") {
            Reach::Fields(names) | Reach::FieldsOrAll(names) if validation.is_none() => names,
            _ => Vec::new(),
        };
        for name in sent.names() {
            // The length of the stored body may be told where the origin did not (RFC 9110 §8.6).
            let counted = name == "content-length" && ![204, 304].contains(&status);
            if counted && !stored.fields.has(&name) && sent.lines(&name) == [LENGTH] {
                continue;
            }
            // What the 304 has for this client need not be what is kept of it for others.
            let own = validation.is_some_and(|fields| {
                fields.lines(&name) == sent.lines(&name)
                    && !storing::hop_by_hop(fields).contains(&name)
            });
            if own {
                continue;
            }
            if is_placed(&name) {
                continue;
            }
            if name != "age" && (hidden.contains(&name) || !stored.fields.has(&name)) {
                return Err(format!("{name} is sent, but it must not be"));
            }
        }
        // RFC 9110 §15.4.5 says what a 304 has of the 200.
        const OF_304: [&str; 6] =
            ["etag", "cache-control", "date", "expires", "vary", "content-location"];
        for name in stored.fields.names() {
            let sent = sent.lines(&name);
            let needed = status != 304 || OF_304.contains(&&*name);
            if is_placed(&name) {
                continue;
            }
            if name == "age" || hidden.contains(&name) || !needed && sent.is_empty() {
                continue;
            }
            if sent != stored.fields.lines(&name) {
                return Err(format!("{name} is {sent:?}"));
            }
        }
        Ok(())
    }
}
