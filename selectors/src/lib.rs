//! High-level I/O readiness multiplexing, after the design of Python's [`selectors`] module: one
//! small API over epoll, kqueue, /dev/poll, poll and select.
//!
//! A complete echo server:
//!
#![doc = concat!("```no_run\n", include_str!("front_page.rs"), "```")]
//!
//! The [`guide`] teaches the loop's steps one by one.
//!
//! # The idea
//!
//! A [`Selector`] owns each file object and its data from [`register`](Selector::register) to
//! [`unregister`](Selector::unregister). So a watched descriptor cannot be closed by accident,
//! registering needs no `unsafe`, and no stale event can reach a new source.
//!
//! A [`Selector`] belongs to one thread at a time. Where others register, modify and unregister
//! while one waits there is [`SharedSelector`]: see there which of the two to take.
//!
//! # Coming from Python
//!
//! | Python | here |
//! |---|---|
//! | `DefaultSelector()`, `EpollSelector()`, `KqueueSelector()`, `DevpollSelector()`, `PollSelector()`, `SelectSelector()` | [`DefaultSelector`], `EpollSelector`, `KqueueSelector`, `DevpollSelector`, `PollSelector`, [`SelectSelector`]: all that the platform supports are available side by side |
//! | `BaseSelector` | code that is generic over `B:` [`Backend`]; [`AnySelector`] when the backend is chosen at run time |
//! | `EVENT_READ \| EVENT_WRITE` | [`Interest::READ`]` \| `[`Interest::WRITE`], and [`Interest::PRIORITY`] |
//! | `register(fileobj, events, data)` | [`Selector::register`]; a [`RegisterError`] gives both back |
//! | `unregister(fileobj)` | [`Selector::unregister`], which gives both back |
//! | `modify(fileobj, events, data)` | [`Selector::modify`]; the data through [`Selector::get_mut`] |
//! | `select(timeout)` | [`Selector::select`]; [`Selector::select_into`] allocates nothing |
//! | `SelectorKey(fileobj, fd, events, data)` | [`SelectorKey`] from [`Selector::get`], [`SelectorKeyMut`] from [`Selector::get_mut`] |
//! | `get_key(fileobj)` | [`Selector::get_key`], [`Selector::token_of`] |
//! | `get_map()` | [`Selector::iter`], [`Selector::len`], [`Selector::contains`] |
//! | `fileno()` | `AsFd` and `AsRawFd` of `EpollSelector`, `KqueueSelector` and `DevpollSelector` |
//! | `close()`, `with` | `Drop`; [`Selector::close`] hands everything back |
//! | ValueError, KeyError, OSError | [`Error`], which turns into [`std::io::Error`] |
//!
//! What Python's module does not have: [`Mode`]s other than level-triggered, a [`Waker`],
//! generation-checked [`Token`]s, deferred changes ([`DeferredSelector`]), spinning
//! ([`Selector::set_spin`]), timeouts at the resolution of the kernel, regular files with epoll, and one
//! closed descriptor that does not fail a whole select(2).
//!
//! [`selectors`]: https://docs.python.org/3/library/selectors.html
#![cfg_attr(docsrs, feature(doc_cfg), doc(auto_cfg = false))]
#![deny(unsafe_code)]

#[expect(unsafe_code, reason = "system calls")]
pub mod backend;
pub mod guide;

mod error;
mod event;
mod ghosts;
mod growth;
mod index;
mod interest;
mod iter;
mod key;
mod registry;
mod selector;
mod shared;
mod spin;
mod sync;
mod timeout;
mod token;
mod waker;

pub use backend::aliases::*;
pub use backend::{Backend, BackendKind, Capabilities};
pub use error::{Error, RegisterError, Result};
pub use event::{Event, Events, Readiness};
pub use interest::{Interest, Mode, Watch};
pub use iter::{Iter, IterMut};
pub use key::{SelectorKey, SelectorKeyMut};
pub use selector::Selector;
pub use shared::{Registrar, SharedSelector, Source};
pub use token::Token;
pub use waker::Waker;
