//! The suite over every backend of this workspace.
#![cfg(unix)]

use selectors::backend::{Poll, Select};

selectors_testkit::conformance_tests!(poll, Poll::new);
selectors_testkit::conformance_tests!(select, Select::new);

#[cfg(any(target_os = "linux", target_os = "android"))]
selectors_testkit::conformance_tests!(epoll, selectors::backend::Epoll::new);

// A boxed backend is a backend, too.
selectors_testkit::conformance_tests!(boxed, || -> std::io::Result<Box<dyn selectors::Backend>> {
    Ok(Box::new(Poll::new()?))
});
