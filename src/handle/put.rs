use bytes::Bytes;
use http::{Response, request};
use http_body::SizeHint;

use super::CacheHandle;
use crate::{
    Error,
    policy::{CacheStatus, Decision, Outcome, Stored},
    storage::{CacheManager, EntryWriter},
};

impl<M: CacheManager> CacheHandle<M> {
    /// Stores a response by hand, as if the origin had just given it for this request: the policy says
    /// whether, and for how long. It replaces what is stored for the same request. When this returns it
    /// is in place, and [`CacheStatus::is_stored`] says so; else
    /// [`CacheStatus::reason`] says why not.
    ///
    /// ```
    /// # async fn example(handle: larder::CacheHandle<larder::MemoryManager>) -> Result<(), larder::Error> {
    /// use bytes::Bytes;
    /// use http::{Request, Response};
    ///
    /// let (request, ()) = Request::get("http://a.example/report").body(()).unwrap().into_parts();
    /// let response = Response::builder().header("cache-control", "max-age=60");
    /// let status = handle.put(&request, response.body(Bytes::from("…")).unwrap()).await?;
    /// assert!(status.is_stored());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If such a request passes by the cache ([`Error::is_invalid`]), if the store failed or does not
    /// take as much, or if a purge came meanwhile ([`Error::is_refused`]).
    pub async fn put(
        &self,
        request: &request::Parts,
        response: Response<Bytes>,
    ) -> Result<CacheStatus, Error> {
        let (core, lookup) = (&self.core, self.lookup(request)?);
        let (began, now, secret) =
            (core.purges.position(), core.clock.now(), core.manager.secret());
        let mut asking = request.clone();
        let fetch = match lookup.decide(&mut asking, Stored::Nothing, now) {
            Decision::Forward(fetch) => fetch,
            Decision::GatewayTimeout(status) => return Ok(status),
            Decision::Serve(serve) | Decision::Refresh(serve, _) => return Ok(serve.status),
        };
        let _place = core.purges.inflight().positions().enter(began);
        let key = fetch.key().clone();
        let (mut head, body) = response.into_parts();
        let size = SizeHint::with_exact(body.len() as u64);
        let store = match fetch.on_response(&mut head, &size, now, began, secret) {
            Outcome::Store(store) => store,
            Outcome::Pass { status, .. }
            | Outcome::Complete { status, .. }
            | Outcome::BadGateway { status, .. } => return Ok(status),
            Outcome::Freshen { serve, .. } | Outcome::ServeStale(serve) => return Ok(serve.status),
        };
        let status = store.status();
        let tagging = store.tagging();
        let (placement, mut head) = store.into_parts();
        if let Some(mut tagging) = tagging {
            tagging.update(&body);
            head = tagging.finish(head);
        }
        let (log, own) = (&core.purges, head.clone());
        let predicates = log.predicates();
        let mut writer = core.manager.put(placement, head).await?;
        if !body.is_empty() {
            writer.write(body).await?;
        }
        if !log.admits(&key, &own) {
            return Err(Error::refused());
        }
        // The store is to have the only one.
        drop(own);
        writer.finish(None).await?;
        if log.predicates() != predicates {
            core.manager.delete(&key).await?;
            return Err(Error::refused());
        }
        Ok(status)
    }
}
