//! Translates between the flags of kqueue(2) and the types of this crate.

use std::ffi::c_void;
use std::ptr;

use selectors_sys::kqueue as sys;

use crate::backend::RawSource;
use crate::index::DescriptorMap;
use crate::{Mode, Readiness, Token};

/// Whether a token fits into the user data of an event, which is as wide as a pointer.
pub(super) const TOKEN_FITS: bool = size_of::<*mut c_void>() >= size_of::<u64>();

/// The tokens of the sources, by descriptor, if they do not fit into user data: on 32-bit systems.
/// Otherwise empty and not used.
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

    /// The token of an event, or `None` if its source is gone.
    #[inline]
    pub(super) fn of(&self, event: &sys::kevent) -> Option<Token> {
        if TOKEN_FITS {
            return Some(Token::from_bits(event.udata.addr() as u64));
        }
        if event.filter == sys::EVFILT_USER {
            return Some(Token::WAKER);
        }
        let token: Token = self.0.get(RawSource::try_from(event.ident).ok()?)?;
        // The event may have been queued for an earlier source with the same number.
        (to_udata(token) == event.udata).then_some(token)
    }
}

pub(super) fn no_event() -> sys::kevent {
    sys::EV_SET(0, sys::EVFILT_READ, 0, 0, 0, ptr::null_mut())
}

/// The user data for a token: its low bits if it does not fit.
pub(super) fn to_udata(token: Token) -> *mut c_void {
    #[expect(clippy::cast_possible_truncation, reason = "see TOKEN_FITS")]
    ptr::without_provenance_mut(token.to_bits() as usize)
}

/// One-shot is not `EV_ONESHOT`: FreeBSD, NetBSD, OpenBSD and DragonFly report and drop such a filter
/// without checking it again, even if it has become idle. They do check one with `EV_DISPATCH`, which
/// all these systems have.
pub(super) fn to_kqueue(mode: Mode) -> sys::Flags {
    match mode {
        Mode::Level | Mode::Exclusive => 0,
        Mode::OneShot => sys::EV_DISPATCH,
        Mode::Edge => sys::EV_CLEAR,
    }
}

/// Returns true if the kernel has dropped the filter: `EV_ONESHOT` was not requested.
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
    // A socket's error is reported with EV_EOF, in the filter's flags.
    let failed = event.flags & sys::EV_ERROR != 0 || eof && event.fflags != 0;
    readiness.set(Readiness::ERROR, failed);
    readiness
}
