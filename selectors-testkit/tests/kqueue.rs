//! The conformance suite over kqueue on Linux: over the emulation, or over what
//! `SELECTORS_KQUEUE_LIB` names.

use selectors::backend::Kqueue;

selectors_testkit::conformance_tests!(kqueue, Kqueue::new);
