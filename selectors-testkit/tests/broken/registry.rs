//! REG: backends that keep the wrong books.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Mutex;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource, Registered};
use selectors::{Event, Events, Readiness, Token, Watch};
use selectors_testkit::fixtures::{is_open, pipe};

use super::defect::{Beneath, Defect, file, kind_of};

/// Takes sources for the same when they are the same open file.
pub(crate) struct KnowsFilesByInode;

impl Defect for KnowsFilesByInode {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        // Only sockets have an inode each.
        let this = file(source.as_raw_fd()).filter(|_| kind_of(source) == SFlag::S_IFSOCK);
        if this.is_some() && beneath.sources.values().any(|other| file(other.fd) == this) {
            return Err(Errno::EEXIST.into());
        }
        beneath.register(source, token, watch)
    }
}

/// Answers that a closed descriptor is watched, as poll(2) does.
#[derive(Default)]
pub(crate) struct TakesClosed {
    taken: Vec<Token>,
}

impl Defect for TakesClosed {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        match beneath.register(source, token, watch) {
            Err(error) if error.raw_os_error() == Some(Errno::EBADF as i32) => {
                self.taken.push(token);
                Ok(())
            }
            answer => answer,
        }
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        if self.taken.contains(&token) {
            return Ok(());
        }
        beneath.unregister(fd, token)
    }
}

/// Keeps watching for one direction of what it refused to watch.
#[derive(Default)]
pub(crate) struct LeavesHalf {
    left: Vec<(RawSource, Token)>,
}

impl Defect for LeavesHalf {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        let fd = source.as_raw_fd();
        beneath.register(source, token, watch).inspect_err(|_| self.left.push((fd, token)))
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        beneath.wait(events, timeout)?;
        let open = self.left.iter().filter(|(fd, _)| is_open(*fd));
        events.extend(open.map(|&(_, token)| Event::new(token, Readiness::WRITE)));
        Ok(())
    }
}

/// Removes from the middle of its array, and leaves the place of what moved there as it was.
#[derive(Default)]
pub(crate) struct LosesItsPlace {
    array: Vec<(RawSource, Token)>,
    places: BTreeMap<RawSource, usize>,
}

impl Defect for LosesItsPlace {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        self.places.insert(source.as_raw_fd(), self.array.len());
        self.array.push((source.as_raw_fd(), token));
        Ok(())
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, _: Token) -> io::Result<()> {
        let place = self.places.remove(&fd).filter(|&place| place < self.array.len());
        let Some(place) = place else { return Ok(()) };
        let (fd, token) = self.array.swap_remove(place);
        beneath.unregister(fd, token)
    }
}

/// Goes on watching what was unregistered, and says nothing of it.
#[derive(Default)]
pub(crate) struct HidesTheUnregistered {
    hidden: BTreeMap<RawSource, Token>,
}

impl HidesTheUnregistered {
    fn give_up(&mut self, beneath: &mut Beneath, given_up: impl Fn(RawSource) -> bool) {
        self.hidden.retain(|&fd, &mut token| {
            let stays = !given_up(fd);
            stays || beneath.unregister(fd, token).is_err()
        });
    }
}

impl Defect for HidesTheUnregistered {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        self.give_up(beneath, |fd| fd == source.as_raw_fd());
        beneath.register(source, token, watch)
    }

    fn unregister(&mut self, beneath: &mut Beneath, fd: RawSource, token: Token) -> io::Result<()> {
        // As long as it is open, and the same file.
        if !is_open(fd) {
            return beneath.unregister(fd, token);
        }
        self.hidden.insert(fd, token);
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.give_up(beneath, |fd| !is_open(fd));
        let news = beneath.news(timeout)?;
        let hidden: Vec<_> = self.hidden.values().copied().collect();
        events.extend(news.into_iter().filter(|event| !hidden.contains(&event.token())));
        Ok(())
    }
}

/// Tells the token with which a descriptor was registered first.
#[derive(Default)]
pub(crate) struct TellsOldTokens {
    first: BTreeMap<RawSource, Token>,
}

impl Defect for TellsOldTokens {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        self.first.entry(source.as_raw_fd()).or_insert(token);
        Ok(())
    }

    fn wait(
        &mut self,
        beneath: &mut Beneath,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        for event in beneath.news(timeout)? {
            let source = beneath.sources.get(&event.token());
            let first = source.and_then(|source| self.first.get(&source.fd).copied());
            events.push(Event::new(first.unwrap_or(event.token()), event.readiness()));
        }
        Ok(())
    }
}

/// What was leaked: closed by [`free_leaked`] in the end, so that other tests can go on.
static LEAKED: Mutex<Vec<OwnedFd>> = Mutex::new(Vec::new());

pub(crate) fn free_leaked() {
    LEAKED.lock().unwrap().clear();
}

pub(crate) fn leak(fd: OwnedFd) {
    LEAKED.lock().unwrap().push(fd);
}

/// Opens a descriptor and never closes it.
pub(crate) struct Leaks;

impl Leaks {
    pub(crate) fn new() -> Self {
        LEAKED.lock().unwrap().extend(pipe().map(|(reader, _)| reader));
        Self
    }
}

impl Defect for Leaks {}

/// Keeps a duplicate of what it was asked to watch, and forgets to close it.
pub(crate) struct LeaksDuplicates;

impl Defect for LeaksDuplicates {
    fn register(
        &mut self,
        beneath: &mut Beneath,
        source: BorrowedSource<'_>,
        token: Token,
        watch: Watch,
    ) -> io::Result<()> {
        beneath.register(source, token, watch)?;
        LEAKED.lock().unwrap().push(source.try_clone_to_owned()?);
        Ok(())
    }
}

/// Opens a descriptor that other programs inherit.
pub(crate) struct Inheritable {
    _own: Option<OwnedFd>,
}

impl Inheritable {
    pub(crate) fn new() -> Self {
        let own = pipe().ok().map(|(reader, _)| reader);
        if let Some(fd) = &own {
            let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
        }
        Self { _own: own }
    }
}

impl Defect for Inheritable {}

/// Makes its own descriptor one that other programs inherit.
pub(crate) struct InheritableItself;

impl Defect for InheritableItself {
    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        let own = beneath.backend.descriptor();
        if let Some(fd) = &own {
            let _ = fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()));
        }
        own
    }
}

/// Shuts down what it watches when it is dropped.
pub(crate) struct ShutsDown;

impl Defect for ShutsDown {
    fn close(&mut self, beneath: &mut Beneath) {
        for Registered { fd, .. } in beneath.sources.values() {
            selectors_testkit::fixtures::with_raw(*fd, |source| {
                let _ = socket2::SockRef::from(&source.as_fd()).shutdown(std::net::Shutdown::Both);
            });
        }
    }
}

/// Has no descriptor, although it declares that it can be watched.
pub(crate) struct HasNoDescriptor;

impl Defect for HasNoDescriptor {
    fn descriptor<'a>(&'a self, _: &'a Beneath) -> Option<BorrowedSource<'a>> {
        None
    }
}
