//! Just enough of RFC 3986 for cache keys and for Location.

/// Scheme, authority and the rest of an absolute URI, normalised as §6.2.2 and §6.2.3 allow.
pub fn target(uri: &str) -> Option<(String, String, String)> {
    let (scheme, rest) = uri.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest[..end].to_ascii_lowercase();
    let port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return None,
    };
    let authority = authority.strip_suffix(port).unwrap_or(&authority).to_string();
    let path = rest[end..].split('#').next().unwrap_or_default();
    let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
    Some((scheme, authority, path))
}

/// RFC 3986 §5.2, for a base without a fragment.
pub fn resolve(base: &str, reference: &str) -> Option<(String, String, String)> {
    let (scheme, authority, path) = target(base)?;
    let reference = reference.split('#').next().unwrap_or_default();
    if reference.contains("://") {
        let (scheme, authority, path) = target(reference)?;
        return Some((scheme, authority, without_dots(&path)));
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let (scheme, authority, path) = target(&format!("{scheme}://{rest}"))?;
        return Some((scheme, authority, without_dots(&path)));
    }
    let old_path = path.split('?').next().unwrap_or_default();
    let path = if reference.is_empty() {
        path.clone()
    } else if reference.starts_with('/') {
        reference.to_string()
    } else if reference.starts_with('?') {
        format!("{old_path}{reference}")
    } else {
        let directory = &old_path[..=old_path.rfind('/').unwrap_or(0)];
        format!("{directory}{reference}")
    };
    Some((scheme, authority, without_dots(&path)))
}

/// RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (path, String::new()),
    };
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (at, segment) in segments.iter().enumerate() {
        let last = at + 1 == segments.len();
        match *segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    format!("/{}{query}", kept.join("/"))
}
