//! The representation of an event on systems with epoll: the `struct epoll_event` of epoll_wait(2).

use selectors_sys::epoll::epoll_event;

use crate::{Readiness, Token};

/// A token and a readiness.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Record(epoll_event);

impl Record {
    #[inline]
    pub(crate) const fn new(token: Token, readiness: Readiness) -> Self {
        Self(epoll_event { events: readiness.bits(), u64: token.to_bits() })
    }

    #[inline]
    pub(crate) const fn token(self) -> Token {
        Token::from_bits(self.0.u64)
    }

    #[inline]
    pub(crate) const fn readiness(self) -> Readiness {
        Readiness::from_bits_retain(self.0.events)
    }
}
