//! A second opinion on `larder::policy`: random exchanges, decided by it and by an oracle that was
//! written from RFC 9111 alone.
//!
//! `LARDER_CASES` says how many, `LARDER_SEED` which.

mod alone;
mod citations;
mod compare;
#[cfg(feature = "disk")]
#[path = "../support/counting.rs"]
mod counting;
mod features;
mod fuzz;
mod generate;
mod invariants;
mod oracle;
mod ranges;
mod rules;
#[cfg(feature = "memory")]
#[path = "../support/mod.rs"]
mod support;
mod tape;
#[cfg(feature = "memory")]
mod ways;
mod wire;

use std::cell::RefCell;

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use self::{compare::Tally, tape::Tape};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// Gives `check` so many tapes, and says with the simplest that it can find what fails.
fn run(cases: &str, default: u64, check: impl Fn(&mut Tape) -> Result<(), String>) -> u64 {
    let cases = setting(cases, default);
    let config = Config {
        cases: u32::try_from(cases).unwrap_or(u32::MAX),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&setting("LARDER_SEED", 9111).to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let outcome = TestRunner::new_with_rng(config, rng).run(&vec(any::<u16>(), 0..400), |tape| {
        check(&mut Tape::new(&tape)).map_err(TestCaseError::fail)
    });
    match outcome {
        Ok(()) => cases,
        // The tape itself tells nobody anything.
        Err(TestError::Fail(problem, _)) => panic!("{problem}"),
        Err(problem) => panic!("{problem}"),
    }
}

/// RFC 9111 §3 to §5: what is stored, what answers, what is asked of the origin, what a 304 leaves
/// and what an unsafe method takes away.
#[test]
fn the_policy_agrees_with_the_text() {
    let tally = RefCell::new(Tally::new());
    let cases = run("LARDER_CASES", 20_000, |tape| {
        let case = generate::case(tape);
        compare::run(&case, &mut tally.borrow_mut())
            .map_err(|problem| format!("{problem}\n{case:?}"))
    });
    let tally = tally.into_inner();
    println!("{tally:?}");
    // A run in which it hardly ever happens has shown nothing.
    for what in ["served", "shared", "stored", "freshened", "removed", "invalidated", "504"] {
        let count = tally.get(what).copied().unwrap_or(0);
        assert!(count * 1_000 >= cases, "only {count} times {what}");
    }
    for what in ["part stored", "combined", "completed"] {
        let count = tally.get(what).copied().unwrap_or(0);
        assert!(count * 2_000 >= cases, "only {count} times {what}");
    }
}
