//! Cache-Control (RFC 9111 §5.2), in requests and in responses.

use super::{
    message::{Fields, is_tchar, is_token, trim},
    tri::Tri,
};

/// The directives of all lines of a field section.
pub struct Directives {
    all: Vec<(String, Argument)>,
    /// Something in it is not of the grammar: the safe answer is as good as the literal one.
    pub odd: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Argument {
    None,
    Token(String),
    Quoted(String),
    /// Of a member that is not of the grammar.
    Broken,
}

/// What `no-cache` and `private` speak of.
#[derive(Debug, PartialEq)]
pub enum Reach {
    Nothing,
    /// The listed fields.
    Fields(Vec<String>),
    /// The listed fields; to take it for the whole response is allowed too.
    FieldsOrAll(Vec<String>),
    All,
}

/// A lifetime: seconds, or what Decision 9 takes for zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seconds {
    Absent,
    Valid(i64),
    Invalid,
}

impl Directives {
    pub fn of(fields: &Fields) -> Directives {
        let mut found = Directives { all: Vec::new(), odd: false };
        for line in fields.lines("cache-control") {
            for member in split(line) {
                match directive(&member) {
                    Some(directive) => found.all.push(directive),
                    None => {
                        found.odd = true;
                        found.all.push((first_word(&member), Argument::Broken));
                    }
                }
            }
        }
        found
    }

    /// Whether a restriction is there; an argument that it should not have takes nothing back
    /// (Decision 9).
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|(n, _)| n == name)
    }

    /// Whether a permission is there. One with an argument need not be believed.
    pub fn permits(&self, name: &str) -> Tri {
        let mut found = Tri::No;
        for (n, argument) in &self.all {
            if n == name && *argument != Argument::Broken {
                let plain = *argument == Argument::None;
                found = found | if plain { Tri::Yes } else { Tri::May };
            }
        }
        found.unless_odd(self.odd)
    }

    /// RFC 9111 §5.2.2.4, §5.2.2.7. Broken, empty or unqualified anywhere: all of it (Decision 9).
    pub fn reach(&self, name: &str) -> Reach {
        let (mut names, mut found, mut literal) = (Vec::new(), false, true);
        for (n, argument) in &self.all {
            if n != name {
                continue;
            }
            found = true;
            let (Argument::Token(list) | Argument::Quoted(list)) = argument else {
                return Reach::All;
            };
            // "A sender SHOULD NOT generate the token form."
            literal &= matches!(argument, Argument::Quoted(_));
            let mut listed = 0;
            for name in list.split(',').map(trim).filter(|name| !name.is_empty()) {
                if !is_token(name) {
                    return Reach::All;
                }
                names.push(name.to_ascii_lowercase());
                listed += 1;
            }
            if listed == 0 {
                return Reach::All;
            }
        }
        match (found, literal && !self.odd) {
            (false, _) => Reach::Nothing,
            (true, true) => Reach::Fields(names),
            (true, false) => Reach::FieldsOrAll(names),
        }
    }

    /// RFC 9111 §1.2.2; equal ones count once, different ones and malformed ones are stale
    /// (Decision 9).
    pub fn seconds(&self, name: &str) -> Seconds {
        let mut found = Seconds::Absent;
        for (n, argument) in &self.all {
            if n != name {
                continue;
            }
            let value = match argument {
                Argument::Token(text) | Argument::Quoted(text) => delta_seconds(text),
                _ => None,
            };
            found = match (found, value) {
                (Seconds::Absent, Some(value)) => Seconds::Valid(value),
                (Seconds::Valid(before), Some(value)) if before == value => found,
                _ => Seconds::Invalid,
            };
        }
        found
    }

    /// RFC 5861 §3, §4: how long a stale response may be used, from the least to the most that can
    /// be read in it.
    pub fn window(&self, name: &str) -> (i64, i64) {
        match self.seconds(name) {
            Seconds::Absent => (0, 0),
            Seconds::Valid(seconds) if self.odd => (0, seconds * 1000),
            Seconds::Valid(seconds) => (seconds * 1000, seconds * 1000),
            Seconds::Invalid => {
                // Of different ones the least; one that is malformed permits nothing.
                let value = |argument: &Argument| match argument {
                    Argument::Token(text) | Argument::Quoted(text) => delta_seconds(text),
                    _ => None,
                };
                let all = self.all.iter().filter(|(n, _)| n == name);
                let least = all.map(|(_, argument)| value(argument).unwrap_or(0)).min();
                (0, least.unwrap_or(0) * 1000)
            }
        }
    }

    /// Whether `name` stands there without an argument.
    pub fn is_bare(&self, name: &str) -> bool {
        self.all.contains(&(name.to_string(), Argument::None))
    }

    pub fn is_always_bare(&self, name: &str) -> bool {
        self.all.iter().filter(|(n, _)| n == name).all(|(_, a)| *a == Argument::None)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn count(&self, name: &str) -> usize {
        self.all.iter().filter(|(n, _)| n == name).count()
    }
}

/// Digits only; what does not fit is 2^31.
pub fn delta_seconds(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse::<i64>().unwrap_or(i64::MAX).min(1 << 31))
}

/// Members between commas; a comma inside a quoted string parts nothing.
fn split(line: &str) -> Vec<String> {
    let (mut members, mut member) = (Vec::new(), String::new());
    let (mut quoted, mut escaped) = (false, false);
    for c in line.chars() {
        if c == ',' && !quoted {
            members.push(std::mem::take(&mut member));
            continue;
        }
        member.push(c);
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
    }
    members.push(member);
    members.iter().map(|m| trim(m).to_string()).filter(|m| !m.is_empty()).collect()
}

/// `token [ "=" ( token / quoted-string ) ]`
fn directive(member: &str) -> Option<(String, Argument)> {
    let (name, argument) = match member.split_once('=') {
        None => (member, Argument::None),
        Some((name, text)) if is_token(text) => (name, Argument::Token(text.to_string())),
        Some((name, text)) => (name, Argument::Quoted(unquote(text)?)),
    };
    is_token(name).then(|| (name.to_ascii_lowercase(), argument))
}

/// RFC 9110 §5.6.4.
fn unquote(text: &str) -> Option<String> {
    let mut chars = text.strip_prefix('"')?.chars();
    let mut inside = String::new();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(inside),
            '\\' => inside.push(chars.next()?),
            c => inside.push(c),
        }
    }
}

/// The first thing in a broken member that could be a name.
fn first_word(member: &str) -> String {
    let word = member.chars().skip_while(|c| !is_tchar(*c)).take_while(|c| is_tchar(*c));
    word.collect::<String>().to_ascii_lowercase()
}
