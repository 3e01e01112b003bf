//! CLOSE-4: edges that come while the kernel object is made anew, and ghosts that stay.

use std::io::{self, ErrorKind};
use std::time::Duration;

use selectors::backend::{BorrowedSource, Registered};
use selectors::{Backend, Events, Interest, Mode, Token, Watch};

use super::{Case, NOW, Outcome};
use crate::fixtures::{borrow, number_of, pair, send};

const EDGES: &str = "an edge that the old kernel object has not reported yet is dropped with it, or \
                     the new one reports what the old one has reported already: see \
                     `Backend::rebuild`";

pub(super) fn close_4_a_new_kernel_object_keeps_the_edges<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let watch = Watch::new(Interest::READ, Mode::Edge);
    for again in [false, true] {
        let mut backend = case.backend()?;
        if !backend.capabilities().edge {
            return Ok(());
        }
        let ends = [pair()?, pair()?];
        let tokens = [Token::from_bits(1), Token::from_bits(2)];
        let mut sources = Vec::new();
        for ((ours, theirs), token) in ends.iter().zip(tokens) {
            backend.register(borrow(ours), token, watch)?;
            sources.push(Registered::new(number_of(ours), token, watch));
            send(theirs, b"x")?;
        }
        let mut events = Events::new();
        backend.wait(&mut events, case.long())?;
        case.expect_tokens(&events, &tokens)?;
        case.did(format!(
            "two edges were reported; there was another one: {again}; had the kernel object made anew"
        ));
        if again {
            send(&ends[1].1, b"x")?;
        }
        let mut pending = Events::new();
        let mut rebuild = || backend.rebuild(&mut sources.iter().copied(), &mut pending);
        // As a selector does, which tries again what has failed.
        let is_failure = |error: &io::Error| error.kind() != ErrorKind::Unsupported;
        let mut rebuilt = rebuild();
        for _ in 0..TRIES {
            if rebuilt.as_ref().is_err_and(is_failure) {
                rebuilt = rebuild();
            }
        }
        match rebuilt {
            // It needs no other kernel object.
            Err(error) if !is_failure(&error) => return Ok(()),
            rebuilt => rebuilt?,
        }
        let mut events = Events::new();
        backend.wait(&mut events, NOW)?;
        events.extend(pending);
        let expected = if again { &tokens[1..] } else { &[] };
        case.because(EDGES, case.expect_tokens(&events, expected))?;
    }
    Ok(())
}

/// How often a new kernel object that cannot be made is tried again.
const TRIES: usize = 3;

/// For how long a ghost is there.
const SHORT: Duration = Duration::from_millis(20);

pub(super) fn close_4_a_ghost_that_stays_does_not_make_it_spin<B: Backend>(
    case: &mut Case<'_, B>,
) -> Outcome {
    let pairs: Vec<_> = (0..10).map(|_| pair()).collect::<Result<_, _>>()?;
    let mut selector = case.with_ghost::<BorrowedSource<'_>, ()>(usize::MAX)?;
    for (ours, _) in &pairs {
        selector.register(borrow(ours), Interest::READ, ())?;
    }
    case.did(format!(
        "had the backend report what nobody watches, for good, and waited for {SHORT:?}"
    ));
    case.expect_tokens(&selector.select(Some(SHORT))?, &[])?;
    let calls = selector.backend().calls();
    let cause = "each wait finds the ghost, and looks again at once; or tries to make a new kernel \
                 object each time";
    case.expect_or(cause, calls.wait <= 50, "at most 50 calls of the backend's wait", calls.wait)?;
    let most = "at most 6 calls of the backend's rebuild";
    case.expect_or(cause, calls.rebuild <= 6, most, calls.rebuild)?;
    case.did("made a source ready");
    send(&pairs[0].1, b"x")?;
    case.expect("the number of events", selector.select(case.long())?.len(), 1)
}
