use std::{future::Future, pin::Pin};

use super::{BusEvent, PurgeBus, PurgeFollower, PurgeMessage};
use crate::Error;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// Any bus.
pub(super) trait AnyBus: Send + Sync {
    fn publish<'a>(&'a self, message: &'a PurgeMessage) -> Boxed<'a, ()>;
    fn follow<'a>(&'a self, after: Option<&'a str>) -> Boxed<'a, Box<dyn AnyFollower>>;
}

pub(super) trait AnyFollower: Send {
    fn next(&mut self) -> Boxed<'_, BusEvent>;
}

impl<B: PurgeBus> AnyBus for B {
    fn publish<'a>(&'a self, message: &'a PurgeMessage) -> Boxed<'a, ()> {
        Box::pin(PurgeBus::publish(self, message))
    }

    fn follow<'a>(&'a self, after: Option<&'a str>) -> Boxed<'a, Box<dyn AnyFollower>> {
        Box::pin(async move {
            let follower = PurgeBus::follow(self, after).await?;
            Ok(Box::new(follower) as Box<dyn AnyFollower>)
        })
    }
}

impl<F: PurgeFollower> AnyFollower for F {
    fn next(&mut self) -> Boxed<'_, BusEvent> {
        Box::pin(PurgeFollower::next(self))
    }
}
