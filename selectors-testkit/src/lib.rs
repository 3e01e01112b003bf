//! Conformance tests for backends of the [`selectors`] crate, and test helpers for their users.
//!
//! # Testing a backend
//!
//! For a backend with `impl Backend for Mine`, and `selectors-testkit` among the dev-dependencies,
//! `tests/conformance.rs` is:
//!
//! ```
//! # use selectors::backend::Poll as Mine;
//! selectors_testkit::conformance_tests!(mine, Mine::new);
//! ```
//!
//! This defines one test for each case. Cases are named after the rule of the [`contract`] that they
//! test: `cargo test ready_7` runs those of one rule. A later version of this crate may add cases. A
//! failing case prints the rule, what it did, what it expected and saw, and the usual mistake:
//!
//! ```text
//! wait_3_the_backend_rounds_away_from_zero
//!   WAIT-3: An empty list is not returned before the timeout has expired on the monotonic clock; …
//!   did:      had the backend wait for 1.4ms
//!   expected: a wait of at least 1.4ms
//!   seen:     1.061218ms
//!   usually:  milliseconds are truncated instead of rounded up
//! ```
//!
//! The backend's [`Capabilities`](selectors::Capabilities) declare optional features: a declared one
//! must work, any other must be refused, and both are tested. A case that cannot run on this platform,
//! or within its limits, does not count as passed: the last test of each module,
//! `zz_not_run_is_not_passed`, prints the names and the number of such cases, although the harness hides
//! the output of passing tests. It fails if there are any and the environment variable
//! `SELECTORS_ALL_CASES` is set. [`conformance::run`], which runs all cases without a harness, lists
//! them as [`not_run`](conformance::Report::not_run). If creating a backend fails with an error of
//! [`fixtures::lacking`], because the system lacks the facility, no case can run.
//!
//! A case that does not return within 30 seconds fails by name, with its last step. A case that ends
//! the process is named likewise: one that closes a descriptor twice, at which the standard library
//! aborts, one that accesses invalid memory, and one that overflows the stack.
//!
//! The chapter [`writing_a_backend`] starts from an empty file.
//!
//! # Test helpers
//!
//! - [`fixtures`]: connected pairs, full pipes, peers that reset or vanish, descriptors above
//!   1024, forked holders, storms of signals.
//! - [`scripted`]: a backend whose readiness, errors, interruptions and clock are scripted, to
//!   test an event loop without a kernel.
//! - `kqueue_emulation`, with the feature `kqueue` on Linux: kqueue(2) over epoll(7).
//! - `devpoll_emulation`, with the feature `devpoll` on Linux: /dev/poll over poll(2).
//! - `emulated_faults`, with either: makes calls of the emulations fail.
#![deny(unsafe_code)]
#![allow(
    clippy::missing_const_for_thread_local,
    reason = "reported of const initializers, too, where the system keeps thread locals by keys"
)]

pub mod conformance;
pub mod contract;
#[cfg(all(target_os = "linux", feature = "devpoll", not(external_devpoll)))]
#[expect(unsafe_code, reason = "implements a device with system calls")]
pub mod devpoll_emulation;
#[cfg(any(
    all(target_os = "linux", feature = "devpoll", not(external_devpoll)),
    all(target_os = "linux", feature = "kqueue", not(external_kqueue))
))]
pub mod emulated_faults;
#[expect(unsafe_code, reason = "fork, signals, and descriptors that are closed while borrowed")]
pub mod fixtures;
#[cfg(all(target_os = "linux", feature = "kqueue", not(external_kqueue)))]
#[expect(unsafe_code, reason = "implements kqueue with system calls")]
pub mod kqueue_emulation;
pub mod scripted;
#[doc = include_str!("writing_a_backend.md")]
pub mod writing_a_backend {}

/// Defines a module with a `#[test]` for each case of the suite: see the [crate's
/// documentation](crate).
///
/// The second argument creates a backend: a function or a closure that returns `io::Result<B>` with
/// `B: Backend + Send`.
///
/// # Examples
///
/// ```
/// selectors_testkit::conformance_tests!(poll, selectors::backend::Poll::new);
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($name:ident, $new:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "the name of the backend may be a path")]
            use super::*;
            $crate::for_each_case!($crate::test_each_case, $new;);
        }
    };
}

/// Defines a module with a `#[test]` for each case of the suite for
/// [`SharedSelector`](selectors::SharedSelector). The arguments are those of [`conformance_tests!`], with
/// `B: Backend + Send + 'static`. Not for backends that declare
/// [`deferred`](selectors::Capabilities::deferred), which a `SharedSelector` refuses.
///
/// # Examples
///
/// ```
/// selectors_testkit::shared_conformance_tests!(shared_poll, selectors::backend::Poll::new);
/// ```
#[macro_export]
macro_rules! shared_conformance_tests {
    ($name:ident, $new:expr $(,)?) => {
        mod $name {
            #[allow(unused_imports, reason = "the name of the backend may be a path")]
            use super::*;
            $crate::for_each_shared_case!($crate::test_each_shared_case, $new;);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! test_each_shared_case {
    ($new:expr; $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                let case = ::core::stringify!($case);
                $crate::conformance::Tally::check_shared(::core::module_path!(), case, $new);
            }
        )+)+

        #[test]
        fn zz_not_run_is_not_passed() {
            let cases = $crate::conformance::SHARED_CASES.len();
            $crate::conformance::expect_all_run(::core::module_path!(), cases);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! test_each_case {
    ($new:expr; $($module:ident: $($case:ident)+;)+) => {
        $($(
            #[test]
            fn $case() {
                let case = ::core::stringify!($case);
                $crate::conformance::Tally::check(::core::module_path!(), case, $new);
            }
        )+)+

        #[test]
        fn zz_not_run_is_not_passed() {
            let cases = $crate::conformance::CASES.len();
            $crate::conformance::expect_all_run(::core::module_path!(), cases);
        }
    };
}
