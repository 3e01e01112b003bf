//! Steps that change the process: forking children, and lowering the limit on descriptors.

use selectors::{Backend, Error, Interest, Readiness};

use super::super::{NOW, Outcome, Stop, emulation};
use super::numbers::Numbers;
use super::world::World;
use crate::fixtures::{duplicate, number_of, report_of_forked_child};

/// The number of steps of a child.
const STEPS: usize = 12;

impl<B: Backend> World<'_, '_, B> {
    /// Forks a child, which uses its copy of the selector. The parent must not notice.
    pub(super) fn fork(&mut self, b: u8, c: u8) -> Outcome {
        let (what, act): (_, fn(&mut Self, u8) -> Outcome) = match b % 4 {
            0 => ("makes every call", Self::expect_refusals),
            1 => ("drops its copy", Self::drop_copy),
            _ => ("calls after_fork and takes steps", Self::continue_after_fork),
        };
        self.note(format!("  fork a child, which {what}"));
        let log = self.log.len();
        let report = report_of_forked_child(|| {
            act(self, c).map_err(|stop| {
                let steps = self.log.split_off(log).join("\n  ");
                format!("{} (in the child, which did this:\n  {steps})", stop.into_text())
            })
        })?;
        report.map_err(|report| Stop::of_child(&report))
    }

    fn expect_refusals(&mut self, _: u8) -> Outcome {
        let mut results = vec![("select", self.selector.select(NOW).map(drop))];
        if let Some(source) = self.sources.first() {
            results.push(("modify", self.selector.modify(source.token, Interest::WRITE)));
            results.push(("rearm", self.selector.rearm(source.token)));
            results.push(("unregister", self.selector.unregister(source.token).map(drop)));
        }
        if let Some(waker) = &self.waker {
            results.push(("wake", waker.wake()));
        }
        for (call, result) in results {
            let forked = matches!(result, Err(Error::Forked));
            self.case.expect_that(forked, &format!("Error::Forked of {call}"), result)?;
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

    fn continue_after_fork(&mut self, c: u8) -> Outcome {
        match self.selector.after_fork() {
            Err(Error::Unsupported { .. }) => return Ok(()),
            result => result?,
        }
        if let Some(parents) = self.waker.take() {
            let result = parents.wake();
            let forked = matches!(result, Err(Error::Forked));
            self.case.expect_that(forked, "Error::Forked of the parent's waker", result)?;
        }
        (self.woken, self.is_child) = (false, true);
        for source in &mut self.sources {
            source.edges = Readiness::from(source.interest);
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
            // Deferred changes must be applied before.
            self.select(15, 2)?;
        }
        // The lowest free number: no further descriptor can be opened.
        let free = number_of(&duplicate(&self.files[0].ours)?);
        #[allow(clippy::useless_conversion, reason = "a number is a u64 on Windows alone")]
        let free = u64::try_from(free).unwrap_or(0);
        let limit = if emulation::is_any() || b % 2 == 0 { free } else { 0 };
        self.note(format!("  lower the limit on descriptors to {limit}"));
        self.limited = Some(limit);
        Ok(())
    }
}
