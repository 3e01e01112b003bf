//! Backends: one for each mechanism of the kernel.
//!
//! A program that uses selectors rarely needs this module except to name a backend type. To write a
//! backend of your own, implement [`Backend`], pass it to
//! [`Selector::with_backend`](crate::Selector::with_backend), and run the conformance suite of
//! `selectors-testkit` against it.
//!
//! # Examples
//!
//! A selector over a backend that is named in its type:
//!
//! ```
//! use selectors::backend::Poll;
//! use selectors::{Interest, Selector};
//! use std::os::unix::net::UnixStream;
//!
//! # fn main() -> std::io::Result<()> {
//! let (ours, _theirs) = UnixStream::pair()?;
//! let mut selector: Selector<UnixStream, (), Poll> = Selector::with_backend(Poll::new()?);
//! selector.register(ours, Interest::WRITE, ())?;
//! assert_eq!(selector.select(None)?.len(), 1);
//! # Ok(())
//! # }
//! ```

pub use crate::timeout::{millis_rounded_up, seconds_and_micros_rounded_up, seconds_and_nanos};

// build.rs defines which targets have which facility. First: the descriptor of a source.

#[cfg(unix)]
mod descriptor;
#[cfg(unix)]
use descriptor as source;
#[cfg(windows)]
mod socket;
#[cfg(windows)]
use socket as source;

pub use source::{AsSource, BorrowedSource, RawSource};
pub(crate) use source::{
    AtomicSource, OwnedSource, bad_source, borrow, check_open, is_exhausted, is_open, is_plausible,
    pause, preserve_errno, raw, source,
};

// Detecting a forked child that inherited a selector.

pub(crate) mod generation;

#[cfg(unix)]
pub(crate) mod fork;
#[cfg(windows)]
#[path = "fork/none.rs"]
pub(crate) mod fork;

// The representation of an event.

#[cfg(epoll)]
#[path = "record/epoll.rs"]
mod record;
#[cfg(not(epoll))]
#[path = "record/plain.rs"]
mod record;

pub(crate) use record::Record;

// The channel of wakers.

#[path = "wake/kept.rs"]
mod kept;
#[cfg(all(unix, not(eventfd)))]
#[path = "wake/socketpair.rs"]
mod pair;
#[cfg(windows)]
#[path = "wake/loopback.rs"]
mod pair;
#[cfg(eventfd)]
#[path = "wake/eventfd.rs"]
mod wake;
#[cfg(not(eventfd))]
#[path = "wake/stream.rs"]
mod wake;

pub(crate) use wake::Channel;

// The mechanisms, and code that several of them share.

mod any;
mod boxed;
mod capabilities;
mod change;
mod changer;
mod deferred;
mod interface;
mod kind;
mod platform;
mod registered;

#[cfg(any(epoll, kqueue))]
mod always;
#[cfg(devpoll)]
mod devpoll;
#[cfg(epoll)]
mod epoll;
#[cfg(unix)]
mod file;
#[cfg(kqueue)]
mod kqueue;
#[cfg(any(epoll, kqueue))]
mod lost;
#[cfg(unix)]
mod poll;
#[cfg(unix)]
mod pollfd;
#[cfg(unix)]
mod select;
#[cfg(windows)]
#[path = "select/winsock.rs"]
mod select;

pub use any::AnyBackend;
pub use capabilities::Capabilities;
pub use change::Change;
pub use changer::{AnyChanger, Changer};
pub use deferred::Deferred;
#[cfg(devpoll)]
#[cfg_attr(docsrs, doc(cfg(any(target_os = "illumos", target_os = "solaris"))))]
pub use devpoll::Devpoll;
#[cfg(epoll)]
#[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
pub use epoll::Epoll;
pub use interface::{Backend, Trigger};
pub use kind::{BackendKind, UnknownBackend};
#[cfg(kqueue)]
#[cfg_attr(
    docsrs,
    doc(cfg(any(
        target_vendor = "apple",
        target_os = "dragonfly",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd"
    )))
)]
pub use kqueue::Kqueue;
pub(crate) use platform::INHERITS_DESCRIPTORS;
pub use platform::{DefaultBackend, DefaultSelector};
#[cfg(unix)]
#[cfg_attr(docsrs, doc(cfg(unix)))]
pub use poll::Poll;
pub use registered::Registered;
pub(crate) use registered::{is_lost, open_untaken, register_raw, register_raw_with};
pub use select::Select;

/// The names under which the crate exports its selectors.
pub(crate) mod aliases {
    pub use super::DefaultSelector;
    pub use super::any::AnySelector;
    pub use super::deferred::DeferredSelector;
    #[cfg(devpoll)]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "illumos", target_os = "solaris"))))]
    pub use super::devpoll::DevpollSelector;
    #[cfg(epoll)]
    #[cfg_attr(docsrs, doc(cfg(any(target_os = "linux", target_os = "android"))))]
    pub use super::epoll::EpollSelector;
    #[cfg(kqueue)]
    #[cfg_attr(
        docsrs,
        doc(cfg(any(
            target_vendor = "apple",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd"
        )))
    )]
    pub use super::kqueue::KqueueSelector;
    #[cfg(unix)]
    #[cfg_attr(docsrs, doc(cfg(unix)))]
    pub use super::poll::PollSelector;
    pub use super::select::SelectSelector;
}
