//! Bytes that were made to deceive, through every parser that the wire reaches, and whole exchanges
//! through the layer itself: what must hold whatever comes.
//!
//! `LARDER_FUZZ_SECONDS=1800 cargo test --release --all-features --test policy fuzz -- --nocapture`
//! runs for so long, all targets in turn on one thread, and says how often each ran. `LARDER_SEED` says
//! where the numbers come from, and `LARDER_FUZZ_CASE` runs one case alone.

#[cfg(feature = "memory")]
mod exchanges;
mod fields;
#[path = "../../storage/fuzz/mutate.rs"]
mod mutate;
#[cfg(feature = "disk")]
mod records;
#[allow(dead_code, reason = "the storage tests use the rest")]
#[cfg(feature = "disk")]
#[path = "../../storage/fuzz/seal.rs"]
mod seal;
mod structured;
mod text;

#[cfg(feature = "memory")]
use std::sync::atomic::Ordering;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use self::mutate::Numbers;
use super::setting;

/// A kind of input, and what must hold of each.
type Target = (&'static str, fn(&mut Numbers) -> Result<(), String>);

const TARGETS: &[Target] = &[
    ("directives", fields::directives),
    ("dates", fields::dates),
    ("ranges", fields::ranges),
    ("structured fields", structured::lists),
    ("targeted fields", structured::targeted),
    ("entity tags", fields::entity_tags),
    ("whole heads", fields::heads),
    #[cfg(feature = "disk")]
    ("stored heads", records::heads),
    #[cfg(feature = "memory")]
    ("exchanges", exchanges::exchange),
];

/// Behaviours 12, 15 and 36; RFC 9111 §5.1, §5.2.2.5, §5.2.2.7; scenario 4.8: nothing is stored after
/// `no-store`, `Age` is never below the truth, nothing private is served to another, decoding allocates
/// at most four times its input and 4 KiB, and nothing panics.
#[test]
fn whatever_comes_the_rules_hold() {
    let (cases, seconds) = (setting("LARDER_FUZZ", 2_000), setting("LARDER_FUZZ_SECONDS", 0));
    let each = Duration::from_secs(seconds) / TARGETS.len() as u32;
    let mut failures = Vec::new();
    for (name, check) in TARGETS {
        let began = Instant::now();
        let alone = setting("LARDER_FUZZ_CASE", 0);
        let first = if alone > 0 { alone } else { setting("LARDER_SEED", 9111) << 40 };
        let cases = if alone > 0 { 1 } else { cases };
        let mut count = 0;
        while if seconds == 0 { count < cases } else { began.elapsed() < each } {
            let case = first + count;
            let held = catch_unwind(AssertUnwindSafe(|| check(&mut Numbers::new(case))));
            let problem = match held {
                Ok(Ok(())) => None,
                Ok(Err(problem)) => Some(problem),
                Err(_) => Some("it panicked".to_owned()),
            };
            count += 1;
            if let Some(problem) = problem {
                failures.push(format!("{name}, case {case}: {problem}"));
                break;
            }
        }
        println!("{name}: {count} executions in {:.1} s", began.elapsed().as_secs_f64());
        #[cfg(feature = "memory")]
        if *name == "exchanges" {
            let reused = exchanges::REUSED.load(Ordering::Relaxed);
            println!("{reused} answers were made for somebody else");
            assert!(
                !failures.is_empty() || reused * 4 > count || count == 1,
                "too few to show anything"
            );
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
