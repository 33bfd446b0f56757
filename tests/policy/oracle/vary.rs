//! RFC 9111 §4.1.

use super::{
    message::{Fields, Request, is_token, trim},
    store::Stored,
    tri::Tri,
};

/// Whether `request` is one that `stored` may answer without being asked for.
pub fn matches(stored: &Stored, request: &Request) -> Tri {
    let by_first = fits(&stored.fields, &stored.request, request);
    match &stored.validated_by {
        None => by_first,
        // The request that it was stored for, or the one that it was last found good for.
        Some(other) if fits(&stored.fields, other, request) == by_first => by_first,
        Some(_) => Tri::May,
    }
}

/// Equal as far as a cache must see; for replacing.
pub fn same_values(names: &[String], a: &Request, b: &Request) -> bool {
    names.iter().all(|name| name == "*" || same(name, &a.fields, &b.fields) == Tri::Yes)
}

fn fits(response: &Fields, original: &Request, presented: &Request) -> Tri {
    let mut result = Tri::Yes;
    for name in response.members("vary") {
        if name == "*" {
            return Tri::No;
        }
        if !is_token(&name) {
            // Nothing is known of what was meant: it need not match.
            result = result & Tri::May;
            continue;
        }
        result = result & same(&name.to_ascii_lowercase(), &original.fields, &presented.fields);
    }
    result
}

fn same(name: &str, a: &Fields, b: &Fields) -> Tri {
    let (Some(a), Some(b)) = (a.combined(name), b.combined(name)) else {
        return Tri::from(a.has(name) == b.has(name));
    };
    if a == b {
        return Tri::Yes;
    }
    // Whitespace around commas, in any field (Behaviour 22); a comma may stand in a quoted string.
    let plain = |text: &str| {
        let text = text.split(',').map(trim).collect::<Vec<_>>().join(",");
        // Letter case says nothing in a language range (Behaviour 22).
        if name == "accept-language" { text.to_ascii_lowercase() } else { text }
    };
    if plain(&a) == plain(&b) {
        return Tri::Yes.unless_odd(a.contains('"') || b.contains('"'));
    }
    if meaning(name, &a) == meaning(name, &b) { Tri::May } else { Tri::No }
}

/// Values of equal meaning are equal here. A cache may know that, or not.
fn meaning(name: &str, value: &str) -> Vec<String> {
    let members = value.split(',').map(trim).filter(|m| !m.is_empty());
    if !name.starts_with("accept") {
        return members.map(str::to_string).collect();
    }
    let squeeze = |member: &str| {
        let member: String = member.chars().filter(|c| !" \t".contains(*c)).collect();
        let member = member.to_ascii_lowercase();
        let (head, q) = member.split_once(";q=").unwrap_or((&member, "1"));
        match q.parse::<f64>() {
            Ok(0.0) => format!("{head};no"),
            // A set of codings, whatever their weights.
            Ok(_) if name == "accept-encoding" => head.to_string(),
            Ok(q) => format!("{head};{q}"),
            Err(_) => member.clone(),
        }
    };
    let mut members: Vec<String> = members.map(squeeze).collect();
    if name == "accept-encoding" {
        members.retain(|m| !m.ends_with(";no") && m != "identity");
    }
    members.sort();
    members.dedup();
    members
}
