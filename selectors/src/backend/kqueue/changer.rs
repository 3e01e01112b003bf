//! Changes by kevent(2) while another thread waits in kevent(2).

use std::io;
use std::sync::Arc;

use nix::errno::Errno;

use super::kind::Kind;
use super::queue::Queue;
use crate::backend::{BorrowedSource, Changer, RawSource, raw};
use crate::{Token, Watch};

#[derive(Debug)]
pub(super) struct KqueueChanger(pub(super) Arc<Queue>);

impl KqueueChanger {
    fn change(
        &self,
        fd: RawSource,
        token: Token,
        old: Option<Watch>,
        new: Option<Watch>,
    ) -> io::Result<()> {
        Ok(self.0.change(fd, token, old, new).map_err(|(error, _)| error)?)
    }
}

impl Changer for KqueueChanger {
    fn register(
        &mut self,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<bool> {
        // A file of another kind may be always ready or need select(2).
        if Kind::of(source)? != Kind::Other || self.0.is_beacon(raw(source)) {
            return Ok(false);
        }
        self.change(raw(source), token, None, Some(watch)).map(|()| true)
    }

    fn modify(&mut self, fd: RawSource, token: Token, old: Watch, new: Watch) -> io::Result<()> {
        if self.0.is_beacon(fd) {
            return Err(Errno::EBADF.into());
        }
        self.change(fd, token, Some(old), Some(new))
    }

    fn unregister(&mut self, fd: RawSource, token: Token, watch: Watch) -> io::Result<()> {
        if self.0.is_beacon(fd) { Ok(()) } else { self.change(fd, token, Some(watch), None) }
    }
}
