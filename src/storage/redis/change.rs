//! Changes of what is stored.

use redis::{Pipeline, Value};

use super::{
    entry::Located,
    layout::{Record, field, hex_of, random},
    link::{Failure, run},
    purges::CLEAR,
    scripts,
    store::{Line, Store},
    writer::GRACE,
};
use crate::{
    Error,
    policy::{CacheKey, StoredHead},
    purge::Purge,
};

impl Store {
    /// What began before this position is gone, as scripts compare it.
    pub(super) fn floor(&self) -> String {
        hex_of(self.purges.floor())
    }

    pub(super) async fn update(&self, located: &Located, head: StoredHead) -> Result<bool, Error> {
        if !self.vouches_for(&located.record) {
            return Ok(false);
        }
        let ttl = self.time_to_live(&head).as_millis().to_string();
        let record = Record { head, revision: random()?.into(), ..located.record.clone() };
        let (own, identity, encoded) =
            (field(&record.variant), located.identity(), record.encode()?);
        let grace = GRACE.as_millis().to_string();
        let arguments = [
            &own,
            identity.as_bytes(),
            &encoded,
            ttl.as_bytes(),
            grace.as_bytes(),
            located.resource.chunks.as_bytes(),
        ];
        self.change(&scripts::UPDATE, &located.resource.record, &arguments).await
    }

    pub(super) async fn remove(&self, located: &Located) -> Result<bool, Error> {
        if !self.vouches_for(&located.record) {
            return Ok(false);
        }
        let (own, identity) = (field(&located.record.variant), located.identity());
        let grace = GRACE.as_millis().to_string();
        let arguments =
            [&own, identity.as_bytes(), grace.as_bytes(), located.resource.chunks.as_bytes()];
        self.change(&scripts::REMOVE, &located.resource.record, &arguments).await
    }

    async fn change(
        &self,
        script: &scripts::Script,
        key: &str,
        arguments: &[&[u8]],
    ) -> Result<bool, Error> {
        let changing = self.link.within(self.options.connect_timeout, async {
            let lanes = self.link.lanes().await.map_err(Failure::Link)?;
            let (changed, _) =
                run(&lanes.quick, script, &[key], arguments, &Pipeline::new()).await?;
            Ok(changed == Value::Int(1))
        });
        changing.await
    }

    /// Forgets a resource, and tells the nodes that have it in a faster tier.
    pub(super) async fn delete(&self, key: &CacheKey) -> Result<(), Error> {
        let resource = self.link.names.resource(key);
        let grace = GRACE.as_millis().to_string();
        let deleting = self.link.within(self.options.connect_timeout, async {
            let lanes = self.link.lanes().await.map_err(Failure::Link)?;
            let arguments = [grace.as_bytes(), resource.chunks.as_bytes()];
            let (keys, none) = ([resource.record.as_str()], Pipeline::new());
            run(&lanes.quick, &scripts::DELETE, &keys, &arguments, &none).await?;
            let (kind, text) = Purge::resource(key).as_parts();
            let kind = kind.to_string();
            let line = Line { is_event: false, kind: &kind, text: &text, label: "" };
            self.append(&lanes, &line).await
        });
        deleting.await
    }

    /// Forgets everything, at once for all nodes, and then frees its room.
    pub(super) async fn clear(&self) -> Result<(), Error> {
        let clearing = self.link.within(self.options.connect_timeout, async {
            let lanes = self.link.lanes().await.map_err(Failure::Link)?;
            let line = Line { is_event: false, kind: CLEAR, text: "", label: "" };
            self.append(&lanes, &line).await
        });
        clearing.await?;
        self.expel().await
    }
}
