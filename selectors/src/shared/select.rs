//! How a program waits with a shared selector, and the settings of a wait.

use std::time::{Duration, Instant};

use super::SharedSelector;
use crate::spin::Spin;
use crate::{Events, Result};

impl<T> SharedSelector<T> {
    /// Waits until a source is ready or the timeout expires, as
    /// [`Selector::select`](crate::Selector::select) does.
    ///
    /// # Errors
    ///
    /// Those of [`Selector::select`](crate::Selector::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let _source = selector.registrar().register(ours, Interest::READ, "label")?;
    /// assert!(selector.select(Some(Duration::ZERO))?.is_empty());
    /// drop(theirs);
    /// for event in selector.select(None)? {
    ///     // End-of-file.
    ///     assert!(event.is_readable());
    ///     assert_eq!(selector.get(event.token()), Some(&"label"));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn select(&mut self, timeout: Option<Duration>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::MIN_CAPACITY);
        self.select_into(&mut events, timeout)?;
        Ok(events)
    }

    /// Waits as [`select`](Self::select), but replaces the contents of an existing list.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select); the list is then empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Events, Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let mut selector = SharedSelector::new()?;
    /// let source = selector.registrar().register(ours, Interest::WRITE, ())?;
    /// let mut events = Events::new();
    /// selector.select_into(&mut events, None)?;
    /// assert_eq!(events.iter().next().unwrap().token(), source.token());
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_into(&mut self, events: &mut Events, timeout: Option<Duration>) -> Result<()> {
        events.clear();
        self.core.check_fork()?;
        self.wait(events, timeout)
    }

    /// Waits as [`select`](Self::select), until a deadline. `None` waits without limit.
    ///
    /// # Errors
    ///
    /// Those of [`select`](Self::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// let deadline = selector.now() + Duration::from_millis(1);
    /// assert!(selector.select_until(Some(deadline))?.is_empty());
    /// assert!(selector.now() >= deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_until(&mut self, deadline: Option<Instant>) -> Result<Events> {
        let mut events = Events::with_capacity(Events::MIN_CAPACITY);
        self.select_into_until(&mut events, deadline)?;
        Ok(events)
    }

    /// Waits as [`select_into`](Self::select_into), until a deadline. `None` waits without limit.
    ///
    /// # Errors
    ///
    /// Those of [`select_into`](Self::select_into).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Events, SharedSelector};
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// selector.select_into_until(&mut Events::new(), Some(deadline))?;
    /// assert!(Instant::now() >= deadline);
    /// # Ok(())
    /// # }
    /// ```
    pub fn select_into_until(
        &mut self,
        events: &mut Events,
        deadline: Option<Instant>,
    ) -> Result<()> {
        events.clear();
        // Before the clock, whose lock a parent's thread may have held during fork(2).
        self.core.check_fork()?;
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(self.core.now()));
        self.select_into(events, timeout)
    }

    /// Sets whether a signal ends a wait: see
    /// [`Selector::set_interruptible`](crate::Selector::set_interruptible).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector: SharedSelector = SharedSelector::new()?;
    /// selector.set_interruptible(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn set_interruptible(&mut self, interruptible: bool) {
        self.pace.interruptible = interruptible;
    }

    /// The current time on the clock of the backend: see
    /// [`Selector::now`](crate::Selector::now).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::SharedSelector;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let selector: SharedSelector = SharedSelector::new()?;
    /// let earlier = selector.now();
    /// assert!(selector.now() >= earlier);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn now(&self) -> Instant {
        self.core.now()
    }

    /// Sets how long a wait busy-polls before it blocks: see
    /// [`Selector::set_spin`](crate::Selector::set_spin).
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::{Interest, SharedSelector};
    /// use std::os::unix::net::UnixStream;
    /// use std::thread;
    /// use std::time::Duration;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let mut selector = SharedSelector::new()?;
    /// selector.set_spin(Duration::from_micros(50));
    /// let registrar = selector.registrar();
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let soon = thread::spawn(move || registrar.register(ours, Interest::WRITE, ()));
    /// assert_eq!(selector.select(None)?.len(), 1);
    /// # drop(soon.join().unwrap()?);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias("busy_poll", "busy waiting"))]
    pub fn set_spin(&mut self, duration: Duration) {
        self.pace.spin = Spin::new(duration);
    }
}
