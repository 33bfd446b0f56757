//! What an answer of the origin changes in the store.

use std::sync::Arc;

use crate::{
    admission::Admission,
    copying::copy,
    inflight::{Fetching, Lapse},
    observe::Operation,
    policy::{CacheKey, StoredHead, Update},
    purge::Purge,
    shared::Core,
    storage::{CacheManager, Found},
};

/// Takes out all of an origin, before anybody hears of what has said so.
pub(super) async fn clear_origin<M: CacheManager>(core: &Arc<Core<M>>, key: &CacheKey) {
    core.purges.append(Purge::host_of(key));
    // Where that fails it holds until the next start.
    let _ = core.within(Operation::Log, core.purges.sync()).await;
    core.sweep();
}

/// Changes the store as a 304 says. Whether others find it there now.
pub(super) async fn freshen<M: CacheManager>(
    core: &Arc<Core<M>>,
    found: &Found<M::Handle>,
    index: usize,
    update: Update,
    fetching: Fetching,
) -> bool {
    let Some(entry) = found.clone().into_entry(index) else { return false };
    let admission = Admission::new(fetching, core.purges.clone());
    let admits = |head: &StoredHead| admission.admits_again(entry.response().head(), head);
    let is_done = match update {
        Update::Remove => {
            let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
            false
        }
        Update::Replace(head) if admits(&head) => {
            let (is_reusable, began) = (head.is_reusable(), head.began());
            let updated = core.manager.update(&entry, head);
            let updated = core.within(Operation::Update, updated).await;
            if admission.has_missed_again(entry.response().head(), began) {
                let deleted = core.manager.delete(admission.key());
                let _ = core.within(Operation::Delete, deleted).await;
            }
            is_reusable && updated.is_ok_and(|is_updated| is_updated)
        }
        Update::Copy(placement, head) if admits(&head) => {
            let updated = core.manager.update(&entry, head.clone());
            let _ = core.within(Operation::Update, updated).await;
            return copy(core, entry, placement, head, admission).await;
        }
        Update::Move(placement, head) if admits(&head) => {
            let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
            return copy(core, entry, placement, head, admission).await;
        }
        Update::Keep | Update::Replace(_) | Update::Copy(..) | Update::Move(..) => false,
    };
    if !is_done {
        admission.fetching().is_not_shared(Lapse::ForOne, core.clock.now());
    }
    is_done
}

pub(super) async fn remove<M: CacheManager>(
    core: &Core<M>,
    found: &Found<M::Handle>,
    index: usize,
) {
    if let Some(entry) = found.clone().into_entry(index) {
        // An outdated entry that stays is stale, and will be asked about again.
        let _ = core.within(Operation::Remove, core.manager.remove(&entry)).await;
    }
}
