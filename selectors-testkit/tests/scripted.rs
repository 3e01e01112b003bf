//! The scripted backend plays its script, and a selector over it uses its clock.

use std::io::{self, ErrorKind};
use std::time::Duration;

use selectors::{
    Capabilities, Error, Event, Interest, Mode, Readiness, Selector, SharedSelector, Token,
};
use selectors_testkit::fixtures::{PairStream, number_of, pair};
use selectors_testkit::scripted::{Call, Script, Scripted};

#[path = "scripted/spinning.rs"]
mod spinning;

const SECOND: Duration = Duration::from_secs(1);

type Scripts = (Selector<PairStream, &'static str, Scripted>, Script);

fn scripted() -> Scripts {
    let (backend, script) = Scripted::new();
    (Selector::with_backend(backend), script)
}

fn kind<T>(answer: Result<T, Error>) -> Option<ErrorKind> {
    answer.err().map(|error| io::Error::from(error).kind())
}

#[test]
fn steps_are_played_in_order() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (one, two) = pair()?;
    script.ready(&one, Readiness::READ);
    script.all_ready([(&two, Readiness::WRITE), (&one, Readiness::READ)]);
    script.timeout();
    let first = selector.register(one, Interest::READ, "one")?;
    let second = selector.register(two, Interest::READ | Interest::WRITE, "two")?;
    let mut tokens = || -> Result<Vec<Token>, Error> {
        Ok(selector.select(Some(SECOND))?.iter().map(Event::token).collect())
    };
    assert_eq!(tokens()?, [first]);
    assert_eq!(tokens()?, [second, first]);
    assert_eq!(tokens()?, []);
    assert_eq!(script.remaining(), 0);
    assert_eq!(kind(tokens()), Some(ErrorKind::UnexpectedEof));
    Ok(())
}

#[test]
fn time_passes_when_the_script_says_so() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let begin = script.now();
    script.interrupted(SECOND);
    script.interrupted(2 * SECOND);
    script.timeout();
    assert!(selector.select(Some(10 * SECOND))?.is_empty());
    assert_eq!(script.now() - begin, 10 * SECOND);
    let waits = script.calls();
    let waited = |seconds| Call::Wait { timeout: Some(seconds * SECOND) };
    assert_eq!(waits, [10, 9, 7].map(waited));
    Ok(())
}

#[test]
fn no_fraction_of_a_timeout_is_lost() -> io::Result<()> {
    let fine = SECOND + Duration::from_nanos(300_001);
    let rest = Call::Wait { timeout: Some(Duration::from_nanos(300_001)) };
    let whole = Call::Wait { timeout: Some(fine) };
    let (mut selector, script) = scripted();
    for until in [false, true] {
        script.interrupted(SECOND);
        script.timeout();
        let deadline = Some(script.now() + fine);
        let before = script.calls().len();
        let events =
            if until { selector.select_until(deadline)? } else { selector.select(Some(fine))? };
        assert!(events.is_empty());
        assert_eq!(script.calls()[before..], [whole.clone(), rest.clone()]);
    }
    let (backend, script) = Scripted::new();
    let mut selector: SharedSelector = SharedSelector::with_backend(backend)?;
    script.interrupted(SECOND);
    script.timeout();
    let deadline = Some(script.now() + fine);
    assert!(selector.select_until(deadline)?.is_empty());
    assert_eq!(script.calls(), [whole, rest]);
    Ok(())
}

#[test]
fn a_deadline_that_passed_meanwhile_ends_the_wait() -> io::Result<()> {
    let (mut selector, script) = scripted();
    script.pass(20 * SECOND);
    script.interrupted(Duration::ZERO);
    assert!(selector.select(Some(10 * SECOND))?.is_empty());
    assert_eq!(script.calls().len(), 1);
    Ok(())
}

#[test]
fn a_deadline_in_the_past_does_not_block() -> io::Result<()> {
    let zero = [Call::Wait { timeout: Some(Duration::ZERO) }];
    let (mut selector, script) = scripted();
    script.timeout();
    let past = Some(script.now());
    assert!(selector.select_until(past)?.is_empty());
    script.pass(SECOND);
    script.timeout();
    assert!(selector.select(Some(SECOND))?.is_empty());
    let before = script.calls().len();
    script.timeout();
    assert!(selector.select_until(past)?.is_empty());
    assert_eq!(script.calls()[before..], zero);

    let (backend, script) = Scripted::new();
    let mut selector: SharedSelector = SharedSelector::with_backend(backend)?;
    let past = Some(script.now());
    script.pass(SECOND);
    script.timeout();
    assert!(selector.select(Some(SECOND))?.is_empty());
    let before = script.calls().len();
    script.timeout();
    assert!(selector.select_until(past)?.is_empty());
    assert_eq!(script.calls()[before..], zero);
    Ok(())
}

