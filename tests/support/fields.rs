//! A list of Structured Fields as a strict parser reads it (RFC 9651 §4.2.1), as far as `Cache-Status`
//! may use it: items that are Tokens or Strings, with parameters.

/// An item and its parameters, in their order; a value of `None` is that of a bare key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: Bare,
    pub parameters: Vec<(String, Option<Bare>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bare {
    Token(String),
    Text(String),
    Integer(i64),
}

impl Member {
    pub fn has(&self, key: &str) -> bool {
        self.parameters.iter().any(|(name, _)| name == key)
    }

    pub fn get(&self, key: &str) -> Option<&Bare> {
        self.parameters.iter().find(|(name, _)| name == key)?.1.as_ref()
    }
}

pub fn token(text: &str) -> Bare {
    Bare::Token(text.to_owned())
}

/// The members of all lines of a field. Panics where a parser must fail.
pub fn members<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Vec<Member> {
    let lines: Vec<_> = lines.into_iter().map(|line| std::str::from_utf8(line).unwrap()).collect();
    let text = lines.join(", ");
    let mut rest = text.trim_matches(' ');
    let mut members = Vec::new();
    while !rest.is_empty() {
        let name = bare(&mut rest);
        let mut parameters = Vec::new();
        while let Some(behind) = rest.strip_prefix(';') {
            rest = behind.trim_start_matches(' ');
            let key = take(&mut rest, |c| c.is_ascii_lowercase() || "0123456789_-.*".contains(c));
            assert!(key.starts_with(|c: char| c.is_ascii_lowercase() || c == '*'), "{text}");
            let value = rest.strip_prefix('=').map(|behind| {
                rest = behind;
                bare(&mut rest)
            });
            parameters.push((key, value));
        }
        members.push(Member { name, parameters });
        rest = rest.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            break;
        }
        let behind = rest.strip_prefix(',').unwrap_or_else(|| panic!("{rest:?} in {text:?}"));
        rest = behind.trim_start_matches([' ', '\t']);
        assert!(!rest.is_empty(), "a comma at the end of {text:?}");
    }
    members
}

fn take(rest: &mut &str, is_part: impl Fn(char) -> bool) -> String {
    let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let (taken, behind) = rest.split_at(end);
    *rest = behind;
    taken.to_owned()
}

fn bare(rest: &mut &str) -> Bare {
    match rest.chars().next() {
        Some('"') => {
            let mut value = String::new();
            let mut chars = rest.char_indices().skip(1);
            loop {
                match chars.next() {
                    Some((_, '\\')) => {
                        let escaped = chars.next().map(|(_, c)| c);
                        value.push(escaped.filter(|c| "\"\\".contains(*c)).expect("an escape"));
                    }
                    Some((at, '"')) => {
                        *rest = &rest[at + 1..];
                        return Bare::Text(value);
                    }
                    Some((_, c)) => {
                        assert!((' '..='~').contains(&c), "{c:?} in a string");
                        value.push(c);
                    }
                    None => panic!("a string without an end"),
                }
            }
        }
        Some(c) if c == '-' || c.is_ascii_digit() => {
            let digits = take(rest, |c| c == '-' || c.is_ascii_digit());
            assert!(digits.len() <= 15 && !digits.is_empty());
            Bare::Integer(digits.parse().unwrap())
        }
        Some(c) if c == '*' || c.is_ascii_alphabetic() => Bare::Token(take(rest, |c| {
            c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c)
        })),
        other => panic!("{other:?} begins no item"),
    }
}
