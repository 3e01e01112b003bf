//! Raw declarations of the readiness facilities that the [`selectors`] crate is built on: one
//! module per facility, named as its man page.
//!
//! Where the [`libc`] crate declares an item, it is re-exported under its own name; only what is
//! missing there is declared here, with its layout asserted beside it. The man page that each item
//! cites states what a caller must guarantee. Nothing here adds behaviour: ownership, errors, rounding
//! and retries belong to `selectors`.
//!
//! | module | facility | systems |
//! |---|---|---|
//! | `epoll` | epoll(7) | Linux, Android |
//! | `kqueue` | kqueue(2) | the BSDs, macOS, iOS; Linux with the feature `kqueue-provider`, for tests |
//! | `devpoll` | /dev/poll, poll(4D) | illumos, Solaris; Linux with the feature `devpoll-provider`, for tests |
//! | `descriptor` | fcntl(2), fstat(2) | every Unix |
//! | `fork` | pthread_atfork(3) | every Unix |
//! | `poll` | poll(2) | every Unix |
//! | `select` | select(2) | every Unix |
//! | `select` | Winsock's select | Windows |
//!
//! # Examples
//!
//! Asks poll(2) whether standard input is readable now:
//!
//! ```
//! # #[cfg(unix)] {
//! use selectors_sys::poll::{POLLIN, poll, pollfd};
//!
//! let mut stdin = pollfd { fd: 0, events: POLLIN, revents: 0 };
//! // SAFETY: one element, writable during the call.
//! let ready = unsafe { poll(&mut stdin, 1, 0) };
//! println!("{}", if ready > 0 { "readable" } else { "not readable" });
//! # }
//! ```
//!
//! [`selectors`]: https://docs.python.org/3/library/selectors.html

// build.rs lists which targets have which variant.

#[cfg(epoll)]
pub mod epoll;
#[cfg(epoll_x86_64)]
#[path = "linux_call/x86_64.rs"]
mod linux_call;
#[cfg(all(epoll, not(epoll_x86_64)))]
#[path = "linux_call/libc.rs"]
mod linux_call;

#[cfg(kqueue_apple)]
#[path = "kqueue/apple.rs"]
pub mod kqueue;
#[cfg(kqueue_dragonfly)]
#[path = "kqueue/dragonfly.rs"]
pub mod kqueue;
#[cfg(kqueue_freebsd)]
#[path = "kqueue/freebsd.rs"]
pub mod kqueue;
#[cfg(kqueue_netbsd)]
#[path = "kqueue/netbsd.rs"]
pub mod kqueue;
#[cfg(kqueue_openbsd)]
#[path = "kqueue/openbsd.rs"]
pub mod kqueue;
#[cfg(kqueue_provider)]
#[path = "kqueue/provider.rs"]
pub mod kqueue;

#[cfg(devpoll_illumos)]
#[path = "devpoll/illumos.rs"]
pub mod devpoll;
#[cfg(devpoll_solaris)]
#[path = "devpoll/solaris.rs"]
pub mod devpoll;
#[cfg(devpoll_provider)]
#[path = "devpoll/provider.rs"]
pub mod devpoll;

#[cfg(unix)]
pub mod descriptor;
#[cfg(unix)]
pub mod fork;

#[cfg(poll_linux)]
#[path = "poll/linux.rs"]
pub mod poll;
#[cfg(poll_bsd)]
#[path = "poll/bsd.rs"]
pub mod poll;
#[cfg(poll_netbsd)]
#[path = "poll/netbsd.rs"]
pub mod poll;
#[cfg(poll_apple)]
#[path = "poll/apple.rs"]
pub mod poll;
#[cfg(poll_solaris)]
#[path = "poll/solaris.rs"]
pub mod poll;

#[cfg(select_linux)]
#[path = "select/linux.rs"]
pub mod select;
#[cfg(select_long)]
#[path = "select/long.rs"]
pub mod select;
#[cfg(select_u32)]
#[path = "select/u32.rs"]
pub mod select;
#[cfg(select_apple)]
#[path = "select/apple.rs"]
pub mod select;
#[cfg(select_solaris)]
#[path = "select/solaris.rs"]
pub mod select;
#[cfg(select_winsock)]
#[path = "select/winsock.rs"]
pub mod select;