#[test]
fn no_wait_outlasts_its_timeout() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (ours, _theirs) = pair()?;
    let begin = script.now();
    script.pass(25 * SECOND);
    script.pass(SECOND);
    script.ready(&ours, Readiness::READ);
    script.pass(SECOND);
    script.timeout();
    selector.register(ours, Interest::READ, "data")?;
    for (found, seconds) in [(0, 10), (0, 20), (1, 26), (0, 36)] {
        assert_eq!(selector.select(Some(10 * SECOND))?.len(), found);
        assert_eq!(script.now() - begin, seconds * SECOND);
    }
    Ok(())
}

#[test]
fn interruptions_end_a_wait_on_request() -> io::Result<()> {
    let (mut selector, script) = scripted();
    selector.set_interruptible(true);
    script.interrupted(SECOND);
    let mut events = selector.select(None)?;
    assert!(events.interrupted() && events.is_empty());
    script.timeout();
    selector.select_into(&mut events, Some(SECOND))?;
    assert!(!events.interrupted(), "the next wait was not");
    selector.set_interruptible(false);
    script.interrupted(SECOND);
    script.timeout();
    assert!(!selector.select(Some(2 * SECOND))?.interrupted(), "no longer");

    let (backend, script) = Scripted::new();
    let mut selector: SharedSelector = SharedSelector::with_backend(backend)?;
    selector.set_interruptible(true);
    script.interrupted(SECOND);
    assert!(selector.select(Some(2 * SECOND))?.interrupted());
    selector.set_interruptible(false);
    script.interrupted(SECOND);
    script.timeout();
    assert!(!selector.select(Some(2 * SECOND))?.interrupted(), "no longer");
    Ok(())
}

#[test]
fn failures_reach_the_caller() -> io::Result<()> {
    let (mut selector, script) = scripted();
    script.fail(io::Error::from_raw_os_error(12));
    let error = selector.select(None).unwrap_err();
    assert_eq!(io::Error::from(error).raw_os_error(), Some(12));

    let (ours, theirs) = pair()?;
    script.refuse(io::Error::from_raw_os_error(28));
    let refused = selector.register(ours, Interest::READ, "data").unwrap_err();
    assert_eq!((refused.data, selector.len()), ("data", 0));
    let token = selector.register(theirs, Interest::READ, "data")?;
    script.refuse(io::Error::from_raw_os_error(28));
    assert!(selector.modify(token, Interest::WRITE).is_err());
    assert_eq!(selector.get(token).unwrap().events, Interest::READ);
    Ok(())
}

#[test]
fn what_is_not_registered_cannot_be_ready() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (ours, _theirs) = pair()?;
    script.ready(&ours, Readiness::READ);
    assert_eq!(kind(selector.select(None)), Some(ErrorKind::NotFound));
    Ok(())
}

#[test]
fn what_is_not_watched_for_cannot_be_ready() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let token = selector.register(pair()?.0, Interest::WRITE, "")?;
    let fails = |selector: &mut Selector<_, _, _>, readiness, why: &str| {
        script.ready_nth(0, readiness);
        let error = io::Error::from(selector.select(None).expect_err("nothing is reported"));
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains(why), "{error}");
    };
    fails(&mut selector, Readiness::READ, "watched for Interest(WRITE)");
    fails(&mut selector, Readiness::READ_CLOSED, "watched for Interest(WRITE)");
    selector.modify_with(token, Interest::READ, Mode::OneShot)?;
    script.ready_nth(0, Readiness::HANGUP);
    assert!(selector.select(None)?[0].is_readable());
    fails(&mut selector, Readiness::READ, "was not rearmed");
    selector.rearm(token)?;
    script.ready_nth(0, Readiness::READ);
    assert!(selector.select(None)?[0].is_readable());
    selector.modify(token, Interest::empty())?;
    fails(&mut selector, Readiness::HANGUP, "parked");
    Ok(())
}

#[test]
fn waiting_for_ever_is_an_error() {
    let (mut selector, script) = scripted();
    script.timeout();
    assert_eq!(kind(selector.select(None)), Some(ErrorKind::TimedOut));
}

#[test]
fn wakers_work_without_a_kernel() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let waker = selector.waker()?;
    waker.wake()?;
    waker.wake()?;
    assert!(selector.select(None)?.woken());
    script.timeout();
    assert!(!selector.select(Some(SECOND))?.woken(), "two wakes were one");
    script.wake(&waker);
    assert!(selector.select(None)?.woken());
    Ok(())
}

#[test]
fn the_waker_of_another_selector_is_an_error() -> io::Result<()> {
    let ((mut selector, script), (other, _)) = (scripted(), scripted());
    script.wake(&other.waker()?);
    assert_eq!(kind(selector.select(Some(SECOND))), Some(ErrorKind::NotFound));
    script.wake(&selector.waker()?);
    assert!(selector.select(Some(SECOND))?.woken(), "its own works");
    script.wake(&other.waker()?);
    assert_eq!(kind(selector.select(Some(SECOND))), Some(ErrorKind::NotFound));
    Ok(())
}

