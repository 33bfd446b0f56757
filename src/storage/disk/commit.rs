use super::{
    draft::Draft,
    entry::{Record, Wants},
    fence::Ticket,
    layout::{FIXED, slot_for, write_prefix},
    name::Name,
    pool::Waiting,
    records::Claim,
    store::Store,
};
use crate::{
    Error,
    policy::{Index, NameSet, Placement, VariantBound},
};

/// A response that is whole, and how it becomes visible.
pub(super) struct Commit {
    pub(super) ticket: Ticket,
    pub(super) placement: Placement,
    /// The head, encoded.
    pub(super) head: Vec<u8>,
    /// The bytes of each slot for it.
    pub(super) slot: u32,
    /// The position of the purge log at which it began.
    pub(super) began: u64,
    pub(super) draft: Draft,
    /// The end of the body, which is not in the draft yet.
    pub(super) rest: Vec<u8>,
    /// The trailers, encoded.
    pub(super) trailers: Vec<u8>,
}

/// What is under the resource's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Under {
    Nothing,
    /// Its one response, which has no `Vary`: that is its index, too.
    Response {
        bytes: u64,
    },
    Index,
}

/// The length of what lies before a body.
pub(super) fn prefix_length(placement: &Placement, head: &[u8]) -> u64 {
    let keys = placement.key().as_bytes().len() + placement.variant().as_bytes().len();
    (FIXED + keys) as u64 + 2 * u64::from(slot_for(head.len()))
}

impl Commit {
    pub(super) fn run(self, store: &Store, waiting: &Waiting<'_>) -> Result<(), Error> {
        let Self { ticket, placement, head, slot, began, draft, rest, trailers } = self;
        store.allow_writing()?;
        store.purge_file.reach(began, &store.purges)?;
        let (key, variant) = (placement.key(), placement.variant());
        let resource = ticket.resource();
        let _lock = store.fences.lock(resource)?;
        waiting.check()?;
        ticket.check()?;
        // What other processes have deleted is in the log of purges.
        store.purge_file.refresh(&store.purges)?;
        if store.purges.has_taken(key, ticket.purges()) {
            return Err(Error::refused());
        }

        let wants = Wants { key: key.as_bytes(), variant: &[] };
        let (mut index, under) = match store.peek(resource, wants)? {
            None => (Index::new(random()?), Under::Nothing),
            Some(Record::Index { index, .. }) => (index, Under::Index),
            Some(Record::Response(response)) => {
                let (start, behind) = response.body.rest();
                (only_plain(response.generation)?, Under::Response { bytes: start + behind })
            }
        };
        let before = index.clone();
        let evicted = index.admit(&placement);
        let generation = index.generation();
        let is_alone = variant.is_plain() && under != Under::Index;
        let name = if is_alone { resource } else { resource.response(generation, variant) };

        let slots = (1, slot);
        let prefix =
            write_prefix(generation, draft.id(), key.as_bytes(), variant.as_bytes(), slots, &head);
        let prefix = prefix.ok_or_else(Error::too_large)?;
        let failed = |error| store.failed(error);
        let finished = draft.finish(&store.spares, prefix, &rest, &trailers).map_err(failed)?;
        let (temporary, bytes) = finished;
        let share = claim_share(store, &placement, resource, name, bytes)?;
        store.settle(name, temporary.file()).map_err(failed)?;

        if let (Under::Response { bytes }, false) = (under, is_alone) {
            let plain = resource.plain(generation);
            let (from, to) = (store.directory.path(resource), store.directory.path(plain));
            store.directory.rename_kept(&from, &to).map_err(failed)?;
            store.settle_directory(plain).map_err(failed)?;
            let is_owned = matches!(placement.bound(), VariantBound::Quota(_));
            let whose = is_owned.then(|| Name::owner(key));
            store.records.insert(plain, bytes, whose);
        }
        // The index first: one that leads to nothing is a miss, a response that no index leads to
        // would take room for nothing.
        if !is_alone && (under != Under::Index || index != before) {
            store.write_index(key, &index)?;
        }
        for id in evicted {
            let _ = store.unlink(resource.variant(generation, id));
            store.records.variant_evicted();
        }
        temporary.place(&store.directory.path(name)).map_err(failed)?;
        store.records.insert(name, bytes, share.as_ref().map(|(whose, _)| *whose));
        drop(share);
        store.settle_directory(name).map_err(failed)?;
        store.make_room();
        Ok(())
    }
}

/// A new variant must leave room for other resources. Gives what its bytes count towards.
fn claim_share<'a>(
    store: &'a Store,
    placement: &Placement,
    resource: Name,
    name: Name,
    bytes: u64,
) -> Result<Option<(Name, Claim<'a>)>, Error> {
    let (whose, limit) = match placement.bound() {
        VariantBound::Quota(quota) => (Name::owner(placement.key()), quota),
        VariantBound::Share if !placement.variant().is_plain() => {
            (resource, store.options.max_bytes / 4)
        }
        VariantBound::Share | VariantBound::Count(_) => return Ok(None),
    };
    match store.records.claim(whose, name, bytes, limit) {
        Some(claim) => Ok(Some((whose, claim))),
        None => {
            store.records.variant_refused();
            Err(Error::refused())
        }
    }
}

/// The index of a resource that has one response and no `Vary`.
fn only_plain(generation: u64) -> Result<Index, Error> {
    NameSet::restored(Vec::new())
        .and_then(|plain| Index::restored(generation, vec![plain], Vec::new(), Vec::new()))
        .ok_or_else(|| Error::corrupt("no name set"))
}

pub(super) fn random() -> Result<u64, Error> {
    getrandom::u64().map_err(Error::other)
}
