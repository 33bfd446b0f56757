//! The naive store: every response in one list.

use super::{
    message::{Fields, Millis, Request, Response},
    partial::Part,
    storing,
    tri::Tri,
    updating, uri, vary,
};

pub type Id = usize;

/// The switches of `Policy`, by the table "Where Decisions and Behaviours differ".
#[derive(Clone, Debug)]
pub struct Options {
    pub shared: bool,
    pub set_cookie: SetCookie,
    pub vary_on_credentials: bool,
    pub heuristic_errors: bool,
    pub client_max_stale: bool,
    pub reload: Reload,
    pub default_ttl: Option<Millis>,
    pub immutable: bool,
    pub strict_s_maxage: bool,
    pub stale_on_disconnect: Option<Millis>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SetCookie {
    Store,
    Strip,
    Bypass,
}

/// Decision 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reload {
    Honour,
    /// What was validated less than this ago answers a reload, too.
    Collapse(Millis),
    Ignore,
}

/// A response, the request it answered, and the two times.
#[derive(Clone, Debug)]
pub struct Stored {
    pub id: Id,
    pub request: Request,
    /// Where a 304 named other fields in Vary: the request that it answered.
    pub validated_by: Option<Request>,
    pub status: u16,
    /// What of the representation it has, if not all (RFC 9111 §3.3).
    pub part: Option<Part>,
    pub fields: Fields,
    pub requested_at: Millis,
    pub received_at: Millis,
    /// It came, or was found good, for a request with credentials.
    pub authorized: bool,
    /// It had no valid `Date`, and got that of its receipt.
    pub date_is_ours: bool,
    /// `Age` came with an earlier response than the one that was received last.
    pub age_is_old: bool,
}

#[derive(Debug)]
pub struct Oracle {
    pub options: Options,
    pub stored: Vec<Stored>,
    next: Id,
}

impl Oracle {
    pub fn new(options: Options) -> Oracle {
        Oracle { options, stored: Vec::new(), next: 0 }
    }

    /// One that has nothing else.
    pub fn alone_with(&self, stored: &Stored) -> Oracle {
        Oracle { options: self.options.clone(), stored: vec![stored.clone()], next: self.next }
    }

    pub fn get(&self, id: Id) -> &Stored {
        self.stored.iter().find(|stored| stored.id == id).expect("an id that was given out")
    }

    /// Keeps a whole response. It replaces what was stored for such a request (RFC 9111 §4.3.3).
    pub fn keep(
        &mut self,
        request: &Request,
        response: &Response,
        requested_at: Millis,
        received_at: Millis,
    ) -> Id {
        let stored = self.stored_as(request, response, requested_at, received_at);
        self.keep_as(stored)
    }

    pub fn keep_as(&mut self, stored: Stored) -> Id {
        self.next += 1;
        let stored = Stored { id: self.next, ..stored };
        self.stored.retain(|old| !same_variant(old, &stored));
        self.stored.push(stored);
        self.next
    }

    /// What would be kept.
    pub fn stored_as(
        &self,
        request: &Request,
        response: &Response,
        requested_at: Millis,
        received_at: Millis,
    ) -> Stored {
        Stored {
            id: self.next,
            request: request.clone(),
            validated_by: None,
            status: response.status,
            part: None,
            fields: storing::stored_fields(&response.fields, received_at, &self.options),
            requested_at,
            received_at,
            authorized: request.fields.has("authorization"),
            date_is_ours: !storing::is_dated(&response.fields, received_at),
            age_is_old: false,
        }
    }

    /// `id` as a 304 leaves it (RFC 9111 §3.2).
    pub fn updated(
        &self,
        id: Id,
        request: &Request,
        response: &Response,
        requested_at: Millis,
        received_at: Millis,
    ) -> Stored {
        let old = self.get(id);
        updating::updated(old, request, response, requested_at, received_at, &self.options)
    }

    pub fn replace(&mut self, id: Id, new: Stored) {
        self.stored.retain(|stored| stored.id != id);
        self.stored.push(new);
    }

    /// Whether storing `new` may have replaced `old`, which was not seen to be for the same.
    pub fn may_replace(&self, old: Id, new: Id) -> bool {
        let Some(old) = self.stored.iter().find(|stored| stored.id == old) else { return true };
        let new = self.get(new);
        uri::target(&old.request.uri) == uri::target(&new.request.uri)
            && names(old) == names(new)
            && vary::matches(old, &new.request) != Tri::No
    }

    pub fn drop(&mut self, id: Id) {
        self.stored.retain(|stored| stored.id != id);
    }

    /// All variants of a target.
    pub fn of(&self, uri: &str) -> Vec<&Stored> {
        let target = uri::target(uri);
        self.stored.iter().filter(|s| uri::target(&s.request.uri) == target).collect()
    }
}

/// What Vary names.
fn names(stored: &Stored) -> Vec<String> {
    let mut names: Vec<String> =
        stored.fields.members("vary").iter().map(|name| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    names
}

fn same_variant(a: &Stored, b: &Stored) -> bool {
    uri::target(&a.request.uri) == uri::target(&b.request.uri)
        && names(a) == names(b)
        && vary::same_values(&names(a), &a.request, &b.request)
}
