//! The suite over every backend of this workspace.
#![cfg(unix)]

use selectors::backend::{Deferred, Poll, Select};

selectors_testkit::conformance_tests!(poll, Poll::new);
selectors_testkit::conformance_tests!(select, Select::new);

#[cfg(any(target_os = "linux", target_os = "android"))]
selectors_testkit::conformance_tests!(epoll, selectors::backend::Epoll::new);

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
selectors_testkit::conformance_tests!(devpoll, selectors::backend::Devpoll::new);

// Deferred changes.
selectors_testkit::conformance_tests!(deferred_poll, || Poll::new().map(Deferred::new));
selectors_testkit::conformance_tests!(deferred_select, || Select::new().map(Deferred::new));

#[cfg(any(target_os = "linux", target_os = "android"))]
selectors_testkit::conformance_tests!(deferred_epoll, || {
    selectors::backend::Epoll::new().map(Deferred::new)
});

selectors_testkit::conformance_tests!(any, || {
    selectors::backend::DefaultBackend::new().map(selectors::backend::AnyBackend::new)
});

// Selectors that other threads change: natively, and through the backend that is lent out.
selectors_testkit::shared_conformance_tests!(shared_poll, Poll::new);
selectors_testkit::shared_conformance_tests!(shared_select, Select::new);

#[cfg(any(target_os = "linux", target_os = "android"))]
selectors_testkit::shared_conformance_tests!(shared_epoll, selectors::backend::Epoll::new);
#[cfg(any(target_os = "linux", target_os = "android"))]
selectors_testkit::shared_conformance_tests!(shared_deferred, || {
    selectors::backend::Epoll::new().map(Deferred::new)
});

#[cfg(any(target_os = "illumos", target_os = "solaris"))]
selectors_testkit::shared_conformance_tests!(shared_devpoll, selectors::backend::Devpoll::new);
