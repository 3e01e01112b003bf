//! The representation of an event on systems with epoll: the `struct epoll_event` of epoll_wait(2).

use std::mem::offset_of;

use selectors_sys::epoll::epoll_event;

use crate::{Readiness, Token};

/// A token and a readiness.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Record {
    events: u32,
    token: Halves,
}

const _: () = {
    assert!(size_of::<Record>() == size_of::<epoll_event>());
    assert!(align_of::<Record>() >= align_of::<epoll_event>());
    assert!(offset_of!(Record, events) == offset_of!(epoll_event, events));
    assert!(offset_of!(Record, token) == offset_of!(epoll_event, u64));
};

/// The `u64` of an `epoll_event`, in halves, so that the slot alone, or readiness and generation
/// together, take one load.
#[derive(Clone, Copy)]
#[repr(C)]
struct Halves {
    halves: [u32; 2],
    aligned: [epoll_event; 0],
}

/// Which of the halves is the upper one.
const UPPER: usize = cfg!(target_endian = "little") as usize;

impl Record {
    #[inline]
    pub(crate) const fn new(token: Token, readiness: Readiness) -> Self {
        let mut halves = [0; 2];
        halves[UPPER] = token.slot();
        halves[1 - UPPER] = token.generation();
        Self { events: readiness.bits(), token: Halves { halves, aligned: [] } }
    }

    #[inline]
    pub(crate) const fn token(self) -> Token {
        Token::new(self.token.halves[UPPER], self.token.halves[1 - UPPER])
    }

    #[inline]
    pub(crate) const fn readiness(self) -> Readiness {
        Readiness::from_bits_retain(self.events)
    }
}
