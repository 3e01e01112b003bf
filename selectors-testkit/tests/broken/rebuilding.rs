//! CLOSE-4: backends whose recreated kernel object differs from the old one.

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::stat::SFlag;
use selectors::backend::{BorrowedSource, RawSource, Registered};
use selectors::{Events, Interest, Mode};

use super::defect::{Answer, Beneath, Defect, NOW, Sources};
use super::row::{Row, epoll, rows};
use super::variants::{is_closed, kind};

/// Drops the pending events of the old kernel object.
struct DropsEdges;

impl Defect for DropsEdges {
    fn rebuild(&mut self, beneath: &mut Beneath, sources: Sources<'_>, _: &mut Events) -> Answer {
        beneath.backend.rebuild(sources, &mut Events::new())
    }
}

/// Lets the new kernel object report everything that is ready, including edges.
struct RepeatsEdges;

impl Defect for RepeatsEdges {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let all: Vec<_> = sources.collect();
        beneath.backend.rebuild(&mut all.iter().copied(), events)?;
        for source in &all {
            beneath.backend.modify(source.fd, source.token, source.watch, source.watch)?;
        }
        Ok(())
    }
}

/// Looks at what the new kernel object reports, which disarms one-shot sources.
struct LooksAtTheNew;

impl Defect for LooksAtTheNew {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(sources, events)?;
        beneath.backend.wait(&mut Events::new(), NOW)
    }
}

/// Recreates the kernel object with a difference.
struct RebuildsAs(fn(Registered) -> Registered);

impl Defect for RebuildsAs {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        beneath.backend.rebuild(&mut sources.map(self.0), events)
    }
}

/// Drops one flag of an interest if it has another.
fn without(interest: Interest, mut source: Registered) -> Registered {
    if source.watch.interest != interest {
        source.watch.interest -= interest;
    }
    source
}

fn one_shots_as_level(mut source: Registered) -> Registered {
    if source.watch.mode == Mode::OneShot {
        source.watch.mode = Mode::Level;
    }
    source
}

/// Recreates the kernel object only this many times, with this many sources.
struct Rebuilds {
    times: usize,
    sources: usize,
}

impl Defect for Rebuilds {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        if self.times == 0 {
            return Ok(());
        }
        self.times -= 1;
        beneath.backend.rebuild(&mut sources.take(self.sources), events)
    }
}

/// Fails to recreate the kernel object if the number of a source is that of a regular file.
struct StopsAtAFile;

impl Defect for StopsAtAFile {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let all: Vec<_> = sources.collect();
        if all.iter().any(|source| kind(source.fd) == SFlag::S_IFREG) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        beneath.backend.rebuild(&mut all.into_iter(), events)
    }
}

/// Recreates the kernel object with the sources before the first closed one.
struct StopsAtTheClosed;

impl Defect for StopsAtTheClosed {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let mut open = sources.take_while(|source| !is_closed(source));
        beneath.backend.rebuild(&mut open, events)
    }
}

/// Returns the descriptor of a second instance, which watches the first kernel object only.
struct ShowsTheFirst {
    front: Epoll,
    is_watching: OnceCell<()>,
}

impl ShowsTheFirst {
    fn new() -> Self {
        let front = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("epoll_create1(2)");
        Self { front, is_watching: OnceCell::new() }
    }
}

impl Defect for ShowsTheFirst {
    fn descriptor<'a>(&'a self, beneath: &'a Beneath) -> Option<BorrowedSource<'a>> {
        let object = beneath.backend.descriptor()?;
        self.is_watching.get_or_init(|| {
            let _ = self.front.add(object, EpollEvent::new(EpollFlags::EPOLLIN, 0));
        });
        Some(self.front.0.as_fd())
    }

    fn owns(&self, beneath: &Beneath, fd: RawSource) -> bool {
        self.front.0.as_raw_fd() == fd || beneath.backend.owns(fd)
    }

    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let _ = beneath.backend.descriptor().map(|object| self.front.delete(object));
        beneath.backend.rebuild(sources, events)
    }
}

/// Recreates the kernel object without some sources.
struct RebuildsWithout(fn(Registered) -> bool);

impl Defect for RebuildsWithout {
    fn rebuild(
        &mut self,
        beneath: &mut Beneath,
        sources: Sources<'_>,
        events: &mut Events,
    ) -> Answer {
        let lacks = self.0;
        beneath.backend.rebuild(&mut sources.filter(|source| !lacks(*source)), events)
    }
}

rows! {
    "CLOSE-4" devices_forgotten "recreates the kernel object without character devices"
        epoll RebuildsWithout(|source| kind(source.fd) == SFlag::S_IFCHR) =>
            close_4_a_new_kernel_object_watches_every_kind;
    "CLOSE-4" stops_at_the_closed "recreates the kernel object with the sources before a closed one"
        epoll StopsAtTheClosed =>
            close_4_a_new_kernel_object_skips_closed_sources;
    "CLOSE-4" stops_at_a_file "recreates no kernel object if a source's number is a regular file's"
        epoll StopsAtAFile =>
            close_4_a_new_kernel_object_skips_closed_sources;
    "READY-13" shows_the_first "returns a descriptor of the first kernel object"
        epoll ShowsTheFirst::new() =>
            ready_13_a_selector_can_be_watched_after_a_rebuild;
    "CLOSE-4" rebuilds_readers "recreates the kernel object without WRITE if there is READ"
        epoll RebuildsAs(|source| without(Interest::WRITE, source)) =>
            close_4_a_new_kernel_object_watches_every_source
            close_5_random_programs_that_close;
    "CLOSE-4" rebuilds_no_priority "recreates the kernel object without PRIORITY if there is READ"
        epoll RebuildsAs(|source| without(Interest::PRIORITY, source)) =>
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" rebuilds_one_shots "recreates the kernel object with one-shot sources level-triggered"
        epoll RebuildsAs(one_shots_as_level) =>
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" rebuilds_64 "recreates the kernel object with the first 64 sources"
        epoll Rebuilds { times: usize::MAX, sources: 64 } =>
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" rebuilds_once "recreates the kernel object only once"
        epoll Rebuilds { times: 1, sources: usize::MAX } =>
            close_4_a_new_kernel_object_watches_every_source;
    "CLOSE-4" drops_edges "drops the edges that its old kernel object has not reported"
        epoll DropsEdges =>
            close_4_a_new_kernel_object_keeps_the_edges;
    "CLOSE-4" repeats_edges "reports edges again with a new kernel object"
        epoll RepeatsEdges =>
            close_4_a_new_kernel_object_keeps_the_edges;
    "CLOSE-4" looks_at_the_new "loses one-shot sources that are ready when it recreates the kernel object"
        epoll LooksAtTheNew =>
            close_4_a_new_kernel_object_watches_every_source;
}
