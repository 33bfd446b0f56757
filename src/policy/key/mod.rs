//! What a response is stored under.

mod authority;
mod encoding;
mod target;

pub use self::encoding::CacheKey;
pub(super) use self::target::single_host;

#[cfg(test)]
mod tests;
