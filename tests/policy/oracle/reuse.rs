//! RFC 9111 §4: which stored response answers, if any; §5.2.1.

use super::{
    directives::{Directives, Reach, Seconds},
    freshness::{self, Span, exceeds},
    message::{Fields, Millis, Request},
    partial,
    preconditions::{self, tags},
    stale,
    store::{Id, Options, Oracle, Reload, Stored},
    tri::Tri,
    vary,
};

/// What may be done with a request for which the store is asked.
#[derive(Debug)]
pub struct Ask {
    /// Stored responses of which each may answer at once.
    pub serve: Vec<Id>,
    /// Those that are fresh beyond doubt.
    pub fresh: Vec<Id>,
    /// One of them has to (our reading: "it can be assumed that reusing is desirable", §2).
    pub must_serve: bool,
    /// §5.2.1.7.
    pub only_if_cached: Tri,
    /// What could have been chosen for the request, were it fresh (§4.3.4).
    pub candidates: Vec<Id>,
    /// What of them may be the one to validate.
    pub newest: Vec<Id>,
    /// Whether that one matches without any normalisation that a cache need not know.
    pub matches_plainly: bool,
}

impl Oracle {
    pub fn ask(&self, request: &Request, now: Millis) -> Ask {
        let asked = Wishes::of(request);
        let fitting: Vec<(&Stored, Tri)> = self
            .of(&request.uri)
            .into_iter()
            .filter(|stored| partial::sent(stored, request).is_some())
            .map(|stored| (stored, vary::matches(stored, request)))
            .filter(|(_, fits)| *fits != Tri::No)
            .collect();
        let newest = newest(&fitting);
        let usable: Vec<(&Stored, Tri)> = fitting
            .iter()
            .map(|(stored, fits)| {
                (*stored, *fits & asked.let_use(stored, now, &self.options).unless_odd(asked.odd))
            })
            .filter(|(_, usable)| *usable != Tri::No)
            .collect();
        let plainly =
            |id: &Id| fitting.iter().any(|(one, fits)| one.id == *id && *fits == Tri::Yes);
        let surely = |id: &Id| usable.iter().any(|(one, sure)| one.id == *id && *sure == Tri::Yes);
        Ask {
            serve: self::newest(&usable),
            fresh: fitting
                .iter()
                .filter(|(one, _)| freshness::is_fresh(one, now, &self.options) == Tri::Yes)
                .map(|(one, _)| one.id)
                .collect(),
            must_serve: !newest.is_empty() && newest.iter().all(surely),
            only_if_cached: match asked.odd {
                true => Tri::May,
                false => Tri::from(asked.only_if_cached),
            },
            matches_plainly: newest.iter().all(plainly),
            candidates: fitting.iter().map(|(stored, _)| stored.id).collect(),
            newest,
        }
    }

    /// Whether a request made for the store asks for what `original` selected, with the fields that
    /// the Vary of `id` names (§4.3.1), and with no credentials that it does not name.
    pub fn check_refresh(
        &self,
        id: Id,
        request: &Request,
        original: &Request,
    ) -> Result<(), String> {
        let vary = self.get(id).fields.members("vary");
        for name in original.fields.names() {
            let named = vary.iter().any(|other| other.eq_ignore_ascii_case(&name));
            let kept = request.fields.lines(&name) == original.fields.lines(&name);
            let credential = ["authorization", "cookie"].contains(&&*name);
            if named && !kept || credential && request.fields.has(&name) && !named {
                return Err(format!("refreshed with {name}: {:?}", request.fields));
            }
        }
        Ok(())
    }

