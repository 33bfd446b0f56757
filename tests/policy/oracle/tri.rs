use std::ops::{BitAnd, BitOr, Not};

/// What the text says of an action: it must be, it must not be, or it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tri {
    No,
    May,
    Yes,
}

use self::Tri::{May, No, Yes};

impl Tri {
    /// Whether `done` agrees with it.
    pub fn allows(self, done: bool) -> bool {
        self == May || (self == Yes) == done
    }

    /// `self`, but where the input is odd, the safe answer is allowed too.
    pub fn unless_odd(self, odd: bool) -> Tri {
        if odd && self == Yes { May } else { self }
    }
}

impl From<bool> for Tri {
    fn from(value: bool) -> Tri {
        if value { Yes } else { No }
    }
}

impl BitAnd for Tri {
    type Output = Tri;

    fn bitand(self, other: Tri) -> Tri {
        match (self, other) {
            (No, _) | (_, No) => No,
            (Yes, Yes) => Yes,
            _ => May,
        }
    }
}

impl BitOr for Tri {
    type Output = Tri;

    fn bitor(self, other: Tri) -> Tri {
        match (self, other) {
            (Yes, _) | (_, Yes) => Yes,
            (No, No) => No,
            _ => May,
        }
    }
}

impl Not for Tri {
    type Output = Tri;

    fn not(self) -> Tri {
        match self {
            No => Yes,
            May => May,
            Yes => No,
        }
    }
}
