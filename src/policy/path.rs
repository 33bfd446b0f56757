//! Forms of a path that certainly name the same (RFC 3986 §6.2.2).

use std::borrow::Cow;

/// The path with escapes that are not needed undone, the others in upper case, and without dot
/// segments.
pub(super) fn normal(path: &str) -> Cow<'_, str> {
    let escapes = path.contains('%').then(|| unescaped(path)).map_or(path.into(), Cow::Owned);
    let has_dots = escapes.split('/').any(|segment| matches!(segment, "." | ".."));
    match has_dots && escapes.starts_with('/') {
        true => Cow::Owned(without_dot_segments(&escapes)),
        false => escapes,
    }
}

/// RFC 3986 §6.2.2.1, §6.2.2.2. What is no escape stays as it is.
fn unescaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let escape =
            rest.get(at + 1..at + 3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(byte) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            out.push('%');
            rest = &rest[at + 1..];
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&rest[at..at + 3].to_ascii_uppercase());
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    out
}

/// RFC 3986 §5.2.4, for a path that begins with `/`.
pub(super) fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if is_last {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feature path-forms; RFC 3986 §6.2.2: what is reserved stays escaped, what is not does not, and
    /// the second time changes nothing.
    #[test]
    fn a_path_has_one_form() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/%7eada/%41", "/~ada/A"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2Fb%3f", "/a%2Fb%3F"),
            ("/%e4", "/%E4"),
            ("/%", "/%"),
            ("/%4", "/%4"),
            ("/%zz%41", "/%zzA"),
            ("/%25%34%31", "/%2541"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/../..", "/"),
            ("/a/..", "/"),
            ("/a/.", "/a/"),
            ("/a//b", "/a//b"),
            ("/...", "/..."),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normal(path), expected, "{path}");
            assert_eq!(normal(expected), expected, "{path}");
        }
    }
}