    /// Whether the forwarded fields are right (§4.3.1), given what the client sent.
    pub fn check_forwarded(
        &self,
        ask: &Ask,
        request: &Request,
        forwarded: &Fields,
    ) -> Result<(), String> {
        const CONDITIONS: [&str; 2] = ["if-none-match", "if-modified-since"];
        const RANGES: [&str; 2] = ["range", "if-range"];
        let is_for_a_gap = RANGES.iter().any(|n| forwarded.lines(n) != request.fields.lines(n));
        if is_for_a_gap {
            self.check_gap(request, forwarded)?;
        }
        let without = |fields: &Fields| {
            let mut rest = fields.clone();
            CONDITIONS.iter().for_each(|name| rest.remove(name));
            if is_for_a_gap {
                RANGES.iter().for_each(|name| rest.remove(name));
            }
            rest
        };
        if !without(forwarded).same_as(&without(&request.fields)) {
            return Err("other fields than the conditions changed".to_string());
        }
        let as_it_came = CONDITIONS.iter().all(|n| forwarded.lines(n) == request.fields.lines(n));
        if self.of(&request.uri).is_empty() && !as_it_came {
            return Err("nothing is stored, and still the conditions changed".to_string());
        }
        let carries = |id: &Id| {
            let part = self.get(*id).part;
            let stored = &self.get(*id).fields;
            if part.is_some() && preconditions::etag(stored).is_none_or(|tag| tag.weak) {
                return true; // which no 304 can speak for
            }
            let own = (stored.lines("etag"), stored.lines("last-modified"));
            let sent = forwarded.combined("if-none-match").unwrap_or_default();
            let by_tag = match preconditions::etag(stored) {
                Some(tag) => tags(&sent).0.contains(&tag),
                None => true,
            };
            let by_time = match own.1.first() {
                Some(modified) if own.1.len() == 1 => {
                    forwarded.lines("if-modified-since") == [*modified]
                }
                _ => true,
            };
            by_tag && by_time
        };
        if !ask.newest.is_empty() && ask.matches_plainly && !ask.newest.iter().any(carries) {
            return Err(format!("the validators of {:?} are not sent", ask.newest));
        }
        Ok(())
    }
}

/// "A cache MUST use the most recent one", by Date; or, where some omit Vary, the most recent of
/// those that have one (§4.1). What matches by a normalisation only need not be seen.
fn newest(of: &[(&Stored, Tri)]) -> Vec<Id> {
    let pick = |of: &[&(&Stored, Tri)]| -> Vec<Id> {
        let beaten = |one: &Stored| {
            let date = freshness::date_value(one);
            of.iter().any(|(other, sure)| {
                *sure == Tri::Yes && exceeds(freshness::date_value(other), date) == Tri::Yes
            })
        };
        of.iter().filter(|(one, _)| !beaten(one)).map(|(one, _)| one.id).collect()
    };
    let with_vary: Vec<_> = of.iter().filter(|(stored, _)| stored.fields.has("vary")).collect();
    let mut ids = pick(&of.iter().collect::<Vec<_>>());
    ids.extend(pick(&with_vary));
    ids.sort();
    ids.dedup();
    ids
}

/// §5.2.1: what the client asks for.
struct Wishes {
    /// To be asked for at the origin: `no-cache`, `Pragma` (§5.4), or `max-age=0` (Decision 2).
    reload: bool,
    max_age: Option<Millis>,
    min_fresh: Millis,
    /// How much staleness is taken.
    max_stale: Millis,
    only_if_cached: bool,
    /// To ask the origin is right, too.
    odd: bool,
}

impl Wishes {
    fn of(request: &Request) -> Wishes {
        let said = Directives::of(&request.fields);
        let pragma = !request.fields.has("cache-control")
            && request
                .fields
                .members("pragma")
                .iter()
                .any(|member| member.eq_ignore_ascii_case("no-cache"));
        let mut odd = said.odd;
        let mut seconds = |name| match said.seconds(name) {
            Seconds::Valid(seconds) => Some(seconds * 1000),
            Seconds::Absent => None,
            Seconds::Invalid => {
                odd = true;
                None
            }
        };
        let (max_age, min_fresh) = (seconds("max-age"), seconds("min-fresh"));
        // Of different ones the least, which may be the one without a value.
        let max_stale = match said.seconds("max-stale") {
            Seconds::Invalid if said.is_bare("max-stale") => {
                odd |= !said.is_always_bare("max-stale");
                Millis::MAX
            }
            Seconds::Invalid => {
                odd = true;
                said.window("max-stale").1
            }
            Seconds::Valid(seconds) => seconds * 1000,
            Seconds::Absent => 0,
        };
        // Any argument to `no-cache` is too much; so are several Pragma members.
        odd |= request.fields.members("pragma").len() > 1;
        odd |= ["no-cache", "only-if-cached"].iter().any(|n| said.has(n) && !said.is_bare(n));
        Wishes {
            reload: pragma || said.is_bare("no-cache") || max_age == Some(0),
            max_age,
            min_fresh: min_fresh.unwrap_or(0),
            max_stale,
            only_if_cached: said.has("only-if-cached"),
            odd,
        }
    }

