use std::{fmt, sync::Arc};

use crate::Purge;
#[cfg(feature = "json")]
use crate::{Error, purge::json};

/// A purge on its way to other caches: what, and as which message of whom.
///
/// It may also come from a process that is no cache, and has no number then: it is applied as often as
/// it comes, which does no harm.
#[derive(Clone, Debug, PartialEq)]
pub struct PurgeMessage {
    // Each follower gets the same.
    purge: Arc<Purge>,
    sender: Option<Sender>,
}

/// Who, and the how many-th message of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) node: u128,
    pub(super) seq: u64,
}

impl PurgeMessage {
    /// Of somebody who does not number his messages.
    pub fn new(purge: Purge) -> Self {
        Self { purge: Arc::new(purge), sender: None }
    }

    /// The message `seq` of a node. A node is a random number, and a new one with each start; it counts
    /// from 1.
    pub fn from_node(purge: Purge, node: u128, seq: u64) -> Self {
        Self { purge: Arc::new(purge), sender: Some(Sender { node, seq }) }
    }

    /// What is purged.
    pub fn purge(&self) -> &Purge {
        &self.purge
    }

    /// Of which node it is, if it is numbered.
    pub fn node(&self) -> Option<u128> {
        self.sender.map(|sender| sender.node)
    }

    /// The how many-th of its node's it is, if it is numbered.
    pub fn seq(&self) -> Option<u64> {
        self.sender.map(|sender| sender.seq)
    }

    pub(super) fn sender(&self) -> Option<Sender> {
        self.sender
    }

    pub(super) fn into_purge(self) -> Purge {
        Arc::unwrap_or_clone(self.purge)
    }
}

#[cfg(feature = "json")]
impl PurgeMessage {
    /// This message as one line of JSON: the purge's [object](Purge::to_json) with `node` (32
    /// hexadecimal digits) and `seq` beside it, if it is numbered.
    ///
    /// ```json
    /// {"node": "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "seq": 7, "tag": "reports"}
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Purge::to_json`].
    pub fn to_json(&self) -> Result<String, Error> {
        let mut object = self.purge.to_object()?;
        if let Some(Sender { node, seq }) = self.sender {
            object.insert("node".to_owned(), format!("{node:032x}").into());
            object.insert("seq".to_owned(), seq.into());
        }
        Ok(serde_json::Value::Object(object).to_string())
    }

    /// Reads such a line. One without `node` and `seq` is of somebody who does not number his messages.
    ///
    /// # Errors
    ///
    /// With a sentence about what is wrong ([`Error::is_invalid`]).
    pub fn from_json(line: &str) -> Result<Self, Error> {
        let mut object = json::parse_object(line)?;
        let sender = match (object.remove("node"), object.remove("seq")) {
            (None, None) => None,
            (Some(node), Some(seq)) => Some(Sender::read(&node, &seq).ok_or_else(|| {
                Error::invalid("`node` takes 32 hexadecimal digits, and `seq` a number from 1")
            })?),
            _ => return Err(Error::invalid("`node` and `seq` go together")),
        };
        Ok(Self { purge: Arc::new(Purge::from_object(object)?), sender })
    }
}

#[cfg(feature = "json")]
impl Sender {
    fn read(node: &serde_json::Value, seq: &serde_json::Value) -> Option<Self> {
        let digits = node.as_str().filter(|node| node.len() == 32 && !node.starts_with('+'))?;
        let seq = seq.as_u64().filter(|seq| *seq > 0)?;
        Some(Self { node: u128::from_str_radix(digits, 16).ok()?, seq })
    }
}

impl From<Purge> for PurgeMessage {
    fn from(purge: Purge) -> Self {
        Self::new(purge)
    }
}

impl fmt::Display for PurgeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.purge.fmt(f)?;
        match self.sender {
            Some(Sender { node, seq }) => write!(f, ", message {seq} of {node:032x}"),
            None => Ok(()),
        }
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    /// Scenario 0.6: one line each, which any process can write.
    #[test]
    fn a_message_is_a_line() {
        let message = PurgeMessage::from_node(Purge::tag("site-1"), 0xabc, 7);
        let line = message.to_json().unwrap();
        assert_eq!(line, r#"{"node":"00000000000000000000000000000abc","seq":7,"tag":"site-1"}"#);
        assert_eq!(PurgeMessage::from_json(&line).unwrap(), message);
        let by_hand = PurgeMessage::from_json(r#"{"tag":"site-1"}"#).unwrap();
        assert_eq!((by_hand.node(), by_hand.seq()), (None, None));
        assert_eq!(by_hand.purge(), &Purge::tag("site-1"));
        for wrong in [
            r#"{"tag":"a","seq":1}"#,
            r#"{"tag":"a","node":"00000000000000000000000000000abc"}"#,
            r#"{"tag":"a","node":"abc","seq":1}"#,
            r#"{"tag":"a","node":"+0000000000000000000000000000abc","seq":1}"#,
            r#"{"tag":"a","node":"00000000000000000000000000000abc","seq":0}"#,
            r#"{"tag":"a","node":"00000000000000000000000000000abc","seq":-1}"#,
            r#"{"tga":"a"}"#,
        ] {
            assert!(PurgeMessage::from_json(wrong).unwrap_err().is_invalid(), "{wrong}");
        }
    }
}
