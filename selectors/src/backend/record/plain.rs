//! The representation of an event on systems without epoll.

use crate::{Readiness, Token};

/// A token and a readiness.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    token: Token,
    readiness: Readiness,
}

impl Record {
    #[inline]
    pub(crate) const fn new(token: Token, readiness: Readiness) -> Self {
        Self { token, readiness }
    }

    #[inline]
    pub(crate) const fn token(self) -> Token {
        self.token
    }

    #[inline]
    pub(crate) const fn readiness(self) -> Readiness {
        self.readiness
    }
}
