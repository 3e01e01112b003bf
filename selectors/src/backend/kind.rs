//! The names of the backends, to choose one at run time.

use std::fmt;
use std::io;
use std::str::FromStr;

use super::platform::{BACKENDS, Open};
use super::{Backend, is_exhausted};

/// The name of a backend at run time. Can be parsed and printed.
///
/// # Portability
///
/// Every kind exists on every system. [`available`](Self::available) lists those that
/// [`AnySelector::new`](crate::AnySelector) can create.
///
/// # Examples
///
/// ```
/// use selectors::BackendKind;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kind: BackendKind = "select".parse()?;
/// assert_eq!(kind, BackendKind::Select);
/// assert_eq!(kind.to_string(), "select");
/// assert!(BackendKind::available().contains(&BackendKind::default()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BackendKind {
    /// epoll(7).
    Epoll,
    /// kqueue(2).
    Kqueue,
    /// /dev/poll, poll(4D).
    Devpoll,
    /// poll(2).
    Poll,
    /// select(2).
    Select,
}

impl BackendKind {
    /// Every kind, available on this system or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::BackendKind;
    ///
    /// for kind in BackendKind::ALL {
    ///     let available = BackendKind::available().contains(kind);
    ///     println!("{kind}: {}", if available { "available" } else { "not on this system" });
    /// }
    /// ```
    pub const ALL: &'static [Self] =
        &[Self::Epoll, Self::Kqueue, Self::Devpoll, Self::Poll, Self::Select];

    /// The kinds that work on this system, the best first. Each is tried, as Python's module does,
    /// because a kernel or a sandbox may refuse a call that the system has. A kind that fails only
    /// because descriptors or memory are exhausted is included.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::BackendKind;
    ///
    /// for kind in BackendKind::available() {
    ///     println!("{kind}");
    /// }
    /// ```
    #[must_use]
    pub fn available() -> Vec<Self> {
        let works = |&(kind, open): &(Self, Open)| works(open).then_some(kind);
        BACKENDS.iter().filter_map(works).collect()
    }

    /// The name, which is also what is parsed and printed.
    ///
    /// # Examples
    ///
    /// ```
    /// use selectors::BackendKind;
    ///
    /// assert_eq!(BackendKind::Epoll.name(), "epoll");
    /// ```
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epoll => "epoll",
            Self::Kqueue => "kqueue",
            Self::Devpoll => "devpoll",
            Self::Poll => "poll",
            Self::Select => "select",
        }
    }

    /// Creates a backend of this kind, if this system has it.
    pub(crate) fn open(self) -> crate::Result<io::Result<Box<dyn Backend + Send + Sync>>> {
        let missing = crate::Error::Unsupported { feature: self.name(), fd: None };
        BACKENDS.iter().find(|(kind, _)| *kind == self).map(|&(_, open)| open()).ok_or(missing)
    }
}

impl Default for BackendKind {
    /// The best kind that works on this system: that of [`DefaultSelector`](super::DefaultSelector),
    /// unless the kernel or a sandbox refuses it.
    fn default() -> Self {
        let works = |&&(_, open): &&(Self, Open)| works(open);
        BACKENDS.iter().find(works).unwrap_or(&BACKENDS[0]).0
    }
}

/// Returns true if a backend can be created, now or once descriptors and memory are available.
fn works(open: Open) -> bool {
    match open() {
        Ok(_) => true,
        Err(error) => is_exhausted(&error),
    }
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for BackendKind {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|kind| kind.name() == name);
        known.copied().ok_or_else(|| UnknownBackend(name.to_owned()))
    }
}

/// A name that is not that of a backend.
///
/// # Examples
///
/// ```
/// use selectors::BackendKind;
///
/// let error = "epol".parse::<BackendKind>().unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "unknown backend \"epol\": expected epoll, kqueue, devpoll, poll or select"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownBackend(String);

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown backend {:?}: expected ", self.0)?;
        for (index, kind) in BackendKind::ALL.iter().enumerate() {
            let separator = match BackendKind::ALL.len() - index {
                _ if index == 0 => "",
                1 => " or ",
                _ => ", ",
            };
            write!(f, "{separator}{kind}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownBackend {}
