//! The cases that every store must pass, ours or anybody's.
//!
//! Add the crate with the feature `test-suite` to the `dev-dependencies`, and one line to a test:
//!
//! ```
//! use larder::{BoxManager, MemoryManager, storage_suite};
//!
//! storage_suite!(memory, async || MemoryManager::new(1 << 20));
//! storage_suite!(boxed, async || BoxManager::new(MemoryManager::new(1 << 20)));
//! ```
//!
//! Each line makes a module with one `#[test]` for each case. Each case asks the closure for an
//! empty store, some of them for more than one; it should have room for a mebibyte. The cases run
//! on a tokio runtime of one thread if the feature `tokio` is on, else on a small executor that
//! needs no runtime; some start threads. A store that needs anything else calls the case functions
//! of this module itself.
//!
//! What the cases hold a store to are the promises in the documentation of [`storage`](super): a
//! case that fails panics with what it saw.

mod cancelling;
mod committing;
mod compare_and_set;
mod fixture;
mod keys;
mod removal;
mod round_trip;
mod run;
mod threads;
mod variants;
mod walking;

pub use self::{
    cancelling::*, committing::*, compare_and_set::*, keys::*, removal::*, round_trip::*,
    run::block_on, threads::*, variants::*, walking::*,
};

/// Makes a module of tests that holds a store to everything that the layer relies on.
///
/// Takes the module's name and an async closure that makes an empty store. See
/// [`storage::suite`](crate::storage::suite).
#[macro_export]
macro_rules! storage_suite {
    ($name:ident, $make:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            $crate::storage_suite! { @cases $make;
                a_response_comes_back_as_it_was_given
                fields_keep_their_lines_and_octets
                trailers_come_back
                an_empty_body_is_kept
                a_large_body_in_many_chunks_is_kept
                any_status_is_kept
                a_part_stays_a_part
                the_age_goes_on_in_the_store
                clones_are_the_same_store
                a_range_gives_its_bytes
                trailers_follow_the_last_byte_only
                a_body_is_read_as_often_as_one_likes
                a_look_without_waiting_says_the_same
                nothing_is_found_before_the_end
                a_dropped_writer_leaves_nothing
                an_unfinished_put_leaves_what_was_there
                two_writers_never_mix
                the_last_to_finish_wins
                a_head_may_come_with_the_end
                what_is_stored_at_once_is_whole
                what_is_too_large_leaves_what_was_there
                resources_are_kept_apart
                an_empty_store_has_nothing
                another_variant_is_not_nothing
                variants_lie_side_by_side
                a_variant_replaces_only_itself
                absent_is_not_empty
                older_name_sets_are_still_found
                other_variants_are_found_as_others
                who_is_told_apart_selects_its_own
                the_newest_name_set_comes_first
                a_response_without_vary_lies_beside_variants
                too_many_variants_evict_the_oldest
                credentials_are_not_in_the_key
                delete_takes_all_variants
                delete_takes_nothing_else
                what_is_put_after_a_delete_is_found
                delete_refuses_whoever_is_writing
                delete_refuses_the_first_writer
                delete_refuses_nobody_else
                clear_takes_everything
                clear_refuses_whoever_is_writing
                an_open_body_ends_well_or_fails
                update_replaces_the_head_only
                update_of_a_variant_leaves_its_siblings
                update_is_refused_after_another_put
                update_is_refused_after_a_delete
                update_is_refused_after_another_update
                remove_takes_one_entry
                remove_is_refused_for_another_entry
                a_cancelled_put_leaves_nothing
                a_cancelled_write_leaves_nothing
                a_cancelled_finish_is_all_or_nothing
                a_cancelled_change_is_all_or_nothing
                threads_see_whole_responses
                threads_never_see_what_was_deleted
                a_delete_takes_what_is_being_stored_at_once
                a_walk_shows_what_is_there
                what_a_walk_shows_can_be_removed
            }
        }
    };
    (@cases $make:expr; $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::storage::suite::block_on($crate::storage::suite::$case($make));
        }
    )*};
}

#[cfg(test)]
mod tests {
    /// A case that nobody runs would hold nobody to anything.
    #[test]
    fn the_macro_runs_every_case() {
        let sources = [
            include_str!("cancelling.rs"),
            include_str!("committing.rs"),
            include_str!("compare_and_set.rs"),
            include_str!("keys.rs"),
            include_str!("removal.rs"),
            include_str!("round_trip.rs"),
            include_str!("threads.rs"),
            include_str!("variants.rs"),
            include_str!("walking.rs"),
        ];
        let listed = include_str!("mod.rs");
        let names = sources.iter().flat_map(|source| source.split("pub async fn ").skip(1));
        let mut count = 0;
        for name in names.filter_map(|rest| rest.split('<').next()) {
            assert!(listed.lines().any(|line| line.trim() == name), "{name}");
            count += 1;
        }
        assert!(count >= 50, "{count}");
    }
}
