use std::fmt;

/// Milliseconds, since 1970 or between two times.
pub type Millis = i64;

/// Field lines as they came, names in lower case, values as Latin-1.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, String)>);

#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Absolute.
    pub uri: String,
    pub fields: Fields,
}

#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        self.0.iter().try_for_each(|(name, value)| write!(f, " {name}: {value} |"))?;
        f.write_str("}")
    }
}

impl Fields {
    pub fn lines(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| trim(v)).collect()
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// RFC 9110 §5.2: the lines joined by a comma.
    pub fn combined(&self, name: &str) -> Option<String> {
        self.has(name).then(|| self.lines(name).join(", "))
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| n != name);
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.0.push((name.to_string(), value.into()));
    }

    /// The same fields, whatever the order of different names.
    pub fn same_as(&self, other: &Fields) -> bool {
        self.names() == other.names()
            && self.names().iter().all(|name| self.lines(name) == other.lines(name))
    }

    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|(n, _)| n.clone()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The members of a list without quoted strings in it, empty ones left out (RFC 9110 §5.6.1).
    pub fn members(&self, name: &str) -> Vec<String> {
        let all = self.combined(name).unwrap_or_default();
        all.split(',').map(trim).filter(|m| !m.is_empty()).map(str::to_string).collect()
    }
}

/// RFC 9110 §5.6.3.
pub fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// RFC 9110 §5.6.2.
pub fn is_tchar(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

pub fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_tchar)
}
