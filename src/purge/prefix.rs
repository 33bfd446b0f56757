use http::Uri;

use crate::{Error, policy::CacheKey};

/// An origin, and the beginning of paths there in whole segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) origin: Box<str>,
    pub(super) path: Box<str>,
}

impl Prefix {
    pub(super) fn selects(&self, key: &CacheKey) -> bool {
        let authority = || self.origin.strip_prefix(key.scheme())?.strip_prefix("://");
        let Some(rest) = key.path_and_query().strip_prefix(&*self.path) else { return false };
        let is_whole = self.path.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?']);
        is_whole && authority() == Some(key.authority())
    }
}

/// The URL and its origin, in the form that keys have it.
pub(super) fn absolute(url: &str) -> Result<(String, Uri), Error> {
    let uri: Uri = url.parse().map_err(Error::invalid)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(Error::invalid(format!("`{url}` is not an absolute URL")));
    };
    let port = authority.as_str().rsplit_once(':').map_or("", |(_, port)| port);
    if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && uri.port_u16().is_none() {
        return Err(Error::invalid(format!("`{url}` has an impossible port")));
    }
    let scheme = scheme.to_ascii_lowercase();
    let host = uri.host().unwrap_or_default();
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let usual = if scheme == "https" { 443 } else { 80 };
    let origin = match uri.port_u16() {
        Some(port) if port != usual => format!("{scheme}://{host}:{port}"),
        _ => format!("{scheme}://{host}"),
    };
    Ok((origin, uri))
}
