//! The selector that a case tests: a real one, or one with a defect, to prove that the cases of
//! rules that selectors themselves keep can fail.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use selectors::backend::AsSource;
use selectors::{
    Backend, Error, Events, Interest, Mode, RegisterError, Result, Selector, SelectorKey,
    SelectorKeyMut, Token, Waker,
};

use super::NOW;
use super::counting::REBUILD_FAILED;
use crate::fixtures::{OwnedSource, impossible_numbers, number_of};
use crate::scripted::Scripted;

/// A defect of a selector, independent of its backend.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SelectorDefect {
    /// Its keys show READ, whatever the interest is.
    ForgetsInterest,
    /// It treats an empty interest as READ.
    TakesEmptyInterest,
    /// It drops unknown bits of an interest.
    DropsUnknownBits,
    /// It returns a token for a descriptor that cannot exist.
    AcceptsNegatives,
    /// It returns the old token when a descriptor is registered again.
    RegistersTwice,
    /// Its `contains` returns true for unregistered tokens.
    ContainsTheGone,
    /// It modifies the source with the backend, and back, when data is changed.
    CallsForData,
    /// It calls the backend when nothing changes.
    CallsForNothing,
    /// It returns success for an unknown token.
    ModifiesTheUnknown,
    /// It removes a source while its event is handled, and does not restore it after a panic.
    LosesTheHandled,
    /// It appends to the list of events.
    Appends,
    /// It does not clear the list of events when a wait finds nothing.
    LeavesTheList,
    /// It fails when the backend cannot be rebuilt.
    FailsWithTheRebuild,
    /// It drops events that came with a ghost when the backend cannot be rebuilt.
    DropsWithTheRebuild,
    /// It tries to remove ghosts in every wait.
    SpinsWithGhosts,
    /// Only its first waker works.
    WakesByTheFirst,
    /// When closed, it does not return parked sources.
    KeepsTheParked,
    /// Its `select` reports nothing in a forked child, instead of an error.
    HidesTheFork,
}

pub(crate) struct Subject<F, T, B> {
    selector: Selector<F, T, B>,
    defect: Option<SelectorDefect>,
    handled: Vec<Token>,
    has_waker: bool,
}

impl<F, T, B: Backend> Subject<F, T, B> {
    pub(crate) fn new(backend: B, defect: Option<SelectorDefect>) -> Self {
        Self {
            selector: Selector::with_backend(backend),
            defect,
            handled: Vec::new(),
            has_waker: false,
        }
    }

    fn has(&self, defect: SelectorDefect) -> bool {
        self.defect == Some(defect)
    }

    fn interest(&self, interest: Interest) -> Interest {
        if interest.is_empty() && self.has(SelectorDefect::TakesEmptyInterest) {
            return Interest::READ;
        }
        let known = Interest::from_bits_truncate(interest.bits());
        if !known.is_empty() && self.has(SelectorDefect::DropsUnknownBits) {
            return known;
        }
        interest
    }

    pub(crate) fn register(
        &mut self,
        fileobj: F,
        interest: Interest,
        data: T,
    ) -> Result<Token, RegisterError<F, T>>
    where
        F: AsSource,
    {
        self.register_with(fileobj, interest, data, Mode::Level)
    }

    pub(crate) fn register_with(
        &mut self,
        fileobj: F,
        interest: Interest,
        data: T,
        mode: Mode,
    ) -> Result<Token, RegisterError<F, T>>
    where
        F: AsSource,
    {
        let interest = self.interest(interest);
        let accepts = self.has(SelectorDefect::AcceptsNegatives)
            && impossible_numbers().contains(&number_of(&fileobj));
        match self.selector.register_with(fileobj, interest, data, mode) {
            Err(_) if accepts => Ok(Token::from_bits(1)),
            Err(RegisterError { error: Error::AlreadyRegistered { token, .. }, .. })
                if self.has(SelectorDefect::RegistersTwice) =>
            {
                Ok(token)
            }
            answer => answer,
        }
    }

    pub(crate) fn modify(&mut self, token: Token, interest: Interest) -> Result<()> {
        let mode = self.selector.get(token).map(|key| key.mode);
        self.modify_with(token, interest, mode.unwrap_or_default())
    }

