//! What a request asks the origin by, of what is stored (RFC 9111 §4.3.1).

use http::{HeaderMap, HeaderValue, header};

use super::{
    about::{About, Candidate},
    combining, completing, others,
};

pub(super) const CONDITIONS: [header::HeaderName; 2] =
    [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];

/// Asks about what is stored. Whether the validators of one stored response go out.
pub(super) fn ask_about(request: &mut HeaderMap, about: &About) -> bool {
    match about {
        About::Nothing => {}
        About::This(candidate) => return set_conditions(request, candidate),
        About::Others(others) => others::set_conditions(request, others),
        About::Part(base) => completing::ask_for_the_rest(request, base),
    }
    false
}

/// What meant nothing with HEAD and would with GET, or is done here (RFC 9110 §14.2).
pub(super) fn remove_range(headers: &mut HeaderMap) {
    headers.remove(header::RANGE);
    headers.remove(header::IF_RANGE);
}

/// Puts the stored validators in place of the client's own (RFC 9111 §4.3.1). `false`: there are
/// none, and the client's stay.
fn set_conditions(headers: &mut HeaderMap, candidate: &Candidate) -> bool {
    let stored = candidate.response.head().headers();
    let (tag, modified) = (stored.get(header::ETAG), stored.get(header::LAST_MODIFIED));
    let is_weak_part = candidate.response.head().content_range().is_some()
        && combining::strong_tag(stored).is_none();
    if is_weak_part || (tag.is_none() && modified.is_none()) {
        return false;
    }
    let mut set = |name, value: Option<&HeaderValue>| match value {
        Some(value) => {
            headers.insert(name, value.clone());
        }
        None => {
            headers.remove(name);
        }
    };
    set(header::IF_NONE_MATCH, tag);
    set(header::IF_MODIFIED_SINCE, modified);
    true
}
