//! What programs do to their process: fork children, and lower its limit on descriptors.

use selectors::{Backend, Error, Interest, Readiness};

use super::super::{EMULATED, NOW, Outcome, Stop};
use super::numbers::Numbers;
use super::world::World;
use crate::fixtures::{duplicate, number_of, report_of_forked_child};

/// How many steps a child takes on its own.
const STEPS: usize = 12;

impl<B: Backend> World<'_, '_, B> {
    /// Forks a child, which does something with its copy of everything. The parent does not notice.
    pub(super) fn fork(&mut self, b: u8, c: u8) -> Outcome {
        let (what, act): (_, fn(&mut Self, u8) -> Outcome) = match b % 4 {
            0 => ("makes every call", Self::is_refused),
            1 => ("drops its copy", Self::drop_copy),
            _ => ("calls after_fork, and goes on by itself", Self::go_on),
        };
        self.note(format!("  fork a child, which {what}"));
        let log = self.log.len();
        let report = report_of_forked_child(|| {
            act(self, c).map_err(|stop| {
                let steps = self.log.split_off(log).join("\n  ");
                format!("{} (in the child, which did this:\n  {steps})", stop.into_text())
            })
        })?;
        report.map_err(Stop::broken)
    }

    fn is_refused(&mut self, _: u8) -> Outcome {
        let mut answers = vec![("select", self.selector.select(NOW).map(drop))];
        if let Some(source) = self.sources.first() {
            answers.push(("modify", self.selector.modify(source.token, Interest::WRITE)));
            answers.push(("rearm", self.selector.rearm(source.token)));
            answers.push(("unregister", self.selector.unregister(source.token).map(drop)));
        }
        if let Some(waker) = &self.waker {
            answers.push(("wake", waker.wake()));
        }
        for (call, answer) in answers {
            let forked = matches!(answer, Err(Error::Forked));
            self.case.expect_that(forked, &format!("Error::Forked of {call}"), answer)?;
        }
        Ok(())
    }

    fn drop_copy(&mut self, c: u8) -> Outcome {
        let fresh = self.case.selector()?;
        let old = std::mem::replace(&mut self.selector, fresh);
        if c % 2 == 0 {
            drop(old);
            return Ok(());
        }
        let back = old.close().len();
        self.case.expect("the number of sources handed back", back, self.sources.len())
    }

    fn go_on(&mut self, c: u8) -> Outcome {
        match self.selector.after_fork() {
            Err(Error::Unsupported { .. }) => return Ok(()),
            answer => answer?,
        }
        if let Some(parents) = self.waker.take() {
            let answer = parents.wake();
            let forked = matches!(answer, Err(Error::Forked));
            self.case.expect_that(forked, "Error::Forked of the parent's waker", answer)?;
        }
        (self.woken, self.is_child) = (false, true);
        for source in &mut self.sources {
            source.news = Readiness::from(source.interest);
        }
        let mut numbers = Numbers::new(u64::from(c));
        for _ in 0..STEPS {
            self.step(std::array::from_fn(|_| numbers.byte()))?;
        }
        self.end()
    }

    /// Lowers the limit on descriptors during calls of the selector, or raises it again.
    pub(super) fn limit(&mut self, b: u8) -> Outcome {
        if self.limited.take().is_some() {
            self.note("  raise the limit on descriptors".to_owned());
            return Ok(());
        }
        if self.capabilities.deferred {
            // What was deferred is made while it can be.
            self.select(15, 2)?;
        }
        // What is not open yet, and no more.
        let free = number_of(&duplicate(&self.files[0].ours)?);
        #[allow(clippy::useless_conversion, reason = "a number is a u64 on Windows alone")]
        let free = u64::try_from(free).unwrap_or(0);
        let limit = if EMULATED || b % 2 == 0 { free } else { 0 };
        self.note(format!("  lower the limit on descriptors to {limit}"));
        self.limited = Some(limit);
        Ok(())
    }
}