    /// Whether `stored` answers without being validated.
    fn let_use(&self, stored: &Stored, now: Millis, options: &Options) -> Tri {
        let said = Directives::of(&stored.fields);
        // §5.2.2.4: unqualified, never; qualified, without the listed fields.
        let validated = match said.reach("no-cache") {
            Reach::All => return Tri::No,
            Reach::FieldsOrAll(_) => Tri::May,
            Reach::Nothing | Reach::Fields(_) => Tri::Yes,
        };
        let age = freshness::age(stored, now);
        let lifetime = freshness::lifetime(stored, options);
        let fresh = exceeds(lifetime, age);
        // RFC 8246 §2, where the switch trusts it.
        let trusted = match options.immutable {
            true => said.permits("immutable") & fresh,
            false => Tri::No,
        };
        let at_once = now - stored.received_at;
        let (reload, unheard) = match options.reload {
            Reload::Honour => (Tri::No, Tri::No),
            // Whether "less than" is meant to the millisecond is not said.
            Reload::Collapse(within) if at_once <= within => (Tri::May, Tri::May),
            Reload::Collapse(_) => (Tri::No, Tri::No),
            Reload::Ignore => (Tri::Yes, Tri::Yes),
        };
        let reload = if self.reload { reload | trusted } else { Tri::Yes };
        let unheard = unheard | trusted & Tri::May;
        let young = match self.max_age {
            Some(most) if !self.reload && !self.honours_stale(options) => {
                let floor = Span { least: age.least / 1000 * 1000, most: age.most };
                !exceeds(floor, Span { least: most, most })
            }
            // "Unless the max-stale request directive is also present".
            Some(most) if !self.reload => !exceeds(age, Span { least: most, most }) | Tri::May,
            _ => Tri::Yes,
        };
        let later = Span { least: age.least + self.min_fresh, most: age.most + self.min_fresh };
        let lasting = if self.min_fresh > 0 { !exceeds(later, lifetime) } else { Tri::Yes };
        // A reload that is not heard takes `min-fresh` with it.
        let lasting = lasting | unheard;
        let refreshed = match stale::while_revalidate(stored, now, options) {
            // Nobody has asked for the whole.
            window if stored.part.is_some() => window & Tri::May,
            // "The client does not wish to receive a stale response."
            window if self.max_age.is_some() || self.min_fresh > 0 => window & Tri::May,
            window => window,
        };
        let usable = fresh & lasting | self.stale(&said, age, lifetime, options) | refreshed;
        validated & reload & (young | unheard) & usable.unless_odd(said.odd)
    }

    fn honours_stale(&self, options: &Options) -> bool {
        self.max_stale > 0 && options.client_max_stale
    }

    /// §4.2.4, by the client's max-stale.
    fn stale(&self, said: &Directives, age: Span, lifetime: Span, options: &Options) -> Tri {
        let forbidden = said.has("must-revalidate")
            || options.shared && (said.has("proxy-revalidate") || said.has("s-maxage"));
        if forbidden || !self.honours_stale(options) {
            return Tri::No;
        }
        // What never had a lifetime is not stale either (G1).
        if self.max_stale == Millis::MAX {
            return Tri::Yes.unless_odd(lifetime.least == 0 || self.min_fresh > 0);
        }
        let until =
            Span { least: lifetime.least + self.max_stale, most: lifetime.most + self.max_stale };
        let within = !exceeds(age, until);
        // Beside min-fresh it is a riddle.
        if self.min_fresh > 0 || lifetime.least == 0 { within & Tri::May } else { within }
    }
}
