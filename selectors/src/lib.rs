//! High-level I/O readiness multiplexing, after the design of Python's [`selectors`] module: one
//! small API over epoll, kqueue, /dev/poll, poll and select.
//!
//! A complete echo server:
//!
#![doc = concat!("```no_run\n", include_str!("front_page.rs"), "```")]
//!
//! The [`guide`] explains the loop step by step.
//!
//! # Ownership
//!
//! A [`Selector`] owns each file object and its data from [`register`](Selector::register) to
//! [`unregister`](Selector::unregister). A watched descriptor therefore cannot be closed by accident,
//! registering needs no `unsafe`, and no stale event can reach a new source.
//!
//! A [`Selector`] is used by one thread at a time. If other threads register, modify and unregister
//! while one waits, use a [`SharedSelector`], whose page compares the two.
//!
//! # Coming from Python
//!
//! | Python | here |
//! |---|---|
//! | `DefaultSelector()`, `EpollSelector()`, `KqueueSelector()`, `DevpollSelector()`, `PollSelector()`, `SelectSelector()` | [`DefaultSelector`], `EpollSelector`, `KqueueSelector`, `DevpollSelector`, `PollSelector`, [`SelectSelector`]: all that the platform supports are available side by side |
//! | `BaseSelector` | code that is generic over `B:` [`Backend`]; [`AnySelector`] if the backend is chosen at run time |
//! | `EVENT_READ \| EVENT_WRITE` | [`Interest::READ`]` \| `[`Interest::WRITE`], and [`Interest::PRIORITY`] |
//! | `register(fileobj, events, data)` | [`Selector::register`]; a [`RegisterError`] returns file object and data |
//! | `unregister(fileobj)` | [`Selector::unregister`], which returns file object and data |
//! | `modify(fileobj, events, data)` | [`Selector::modify`]; the data through [`Selector::get_mut`] |
//! | `select(timeout)` | [`Selector::select`]; [`Selector::select_into`] does not allocate |
//! | `SelectorKey(fileobj, fd, events, data)` | [`SelectorKey`] from [`Selector::get`], [`SelectorKeyMut`] from [`Selector::get_mut`] |
//! | `get_key(fileobj)` | [`Selector::get_key`], [`Selector::token_of`] |
//! | `get_map()` | `&selector`, [`Selector::iter`], [`Selector::len`], [`Selector::contains`] |
//! | `fileno()` | `AsFd` and `AsRawFd` of `EpollSelector`, `KqueueSelector` and `DevpollSelector` |
//! | `close()`, `with` | `Drop`; [`Selector::close`] returns every file object and its data |
//! | ValueError, KeyError, OSError | [`Error`], which converts to [`std::io::Error`] |
//!
//! Beyond Python's module there are [`Mode`]s other than level-triggered, a [`Waker`], [`Token`]s
//! with generations, deferred changes ([`DeferredSelector`]), busy-polling
//! ([`Selector::set_spin`]), timeouts at the resolution of the kernel, and regular files with epoll;
//! and a single closed descriptor does not make select(2) fail.
//!
//! # Crate features
//!
//! None is needed to use the library, and none is enabled by default. Both are for tests on Linux:
//!
//! - `kqueue-provider`: `KqueueSelector`, over a library that exports `kqueue` and `kevent`, such as the
//!   emulation in `selectors-testkit`.
//! - `devpoll-provider`: `DevpollSelector`, over a library that exports the four calls of the device,
//!   such as the emulation in `selectors-testkit`.
//!
//! [`selectors`]: https://docs.python.org/3/library/selectors.html
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg = false))]
#![deny(unsafe_code)]

mod checks;
mod error;
mod event;
mod ghosts;
mod growth;
mod index;
mod interest;
mod iter;
mod key;
mod readiness;
mod registry;
mod selector;
mod shared;
mod spin;
mod sync;
mod timeout;
mod token;
mod wait;
mod waker;

// After `selector`, because rustdoc lists a type's methods in the order of the modules.
mod lookup;

#[expect(unsafe_code, reason = "system calls")]
pub mod backend;
pub mod guide;

pub use backend::aliases::*;
pub use backend::{Backend, BackendKind, Capabilities};
pub use error::{Error, ExtractError, RegisterError, Result};
pub use event::{Event, Events};
pub use interest::{Interest, Mode, Watch};
pub use iter::{Iter, IterMut};
pub use key::{SelectorKey, SelectorKeyMut};
pub use readiness::Readiness;
pub use selector::Selector;
pub use shared::{Registrar, SharedSelector, Source};
pub use token::Token;
pub use waker::Waker;
