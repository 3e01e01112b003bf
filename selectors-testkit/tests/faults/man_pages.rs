//! The errors that the man pages of the library's calls list, in every operation of every backend.
//!
//! But for those that say something of a descriptor, which is believed: that a source is closed
//! (EBADF of adding one by epoll_ctl(2) and kevent(2)), never blocks (EPERM), is there already
//! (EEXIST) or would be watched in a circle (ELOOP).

use std::io;

use nix::errno::Errno as E;
#[cfg(feature = "devpoll")]
use selectors::backend::Devpoll;
#[cfg(feature = "kqueue")]
use selectors::backend::Kqueue;
use selectors::backend::{Deferred, Epoll, Poll, Select};
use selectors::{Backend, Interest, Token};
#[cfg(any(feature = "devpoll", feature = "kqueue"))]
use selectors_testkit::emulated_faults::Step;

use super::operations::{Errors, each};
use crate::Subject;
use crate::injection::Call;

const EPOLL_ADD: Errors = (Call::EpollAdd, &[E::EINVAL, E::ENOMEM, E::ENOSPC]);
const EPOLL_MODIFY: Errors =
    (Call::EpollModify, &[E::EBADF, E::EINVAL, E::ENOENT, E::ENOMEM, E::EPERM]);
const EPOLL_DELETE: Errors =
    (Call::EpollDelete, &[E::EBADF, E::EINVAL, E::ENOENT, E::ENOMEM, E::EPERM]);
const EPOLL_WAIT: Errors = (Call::EpollWait, &[E::EBADF, E::EFAULT, E::EINTR, E::EINVAL]);
const POLL: Errors = (Call::Poll, &[E::EFAULT, E::EINTR, E::EINVAL, E::ENOMEM]);
/// ENOSYS is that of a sandbox.
const SELECT: Errors = (Call::Select, &[E::EBADF, E::EINTR, E::EINVAL, E::ENOMEM, E::ENOSYS]);
const EVENTFD: Errors = (Call::Eventfd, &[E::EINVAL, E::EMFILE, E::ENFILE, E::ENODEV, E::ENOMEM]);
/// Not EAGAIN: the kernel does not say so of what it has reported to be readable.
const READ: Errors = (Call::Read, &[E::EBADF, E::EFAULT, E::EINTR, E::EINVAL, E::EIO, E::EISDIR]);
const WRITE: Errors = (
    Call::Write,
    &[E::EAGAIN, E::EBADF, E::EFAULT, E::EINTR, E::EINVAL, E::EIO, E::ENOSPC, E::EPERM, E::EPIPE],
);
/// EPERM and ENOSYS are those of a sandbox.
const GET_STATUS: Errors = (Call::GetStatus, &[E::EBADF, E::EPERM, E::ENOSYS]);
const FSTAT: Errors = (Call::Fstat, &[E::EBADF, E::EFAULT, E::EIO, E::ENOMEM, E::EOVERFLOW]);

const OF_EPOLL: [Errors; 8] =
    [EPOLL_ADD, EPOLL_MODIFY, EPOLL_DELETE, EPOLL_WAIT, SELECT, EVENTFD, WRITE, FSTAT];
#[cfg(feature = "kqueue")]
const OF_KQUEUE: [Errors; 7] = [
    (Call::Emulated(Step::Add), &[E::EACCES, E::EINVAL, E::ENOMEM]),
    (Call::Emulated(Step::QueueWait), &[E::EBADF, E::EINTR, E::EINVAL, E::ENOMEM]),
    (Call::Emulated(Step::Trigger), &[E::ENOMEM, E::EINVAL, E::ENOENT]),
    EVENTFD,
    WRITE,
    FSTAT,
    GET_STATUS,
];
/// What the driver returns, and what a source's own driver may.
#[cfg(feature = "devpoll")]
const OF_DEVPOLL: [Errors; 6] = [
    (
        Call::Emulated(Step::Write),
        &[E::EACCES, E::EBADF, E::EFAULT, E::EINTR, E::EINVAL, E::ENOMEM, E::ENXIO],
    ),
    (
        Call::Emulated(Step::DeviceWait),
        &[E::EACCES, E::EBADF, E::EFAULT, E::EINTR, E::EINVAL, E::ENOMEM, E::ENXIO],
    ),
    EVENTFD,
    READ,
    WRITE,
    GET_STATUS,
];

/// A change that fails is undone.
fn undone<B: Backend>(_: &mut Subject<B>, _: Token) {}

/// A deferred change that fails is not: the source is tried again when it is modified.
fn refused<B: Backend>(selector: &mut Subject<Deferred<B>>, token: Token) {
    if selector.backend().refusal(token).is_some() {
        let interest = selector.get(token).expect("it is registered").events;
        selector.modify(token, interest ^ Interest::WRITE).expect("modified");
        selector.modify(token, interest).expect("modified");
    }
}

#[test]
fn wait_12_each_call_of_epoll_fails() -> io::Result<()> {
    each(Epoll::new, &OF_EPOLL, undone)
}

#[test]
fn wait_12_each_call_of_epoll_beneath_deferred_changes_fails() -> io::Result<()> {
    each(|| Epoll::new().map(Deferred::new), &OF_EPOLL, refused)
}

#[test]
fn wait_12_each_call_of_poll_fails() -> io::Result<()> {
    each(Poll::new, &[POLL, SELECT, EVENTFD, READ, WRITE, GET_STATUS], undone)
}

#[test]
fn wait_12_each_call_of_select_fails() -> io::Result<()> {
    each(Select::new, &[SELECT, EVENTFD, READ, WRITE, GET_STATUS], undone)
}

#[cfg(feature = "kqueue")]
#[test]
fn wait_12_each_call_of_kqueue_fails() -> io::Result<()> {
    each(Kqueue::new, &OF_KQUEUE, undone)
}

#[cfg(feature = "kqueue")]
#[test]
fn wait_12_each_call_of_kqueue_beneath_deferred_changes_fails() -> io::Result<()> {
    each(|| Kqueue::new().map(Deferred::new), &OF_KQUEUE, refused)
}

#[cfg(feature = "devpoll")]
#[test]
fn wait_12_each_call_of_devpoll_fails() -> io::Result<()> {
    each(Devpoll::new, &OF_DEVPOLL, undone)
}

#[cfg(feature = "devpoll")]
#[test]
fn wait_12_each_call_of_devpoll_beneath_deferred_changes_fails() -> io::Result<()> {
    each(|| Devpoll::new().map(Deferred::new), &OF_DEVPOLL, refused)
}
