//! Translates between the flags of kqueue(2) and the types of this crate.

use std::ffi::c_void;
use std::ptr;

use selectors_sys::kqueue as sys;

use crate::backend::RawSource;
use crate::index::DescriptorMap;
use crate::{Mode, Readiness, Token};

/// Whether a token fits into the user data of an event, which is as wide as a pointer.
pub(super) const TOKEN_FITS: bool = size_of::<*mut c_void>() >= size_of::<u64>();

/// The tokens of the sources, by descriptor, where a pointer has no room for them: 32-bit
/// systems. Elsewhere empty, and never looked at.
#[derive(Debug, Default)]
pub(super) struct Tokens(DescriptorMap<Token>);

impl Tokens {
    pub(super) fn insert(&mut self, fd: RawSource, token: Token) {
        if !TOKEN_FITS {
            self.0.insert(fd, token);
        }
    }

    pub(super) fn remove(&mut self, fd: RawSource) {
        if !TOKEN_FITS {
            self.0.remove(fd);
        }
    }

    /// Whose event it is.
    #[inline]
    pub(super) fn of(&self, event: &sys::kevent) -> Option<Token> {
        if TOKEN_FITS {
            return Some(Token::from_bits(event.udata.addr() as u64));
        }
        if event.filter == sys::EVFILT_USER {
            return Some(Token::WAKER);
        }
        let token: Token = self.0.get(RawSource::try_from(event.ident).ok()?)?;
        // What was queued for another source with that number is not for this one.
        (to_udata(token) == event.udata).then_some(token)
    }
}

pub(super) fn no_event() -> sys::kevent {
    sys::EV_SET(0, sys::EVFILT_READ, 0, 0, 0, ptr::null_mut())
}

/// The token as user data, or as much of it as there is room for.
pub(super) fn to_udata(token: Token) -> *mut c_void {
    #[expect(clippy::cast_possible_truncation, reason = "see TOKEN_FITS")]
    ptr::without_provenance_mut(token.to_bits() as usize)
}

/// One-shot is not `EV_ONESHOT`: FreeBSD, NetBSD, OpenBSD and DragonFly report such a filter
/// without asking it again, though it has been idle for long, and drop it. They ask one with
/// `EV_DISPATCH`, which every one of these systems has.
pub(super) fn to_kqueue(mode: Mode) -> sys::Flags {
    match mode {
        Mode::Level | Mode::Exclusive => 0,
        Mode::OneShot => sys::EV_DISPATCH,
        Mode::Edge => sys::EV_CLEAR,
    }
}

/// Whether the kernel has dropped the filter of a level-triggered source, which reports no more:
/// nobody asks for `EV_ONESHOT` here.
#[inline]
pub(super) fn is_dropped(event: &sys::kevent) -> bool {
    event.flags & (sys::EV_ONESHOT | sys::EV_CLEAR | sys::EV_DISPATCH) == sys::EV_ONESHOT
}

#[inline]
pub(super) fn from_kqueue(event: &sys::kevent) -> Readiness {
    let eof = event.flags & sys::EV_EOF != 0;
    let mut readiness = Readiness::empty();
    if event.filter == sys::EVFILT_READ {
        readiness |= Readiness::READ;
        readiness.set(Readiness::READ_CLOSED, eof);
    } else if event.filter == sys::EVFILT_WRITE {
        readiness |= Readiness::WRITE;
    }
    // A socket's error comes with EV_EOF, in the filter's flags.
    let failed = event.flags & sys::EV_ERROR != 0 || eof && event.fflags != 0;
    readiness.set(Readiness::ERROR, failed);
    readiness
}
