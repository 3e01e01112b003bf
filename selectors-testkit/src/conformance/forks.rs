//! PROC-4: what a child of fork(2) may do with its copies, and that the parent is not affected.

use std::time::Duration;

use selectors::backend::BorrowedSource;
use selectors::{Backend, Error, Events, Interest, Mode, Result, Token, Waker};

use super::{Case, NOW, Outcome, Stop, Subject, emulation};
use crate::fixtures::{
    PairStream, borrow, drain, inheritable_descriptors, open_descriptors, pair,
    report_of_forked_child, send,
};

const SHARED: &str = "the child uses the parent's kernel object or waker: `after_fork` has to \
    create new ones, and must not change the old ones";

const BLOCKS: &str = "a wait that blocks needs something that the child does not have, such as a \
    thread of its parent: `after_fork` has to create it again";

/// A selector with its sources.
struct Scene<'a, B> {
    selector: Subject<BorrowedSource<'a>, &'static str, B>,
    waker: Option<Waker>,
    level: Token,
    once: Token,
    idle: Token,
    ends: &'a Ends,
}

/// Three sockets and their other ends.
type Ends = [(PairStream, PairStream); 3];

fn ends() -> std::result::Result<Ends, Stop> {
    Ok([pair()?, pair()?, pair()?])
}

impl<'a, B: Backend> Scene<'a, B> {
    fn new(case: &Case<'_, B>, ends: &'a Ends) -> std::result::Result<Self, Stop> {
        let mut selector = case.selector()?;
        let waker = selector.waker().ok();
        let level = selector.register(borrow(&ends[0].0), Interest::READ, "level")?;
        let mode = Mode::OneShot;
        let once = selector.register_with(borrow(&ends[1].0), Interest::READ, "once", mode)?;
        let idle = selector.register(borrow(&ends[2].0), Interest::READ, "idle")?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        Ok(Self { selector, waker, level, once, idle, ends })
    }

    /// Checks that exactly the registered sources are reported.
    fn works(&mut self, case: &Case<'_, B>) -> Outcome {
        let Self { selector, level, once, .. } = self;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        send(&self.ends[0].1, b"x")?;
        send(&self.ends[1].1, b"x")?;
        let events = selector.select(case.long())?;
        case.because(SHARED, case.expect_tokens(&events, &[*level, *once]))?;
        case.because(SHARED, case.only(&selector.select(case.long())?, *level))?;
        drain(&self.ends[0].0)?;
        drain(&self.ends[1].0)?;
        selector.rearm(*once)?;
        case.expect_tokens(&selector.select(NOW)?, &[])?;
        if let Some(waker) = &self.waker {
            for _ in 0..3 {
                waker.wake()?;
                let woken = selector.select(case.long())?.woken();
                case.expect_or(SHARED, woken, "a wake", woken)?;
                case.expect("whether it was woken again", selector.select(NOW)?.woken(), false)?;
            }
        }
        Ok(())
    }

    /// Checks that every call is refused.
    fn is_refused(&mut self, case: &Case<'_, B>) -> Outcome {
        let Self { selector, level, ends, .. } = self;
        let (other, _other_peer) = pair()?;
        let answers: [(&str, Result<()>); 7] = [
            ("select", selector.select(NOW).map(drop)),
            ("select_into", selector.select_into(&mut Events::new(), NOW)),
            ("modify", selector.modify(*level, Interest::WRITE)),
            ("rearm", selector.rearm(*level)),
            ("unregister", selector.unregister(*level).map(drop)),
            ("waker", selector.waker().map(drop)),
            ("wake", self.waker.as_ref().map_or(Err(Error::Forked), Waker::wake)),
        ];
        for (call, answer) in answers {
            let forked = matches!(answer, Err(Error::Forked));
            case.expect_that(forked, &format!("Error::Forked of {call}"), answer)?;
        }
        let other = duplicate_for_ever(&other)?;
        let refused = selector.register(other, Interest::READ, "").map_err(Error::from);
        let forked = matches!(refused, Err(Error::Forked));
        case.expect_that(forked, "Error::Forked of register", refused)?;
        case.expect("the number of sources", selector.len(), ends.len())
    }
}

/// Duplicates that stay open until the child ends.
fn duplicate_for_ever(fd: &PairStream) -> std::result::Result<BorrowedSource<'static>, Stop> {
    Ok(crate::fixtures::LooseDescriptor::duplicate(fd)?.borrow())
}

/// Runs `act` in a forked child, with the child's copy of the selector.
fn in_child<B: Backend>(
    case: &Case<'_, B>,
    scene: &mut Option<Scene<'_, B>>,
    act: impl FnOnce(&Case<'_, B>, Scene<'_, B>) -> Outcome,
) -> Outcome {
    let outcome = case.in_forked_child(|| match scene.take() {
        Some(scene) => act(case, scene),
        None => Ok(()),
    });
    case.because(SHARED, outcome)
}

pub(super) fn proc_4_calls_fail_in_a_child<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let ends = ends()?;
    let mut scene = Some(Scene::new(case, &ends)?);
    case.did("forked a child, which made every call, and dropped its copy");
    in_child(case, &mut scene, |case, mut scene| scene.is_refused(case))?;
    case.did("used the selector in the parent");
    if let Some(scene) = &mut scene {
        scene.works(case)?;
    }
    case.did("forked a child, which closed its copy");
    in_child(case, &mut scene, |case, scene| {
        let back = scene.selector.close();
        case.expect("the number of returned sources", back.len(), 3)
    })?;
    scene.as_mut().map_or(Ok(()), |scene| scene.works(case))
}