    pub(crate) fn modify_with(
        &mut self,
        token: Token,
        interest: Interest,
        mode: Mode,
    ) -> Result<()> {
        let interest = self.interest(interest);
        match self.selector.modify_with(token, interest, mode) {
            Ok(()) if self.has(SelectorDefect::CallsForNothing) => {
                self.there_and_back(token);
                Ok(())
            }
            Err(Error::NotRegistered { .. }) if self.has(SelectorDefect::ModifiesTheUnknown) => {
                Ok(())
            }
            answer => answer,
        }
    }

    /// Two calls that cancel each other out.
    fn there_and_back(&mut self, token: Token) {
        let Some(key) = self.selector.get(token) else { return };
        let (events, mode) = (key.events, key.mode);
        if mode == Mode::Level && self.selector.modify(token, events ^ Interest::WRITE).is_ok() {
            let _ = self.selector.modify(token, events);
        }
    }

    pub(crate) fn get(&self, token: Token) -> Option<SelectorKey<'_, F, T>> {
        let mut key = self.selector.get(token);
        if self.has(SelectorDefect::ForgetsInterest) {
            if let Some(key) = &mut key {
                key.events = Interest::READ;
            }
        }
        key
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<SelectorKeyMut<'_, F, T>> {
        if self.has(SelectorDefect::CallsForData) {
            self.there_and_back(token);
        }
        if self.has(SelectorDefect::LosesTheHandled) {
            self.handled.push(token);
        }
        self.selector.get_mut(token)
    }

    pub(crate) fn contains(&self, token: Token) -> bool {
        self.selector.contains(token) || self.has(SelectorDefect::ContainsTheGone)
    }

    pub(crate) fn select(&mut self, timeout: Option<Duration>) -> Result<Events> {
        let mut events = match self.selector.select(timeout) {
            Err(Error::Forked) if self.has(SelectorDefect::HidesTheFork) => Events::new(),
            answer => answer?,
        };
        let rebuild_failed = REBUILD_FAILED.replace(false);
        if rebuild_failed && self.has(SelectorDefect::SpinsWithGhosts) {
            (0..100).try_for_each(|_| self.selector.select(NOW).map(drop))?;
        }
        if rebuild_failed && self.has(SelectorDefect::FailsWithTheRebuild) {
            return Err(Error::Closed);
        }
        if rebuild_failed && self.has(SelectorDefect::DropsWithTheRebuild) {
            events.clear();
        }
        if !self.handled.is_empty() {
            let known = std::mem::take(&mut events);
            let unhandled = |event: &selectors::Event| !self.handled.contains(&event.token());
            events.extend(known.into_iter().filter(unhandled));
        }
        Ok(events)
    }

    pub(crate) fn select_into(
        &mut self,
        events: &mut Events,
        timeout: Option<Duration>,
    ) -> Result<()> {
        let before = events.clone();
        self.selector.select_into(events, timeout)?;
        let none = events.is_empty() && !events.woken() && !events.interrupted();
        if none && self.has(SelectorDefect::LeavesTheList) {
            *events = before.clone();
        }
        if self.has(SelectorDefect::Appends) {
            events.extend(before);
        }
        Ok(())
    }

    pub(crate) fn waker(&mut self) -> Result<Waker> {
        let waker = self.selector.waker()?;
        if self.has(SelectorDefect::WakesByTheFirst) && self.has_waker {
            return Selector::<OwnedSource, (), _>::with_backend(Scripted::new().0).waker();
        }
        self.has_waker = true;
        Ok(waker)
    }

    pub(crate) fn close(mut self) -> Vec<(F, T)> {
        if self.has(SelectorDefect::KeepsTheParked) {
            let all = self.selector.extract_if(|key| key.events.is_empty());
            drop(all);
        }
        self.selector.close()
    }
}

impl<F, T, B> Deref for Subject<F, T, B> {
    type Target = Selector<F, T, B>;

    fn deref(&self) -> &Self::Target {
        &self.selector
    }
}

impl<F, T, B> DerefMut for Subject<F, T, B> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.selector
    }
}