#[test]
fn what_the_program_makes_itself_is_named_by_its_order() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (one, two) = pair()?;
    script.ready_nth(1, Readiness::READ);
    script.all_ready_nth([(1, Readiness::READ), (0, Readiness::WRITE)]);
    let first = selector.register(one, Interest::WRITE, "one")?;
    script.refuse(ErrorKind::OutOfMemory.into());
    let refused = selector.register(two, Interest::READ, "two").unwrap_err();
    let second = selector.register(refused.fileobj, Interest::READ, "two")?;
    // Parking is no new registration.
    selector.modify(first, Interest::empty())?;
    selector.modify(first, Interest::WRITE)?;
    assert_eq!(selector.select(None)?[0].token(), second);
    let tokens: Vec<_> = selector.select(None)?.iter().map(Event::token).collect();
    assert_eq!(tokens, [second, first]);

    let (fileobj, _) = selector.unregister(first)?;
    script.ready_nth(0, Readiness::READ);
    assert_eq!(kind(selector.select(None)), Some(ErrorKind::NotFound));
    let third = selector.register(fileobj, Interest::READ, "three")?;
    script.ready_nth(0, Readiness::READ);
    assert_eq!(kind(selector.select(None)), Some(ErrorKind::NotFound), "another source");
    script.ready_nth(2, Readiness::READ);
    assert_eq!(selector.select(None)?[0].token(), third);
    script.ready_nth(3, Readiness::READ);
    assert_eq!(kind(selector.select(None)), Some(ErrorKind::NotFound), "never registered");
    Ok(())
}

#[test]
fn timers_follow_the_clock_of_the_script() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (ours, _theirs) = pair()?;
    script.pass(25 * SECOND);
    script.ready(&ours, Readiness::READ);
    script.timeout();
    selector.register(ours, Interest::READ, "data")?;
    let begin = selector.now();
    assert_eq!(begin, script.now());
    let mut expired = Vec::new();
    for deadline in [begin + 10 * SECOND, begin + 30 * SECOND] {
        while selector.now() < deadline {
            for event in selector.select_until(Some(deadline))? {
                expired.push((selector.now() - begin, Some(event.token())));
            }
        }
        expired.push((selector.now() - begin, None));
    }
    let source = expired[1].1;
    assert!(source.is_some());
    assert_eq!(expired, [(10 * SECOND, None), (25 * SECOND, source), (30 * SECOND, None)]);
    Ok(())
}

#[test]
fn a_shared_selector_has_the_clock_of_the_script() -> io::Result<()> {
    let (backend, script) = Scripted::new();
    let mut selector: SharedSelector<()> = SharedSelector::with_backend(backend)?;
    let begin = selector.now();
    script.timeout();
    assert!(selector.select(Some(10 * SECOND))?.is_empty());
    assert_eq!((selector.now() - begin, selector.now()), (10 * SECOND, script.now()));
    Ok(())
}

#[test]
fn every_call_is_on_record() -> io::Result<()> {
    let (mut selector, script) = scripted();
    let (ours, _theirs) = pair()?;
    let token = selector.register_with(ours, Interest::READ, "data", Mode::Edge)?;
    selector.modify(token, Interest::WRITE)?;
    selector.modify(token, Interest::WRITE)?;
    selector.unregister(token)?;
    let calls = script.calls();
    assert!(
        matches!(calls[..], [Call::Register { .. }, Call::Modify { .. }, Call::Unregister { .. }]),
        "{calls:?}"
    );
    Ok(())
}

#[test]
fn capabilities_can_be_withheld() -> io::Result<()> {
    let mut capabilities = Capabilities::default();
    capabilities.waker = false;
    capabilities.nesting = true;
    let (backend, _script) = Scripted::with_capabilities(capabilities);
    let mut selector = Selector::with_backend(backend);
    let (ours, _theirs) = pair()?;
    assert!(selector.register(ours, Interest::PRIORITY, ()).is_err());
    assert!(matches!(selector.waker(), Err(Error::Unsupported { .. })));
    assert!(!selector.capabilities().nesting, "it has no descriptor");
    Ok(())
}

#[test]
fn wait_8_a_descriptor_above_the_limit_is_refused() -> io::Result<()> {
    let (ours, _theirs) = pair()?;
    let fd = number_of(&ours);
    for limit in [fd - 1, fd, fd + 1] {
        let mut capabilities = Capabilities::default();
        capabilities.max_descriptor = Some(limit);
        let (backend, script) = Scripted::with_capabilities(capabilities);
        let mut selector = Selector::with_backend(backend);
        match selector.register(&ours, Interest::READ, ()).map_err(Error::from) {
            Ok(_) => assert!(fd <= limit, "{fd} is above {limit}"),
            Err(Error::DescriptorOutOfRange { fd: refused, limit: said, .. }) => {
                assert_eq!((refused, said), (fd, limit));
                assert!(fd > limit, "{fd} is not above {limit}");
                assert_eq!(script.calls(), [], "the backend was called");
            }
            Err(error) => panic!("{error}"),
        }
    }
    Ok(())
}