pub(super) fn proc_4_after_fork_works<B: Backend>(case: &mut Case<'_, B>) -> Outcome {
    case.alone()?;
    let ends = ends()?;
    let mut scene = Some(Scene::new(case, &ends)?);
    if let Some(Scene { waker: Some(waker), .. }) = &scene {
        case.did("woke it");
        waker.wake()?;
    }
    case.did("forked a child, which called after_fork, used its copy, and changed everything");
    in_child(case, &mut scene, |case, mut scene| {
        match scene.selector.after_fork() {
            // A backend need not support it.
            Err(Error::Unsupported { .. }) => return scene.is_refused(case),
            answer => answer?,
        }
        let old = scene.waker.take();
        if let Some(old) = old {
            let refused = old.wake();
            let forked = matches!(refused, Err(Error::Forked));
            case.expect_that(forked, "Error::Forked of the parent's waker", refused)?;
            scene.waker = Some(scene.selector.waker()?);
        }
        scene.works(case)?;
        scene.works(case)?;
        scene.selector.modify(scene.level, Interest::READ | Interest::WRITE)?;
        scene.selector.modify(scene.once, Interest::empty())?;
        scene.selector.unregister(scene.idle)?;
        let event = case.only(&scene.selector.select(case.long())?, scene.level)?;
        case.expect("WRITE", event.is_writable(), true)?;
        case.did("waited for 2 ms, with nothing to report");
        scene.selector.modify(scene.level, Interest::empty())?;
        let nothing = scene.selector.select(Some(Duration::from_millis(2)));
        let nothing = nothing.map_err(Into::into);
        case.because(BLOCKS, nothing.and_then(|events| case.expect_tokens(&events, &[])))?;
        Ok(scene.selector.modify(scene.level, Interest::READ)?)
    })?;
    let Some(scene) = &mut scene else { return Ok(()) };
    case.did("used the selector in the parent");
    if scene.waker.is_some() {
        let woken = scene.selector.select(case.long())?.woken();
        case.expect_or(SHARED, woken, "the wake before the fork", woken)?;
    }
    scene.works(case)?;
    send(&ends[2].1, b"x")?;
    let answer = case.only(&scene.selector.select(case.long())?, scene.idle);
    case.because(SHARED, answer.map(drop))
}

/// How many descriptors a forked child has in addition to its parent's, for its report.
fn of_a_child() -> std::result::Result<usize, Stop> {
    let before = open_descriptors();
    // A message is the only way to return the number.
    let answer = report_of_forked_child(|| Err(open_descriptors().to_string()))?;
    let open = answer.err().and_then(|open| open.parse::<usize>().ok());
    Ok(open.map_or(0, |open| open.saturating_sub(before)))
}

/// In a child: continues with its copy, checks the number of open descriptors, and forks a child
/// that does the same.
fn go_on_for<B: Backend>(
    case: &Case<'_, B>,
    mut selector: Subject<BorrowedSource<'_>, (), B>,
    generations: usize,
    (of_a_child, most): (usize, Option<usize>),
) -> Outcome {
    let inherited = inheritable_descriptors();
    match selector.after_fork() {
        Err(Error::Unsupported { .. }) => return Ok(()),
        answer => answer?,
    }
    if selector.capabilities().waker {
        selector.waker()?.wake()?;
        case.expect("whether it was woken", selector.select(case.long())?.woken(), true)?;
    }
    let open = open_descriptors();
    if let Some(most) = most {
        let what = format!("at most {most} open descriptors after after_fork");
        case.expect_that(open <= most, &what, open)?;
    }
    let mut new = inheritable_descriptors();
    new.retain(|number| !inherited.contains(number));
    case.expect_that(new.is_empty(), "no new descriptor that other programs inherit", new)?;
    if generations == 0 {
        return Ok(());
    }
    // An emulated device cannot close a child's copies of its own descriptors.
    let emulated = if emulation::is_device() { 2 } else { 0 };
    let most = open + of_a_child + emulated;
    let mut copy = Some(selector);
    case.in_forked_child(|| match copy.take() {
        Some(selector) => go_on_for(case, selector, generations - 1, (of_a_child, Some(most))),
        None => Ok(()),
    })
}

pub(super) fn proc_4_children_of_children_leak_nothing<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    case.alone()?;
    let ends = ends()?;
    // Counted without a selector, whose descriptor need not be inherited.
    let of_a_child = of_a_child()?;
    let mut selector = case.selector()?;
    selector.register(borrow(&ends[0].0), Interest::READ, ())?;
    selector.register_with(borrow(&ends[1].0), Interest::READ, (), Mode::OneShot)?;
    if selector.capabilities().waker {
        selector.waker()?;
    }
    case.did("forked a child that called after_fork and forked children itself");
    let mut copy = Some(selector);
    let outcome = case.in_forked_child(|| match copy.take() {
        Some(selector) => go_on_for(case, selector, 2, (of_a_child, None)),
        None => Ok(()),
    });
    case.because(
        "`after_fork` neither closes nor reuses the inherited descriptors, or opens one without \
         its close-on-exec flag",
        outcome,
    )
}
