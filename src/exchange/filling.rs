use std::{
    pin::{Pin, pin},
    sync::Arc,
};

use bytes::Bytes;
use http::response;
use http_body::{Body, SizeHint};

use super::{
    answer::pass_source,
    brought::{Begun, Bringer, Brought, Report},
};
use crate::{
    BoxError,
    fill::{Fill, First},
    flight::{Landing, Pilot, Sharing},
    inflight::Lapse,
    joined::Source,
    log::{Log, Writer},
    observe::Event,
    policy::{Reason, Store},
    recorder::{Record, Recorder},
    shared::Core,
    splice::Splice,
    storage::CacheManager,
};

/// A response that is being stored, and sent as it comes.
pub(super) struct Filling<M, ResB, E> {
    core: Arc<Core<M>>,
    fill: Fill,
    log: Log,
    landing: Landing,
    pilot: Pilot,
    slot: Bringer<Result<Brought<ResB>, E>>,
    begun: Box<Begun>,
    is_seldom_read: bool,
}

/// Why a response cannot be stored that the rules would store.
pub(super) fn unfit<M: CacheManager>(core: &Core<M>, store: &Store) -> Option<Reason> {
    let (room, length) = (core.manager.max_entry_bytes(), store.length());
    if length.max(store.due()).is_some_and(|length| length > room) {
        return Some(Reason::TooLarge);
    }
    let kept = length.unwrap_or_default().min(keep(core));
    (!core.budget.has_room(kept)).then_some(Reason::Overload)
}

/// How much of a body is kept for those who come later.
pub(super) fn keep<M: CacheManager>(core: &Core<M>) -> u64 {
    match core.manager.is_in_memory() {
        true => core.manager.max_entry_bytes(),
        false => core.waits.kept_bytes,
    }
}

/// Brings a response that is [unfit].
pub(super) fn pass_unfit<M, ResB: Body, E>(
    core: &Core<M>,
    (head, body): (response::Parts, Source<ResB>),
    store: &Store,
    reason: Reason,
    (pilot, report): (Pilot, &Report<ResB, E>),
) {
    pilot.land(Landing::Alone);
    core.tell(&Event::NotStored { reason });
    let status = store.status().detailed(reason);
    let response = pass_source(head, body, store.wants_body(), status);
    report.slot.put(Ok(Brought::Ready(response)));
}

impl<M: CacheManager, ResB, E> Filling<M, ResB, E> {
    /// `first` is what has been read of the body already.
    pub(super) fn begin(
        core: Arc<Core<M>>,
        head: response::Parts,
        (first, splice): (Option<First>, Option<Splice<M::Handle>>),
        store: Store,
        pilot: Pilot,
        report: Report<ResB, E>,
    ) -> Option<Self> {
        let Report { fetching, board, slot } = report;
        let (status, length) = (store.status(), store.length());
        let is_wanted = core.uses.admits(fetching.key());
        let status = if is_wanted { status } else { status.detailed(Reason::FewUses) };
        let log = Log::new(board.bell(), core.budget.clone(), length, keep(&core));
        // Before anybody else can close it.
        let cursor = log.read()?;
        let landing = if store.is_reusable() && store.is_shareable() {
            let running = store.running();
            fetching.is_shared(running.names(), running.variant());
            Landing::Shared(Arc::new(Sharing { running, log: log.clone() }))
        } else {
            fetching.is_not_shared(Lapse::ForOne, core.clock.now());
            Landing::Alone
        };
        let announces_trailers = store.announces_trailers();
        let is_seldom_read = store.is_seldom_read();
        let (tagging, due) = (store.tagging(), store.due());
        let length_of_head = length.filter(|_| !store.wants_body());
        let hint = length_of_head.map_or_else(SizeHint::default, SizeHint::with_exact);
        let (head, content) = store.cut(head);
        let (placement, stored) = store.into_parts();
        let (manager, witness) = (core.manager.clone(), core.emit.witness.clone());
        let record = Record { placement, head: stored, tagging, fetching, due, splice };
        let recorder = Recorder::new(manager, record, witness);
        let (writer, means) = (Writer::new(log.clone()), core.means());
        let is_buffered = core.manager.is_in_memory();
        let fill = Fill::new(writer, recorder, is_buffered, length, announces_trailers, means);
        let mut fill = fill.from(first);
        if !is_wanted {
            fill.give_up_storing(Reason::FewUses);
        }
        board.record(log.clone());
        let begun = Box::new(Begun { head, cursor, content, hint, status });
        Some(Self { core, fill, log, landing, pilot, slot, begun, is_seldom_read })
    }

    /// Lands, and carries the body to its end.
    pub(super) async fn run<B>(self, body: Pin<&mut B>)
    where
        B: Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let Self { core, mut fill, log, landing, pilot, slot, begun, is_seldom_read } = self;
        let brought = Ok(Brought::Begun(begun));
        if fill.is_over(&*body) {
            fill.finish_empty().await;
            pilot.land(landing);
            return slot.put(brought);
        }
        pilot.land(landing);
        let mut filling = pin!(fill.run(body));
        if is_seldom_read {
            log.want_all(true);
            let reading = async {
                filling.as_mut().await;
                Ok(())
            };
            // Late or not, the client gets it all.
            let read = Box::pin(core.no_longer(reading)).await;
            log.want_all(false);
            if read.is_ok() {
                return slot.put(brought);
            }
        }
        slot.put(brought);
        filling.await;
    }
}
