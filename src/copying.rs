use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use crate::{
    Error,
    admission::Admission,
    executor::Persistent,
    policy::{Placement, StoredHead},
    shared::Core,
    splice::append,
    storage::{CacheManager, Entry, EntryWriter},
};

/// Stores the body of an entry once more, under another head at another place. Nobody waits for it:
/// what is not done at once the executor does, and without one it is not done. Whether others may find
/// it there now.
pub(crate) async fn copy<M: CacheManager>(
    core: &Arc<Core<M>>,
    entry: Entry<M::Handle>,
    placement: Placement,
    head: StoredHead,
    admission: Admission,
) -> bool {
    let is_reusable = head.is_reusable();
    let (manager, witness) = (core.manager.clone(), core.emit.witness.clone());
    let copying = async move {
        // A copy that fails is a miss later on.
        let length = entry.response().length();
        match write(&manager, entry, placement, head, admission).await {
            Ok(()) => witness.stored(length, &manager),
            Err(error) => witness.not_stored(&error, &manager),
        }
    };
    let mut copying = Persistent::new(Box::pin(copying), core.executor.clone());
    let is_done = poll_fn(|cx| Poll::Ready(Pin::new(&mut copying).poll(cx).is_ready())).await;
    is_done && is_reusable
}

async fn write<M: CacheManager>(
    manager: &M,
    entry: Entry<M::Handle>,
    placement: Placement,
    head: StoredHead,
    admission: Admission,
) -> Result<(), Error> {
    let own = head.clone();
    let mut writer = manager.put(placement, head).await?;
    let whole = 0..entry.response().length();
    let (_, trailers) = append(manager, &entry, whole, &mut writer).await?;
    let (stored, began) = (entry.response().head(), own.began());
    let finished = match admission.admits_again(stored, &own) {
        true => {
            // The store is to have the only one.
            drop(own);
            writer.finish(trailers).await
        }
        false => Err(Error::refused()),
    };
    if admission.has_missed_again(stored, began) {
        manager.delete(admission.key()).await?;
    }
    finished
}
