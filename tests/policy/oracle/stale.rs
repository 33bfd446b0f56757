//! RFC 9111 §4.2.4, RFC 5861.

use super::{
    directives::{Directives, Reach},
    freshness::{self, Span, exceeds},
    message::{Millis, Request},
    store::{Id, Options, Oracle, Stored},
    tri::Tri,
};

/// Whether the response may be used at once while it is being validated (RFC 5861 §3).
pub fn while_revalidate(stored: &Stored, now: Millis, options: &Options) -> Tri {
    let said = Directives::of(&stored.fields);
    if forbids(stored, true, options) {
        return Tri::No;
    }
    let usable = within(stored, now, said.window("stale-while-revalidate"), options);
    // Nobody's credentials are asked with but those of the request at hand.
    usable.unless_odd(said.odd || stored.authorized)
}

/// Whether `must-revalidate` and the like forbid it. `by_origin`: it is the response itself that
/// allows it, which beats an `s-maxage` that only implies `proxy-revalidate` (Decision 1).
fn forbids(stored: &Stored, by_origin: bool, options: &Options) -> bool {
    let said = Directives::of(&stored.fields);
    let implied = said.has("s-maxage") && (options.strict_s_maxage || !by_origin);
    said.has("must-revalidate")
        || said.reach("no-cache") == Reach::All
        || options.shared && (said.has("proxy-revalidate") || implied)
}

fn within(stored: &Stored, now: Millis, (least, most): (Millis, Millis), options: &Options) -> Tri {
    if most == 0 {
        return Tri::No;
    }
    let lifetime = freshness::lifetime(stored, options);
    let until = Span { least: lifetime.least + least, most: lifetime.most + most };
    let inside = !exceeds(freshness::age(stored, now), until);
    if least == 0 { inside & Tri::May } else { inside }
}

impl Oracle {
    /// Whether `id` may be the answer where the origin gives an error, or none.
    pub fn answers_errors(
        &self,
        id: Id,
        request: &Request,
        now: Millis,
        status: Option<u16>,
    ) -> Tri {
        let (stored, options) = (self.get(id), &self.options);
        let said = Directives::of(&stored.fields);
        let asked = Directives::of(&request.fields);
        // "Any situation which would result in a 500, 502, 503 or 504."
        if status.is_some_and(|status| ![500, 502, 503, 504].contains(&status))
            || said.reach("no-cache") == Reach::All
        {
            return Tri::No;
        }
        let lifetime = freshness::lifetime(stored, options);
        // Fresh, and asked about all the same: the client has its reasons.
        let fresh = exceeds(lifetime, freshness::age(stored, now)) & Tri::May;
        let disconnected = match (status, options.stale_on_disconnect) {
            (None, Some(window)) => (window, window),
            _ => (0, 0),
        };
        let windows = [
            (said.window("stale-if-error"), true),
            // The origin allows it while it is asked, and it is being asked.
            ((0, said.window("stale-while-revalidate").1), true),
            // Advisory, in a request (RFC 9111 §5.2.1).
            ((0, asked.window("stale-if-error").1), false),
            (disconnected, false),
        ];
        let by_window = windows.into_iter().fold(Tri::No, |allowed, (window, by_origin)| {
            let open = !forbids(stored, by_origin, options);
            allowed | Tri::from(open) & within(stored, now, window, options)
        });
        let plain = asked.is_empty() && !request.fields.has("pragma");
        (fresh | by_window).unless_odd(said.odd || !plain)
    }
}
