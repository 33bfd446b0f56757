use std::collections::HashMap;

use super::message::Sender;

/// Which messages have been heard, of each node.
#[derive(Default)]
pub(super) struct Senders {
    heard: HashMap<u128, Heard>,
    ticks: u64,
}

/// The messages from `first` to `last` need not be heard again.
struct Heard {
    first: u64,
    last: u64,
    used: u64,
}

/// What a number says of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Next,
    /// It has come before.
    Known,
    /// Others should have come before.
    Gap,
}

/// A node that is not heard for long is forgotten for a new one.
const MAX_SENDERS: usize = 1024;

impl Senders {
    pub(super) fn hear(&mut self, Sender { node, seq }: Sender) -> News {
        self.ticks += 1;
        let used = self.ticks;
        if !self.heard.contains_key(&node) && self.heard.len() >= MAX_SENDERS {
            let oldest =
                self.heard.iter().min_by_key(|(_, heard)| heard.used).map(|(node, _)| *node);
            oldest.and_then(|oldest| self.heard.remove(&oldest));
        }
        let Some(heard) = self.heard.get_mut(&node) else {
            // What it has published before, this node was not there to hear.
            self.heard.insert(node, Heard { first: seq, last: seq, used });
            return News::Next;
        };
        heard.used = used;
        if (heard.first..=heard.last).contains(&seq) {
            return News::Known;
        }
        let is_beside =
            seq.checked_sub(1) == Some(heard.last) || seq.checked_add(1) == Some(heard.first);
        (heard.first, heard.last) = (heard.first.min(seq), heard.last.max(seq));
        if is_beside { News::Next } else { News::Gap }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hear(senders: &mut Senders, node: u128, seq: u64) -> News {
        senders.hear(Sender { node, seq })
    }

    #[test]
    fn each_node_counts_for_itself() {
        let senders = &mut Senders::default();
        assert_eq!(hear(senders, 1, 5), News::Next);
        assert_eq!(hear(senders, 2, 1), News::Next);
        assert_eq!(hear(senders, 1, 6), News::Next);
        assert_eq!(hear(senders, 1, 5), News::Known);
        assert_eq!(hear(senders, 1, 8), News::Gap);
        assert_eq!(hear(senders, 1, 7), News::Known, "it was made up for");
        assert_eq!(hear(senders, 1, 4), News::Next, "from before the first");
        assert_eq!(hear(senders, 1, 2), News::Gap);
        assert_eq!(hear(senders, 2, 2), News::Next);
    }

    #[test]
    fn nodes_that_come_and_go_take_no_memory() {
        let senders = &mut Senders::default();
        (0..5000).for_each(|node| {
            hear(senders, node, 1);
            hear(senders, 0, u64::try_from(node).unwrap() + 2);
        });
        assert_eq!(senders.heard.len(), MAX_SENDERS);
        assert_eq!(hear(senders, 0, 5001), News::Known, "who is heard is not forgotten");
        for extreme in [0, u64::MAX, 0] {
            hear(senders, 7, extreme);
        }
    }

    proptest! {
        /// In whatever order: each message is applied, or was made up for by taking out everything at
        /// the same time or later.
        #[test]
        fn no_message_is_passed_over(order in proptest::collection::vec(1..12u64, 0..40)) {
            let senders = &mut Senders::default();
            let (mut applied, mut heard): (Vec<u64>, Vec<u64>) = (Vec::new(), Vec::new());
            for seq in order {
                match hear(senders, 1, seq) {
                    News::Next => applied.push(seq),
                    News::Gap => {
                        let (low, high) = (heard.iter().min(), heard.iter().max());
                        let range = *low.unwrap().min(&seq)..=*high.unwrap().max(&seq);
                        applied.extend(range);
                    }
                    News::Known => prop_assert!(applied.contains(&seq), "{seq}"),
                }
                heard.push(seq);
                prop_assert!(heard.iter().all(|seq| applied.contains(seq)));
            }
        }
    }
}
