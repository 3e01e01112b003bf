//! Raw declarations of the readiness facilities that the [`selectors`] crate is built on: one
//! module per facility, named as its man page.
//!
//! Where the [`libc`] crate declares an item, it is re-exported under its own name; only what is
//! missing there is declared here, with its layout asserted beside it. Nothing in this crate is
//! safe to call without the promises of the man page that each item cites, and nothing here
//! adds behaviour: ownership, errors, rounding and retries belong to `selectors`.
//!
//! | module | facility | systems |
//! |---|---|---|
//! | `epoll` | epoll(7) | Linux, Android |
//! | `kqueue` | kqueue(2) | the BSDs, macOS, iOS; Linux with the feature `kqueue-provider`, for tests |
//! | `devpoll` | /dev/poll, poll(4D) | illumos, Solaris; Linux with the feature `devpoll-provider`, for tests |
//! | `fork` | pthread_atfork(3) | every Unix |
//! | `poll` | poll(2) | every Unix |
//! | `select` | select(2) | every Unix |
//! | `select` | Winsock's select | Windows |
//!
//! [`selectors`]: https://docs.python.org/3/library/selectors.html

#[cfg(any(target_os = "linux", target_os = "android"))]
pub mod epoll;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
#[path = "linux_call/x86_64.rs"]
mod linux_call;
#[cfg(any(
    target_os = "android",
    all(target_os = "linux", not(all(target_arch = "x86_64", target_pointer_width = "64")))
))]
#[path = "linux_call/libc.rs"]
mod linux_call;

#[cfg(any(target_vendor = "apple", target_os = "dragonfly"))]
#[path = "kqueue/isize.rs"]
pub mod kqueue;
#[cfg(target_os = "freebsd")]
#[path = "kqueue/freebsd.rs"]
pub mod kqueue;
#[cfg(target_os = "netbsd")]
#[path = "kqueue/netbsd.rs"]
pub mod kqueue;
#[cfg(target_os = "openbsd")]
#[path = "kqueue/openbsd.rs"]
pub mod kqueue;
#[cfg(all(target_os = "linux", feature = "kqueue-provider"))]
#[path = "kqueue/provider.rs"]
pub mod kqueue;

#[cfg(target_os = "illumos")]
#[path = "devpoll/illumos.rs"]
pub mod devpoll;
#[cfg(target_os = "solaris")]
#[path = "devpoll/solaris.rs"]
pub mod devpoll;
#[cfg(all(target_os = "linux", feature = "devpoll-provider"))]
#[path = "devpoll/provider.rs"]
pub mod devpoll;

#[cfg(unix)]
pub mod fork;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "poll/linux.rs"]
pub mod poll;
#[cfg(any(
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd"
))]
#[path = "poll/bsd.rs"]
pub mod poll;
#[cfg(any(target_vendor = "apple", target_os = "illumos", target_os = "solaris"))]
#[path = "poll/posix.rs"]
pub mod poll;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "select/linux.rs"]
pub mod select;
#[cfg(any(target_os = "freebsd", target_os = "dragonfly"))]
#[path = "select/long.rs"]
pub mod select;
#[cfg(any(target_os = "netbsd", target_os = "openbsd"))]
#[path = "select/u32.rs"]
pub mod select;
#[cfg(target_vendor = "apple")]
#[path = "select/apple.rs"]
pub mod select;
#[cfg(any(target_os = "illumos", target_os = "solaris"))]
#[path = "select/solaris.rs"]
pub mod select;
#[cfg(windows)]
#[path = "select/winsock.rs"]
pub mod select;
