//! Errors: the refused operation, its descriptor, and the errno if there was one.

use std::error;
use std::fmt;
use std::io;

use crate::backend::RawSource;
use crate::{Interest, Token};

/// The result of an operation on a selector.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest, Token};
/// use std::net::TcpStream;
///
/// /// Pauses reading.
/// fn pause(selector: &mut DefaultSelector<TcpStream>, token: Token) -> selectors::Result<()> {
///     selector.modify(token, Interest::empty())
/// }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a selector failed.
///
/// Converts to an [`io::Error`] with `?`: [`Error::Os`] to the error that the system returned, the
/// others to one of the matching [`ErrorKind`](io::ErrorKind).
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Error, Interest};
/// use std::io;
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// let token = selector.register(ours, Interest::READ, ())?;
/// selector.unregister(token)?;
/// let error = selector.unregister(token).unwrap_err();
/// assert!(matches!(error, Error::NotRegistered { .. }));
/// assert_eq!(io::Error::from(error).kind(), io::ErrorKind::NotFound);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The interest has unknown bits. Python's ValueError.
    #[doc(alias = "ValueError")]
    #[non_exhaustive]
    InvalidInterest {
        /// The descriptor of the source.
        fd: RawSource,
        /// The rejected interest.
        interest: Interest,
    },
    /// The descriptor is already registered, through this or another file object. Python's
    /// KeyError.
    #[doc(alias = "KeyError")]
    #[non_exhaustive]
    AlreadyRegistered {
        /// The descriptor.
        fd: RawSource,
        /// The token of that registration.
        token: Token,
    },
    /// No source is registered under this token (any more). Python's KeyError.
    #[doc(alias = "KeyError")]
    #[non_exhaustive]
    NotRegistered {
        /// The unknown token.
        token: Token,
    },
    /// The descriptor is higher than the backend can watch (select(2) on some systems).
    #[non_exhaustive]
    DescriptorOutOfRange {
        /// The descriptor.
        fd: RawSource,
        /// The highest descriptor that the backend can watch.
        limit: RawSource,
    },
    /// The backend or this system does not support the request.
    #[non_exhaustive]
    Unsupported {
        /// The missing feature.
        feature: &'static str,
        /// The descriptor of the source, if the request concerns one.
        fd: Option<RawSource>,
    },
    /// This process inherited the selector through fork(2) and cannot use it before
    /// [`Selector::after_fork`](crate::Selector::after_fork). The parent's selector is not affected.
    Forked,
    /// The [`SharedSelector`](crate::SharedSelector) was dropped.
    Closed,
    /// A system call failed. Python's OSError.
    #[doc(alias = "OSError")]
    #[non_exhaustive]
    Os {
        /// The attempted operation.
        operation: &'static str,
        /// The descriptor of the source, if the operation concerns a single one.
        fd: Option<RawSource>,
        /// The error that the system returned.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn os(
        operation: &'static str,
        fd: impl Into<Option<RawSource>>,
        source: io::Error,
    ) -> Self {
        Self::Os { operation, fd: fd.into(), source }
    }

    /// As [`os`](Self::os), unless `source` was made from an error of this type.
    pub(crate) fn os_or_own(
        operation: &'static str,
        fd: impl Into<Option<RawSource>>,
        source: io::Error,
    ) -> Self {
        source.downcast().unwrap_or_else(|source| Self::os(operation, fd, source))
    }

    /// Recreating an inherited selector has failed.
    pub(crate) fn after_fork(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::Unsupported => Self::Unsupported { feature: "after_fork", fd: None },
            _ => Self::os("recreate the selector after fork", None, error),
        }
    }

    /// A descriptor of the selector's own cannot be registered.
    pub(crate) fn own_descriptor(fd: RawSource) -> Self {
        Self::Unsupported { feature: "a selector watching itself", fd: fd.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidInterest { fd, interest } => {
                write!(f, "unknown bits in interest {:#04x} for descriptor {fd}", interest.bits())
            }
            Self::AlreadyRegistered { fd, token } => {
                write!(f, "descriptor {fd} is already registered as {token:?}")
            }
            Self::NotRegistered { token } => write!(f, "no source is registered as {token:?}"),
            Self::DescriptorOutOfRange { fd, limit } => {
                write!(f, "descriptor {fd} is above {limit}, the highest this backend can watch")
            }
            Self::Unsupported { feature, fd: Some(fd) } => {
                write!(f, "{feature} is not supported by this backend (descriptor {fd})")
            }
            Self::Unsupported { feature, fd: None } => {
                write!(f, "{feature} is not supported by this backend")
            }
            Self::Forked => {
                f.write_str("the selector was inherited through fork(2): call after_fork first")
            }
            Self::Closed => f.write_str("the selector was dropped"),
            Self::Os { operation, fd: Some(fd), source } => {
                write!(f, "cannot {operation} descriptor {fd}: {source}")
            }
            Self::Os { operation, fd: None, source } => write!(f, "cannot {operation}: {source}"),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::Os { source, .. } => return source,
            Error::InvalidInterest { .. } | Error::DescriptorOutOfRange { .. } => {
                io::ErrorKind::InvalidInput
            }
            Error::AlreadyRegistered { .. } => io::ErrorKind::AlreadyExists,
            Error::NotRegistered { .. } => io::ErrorKind::NotFound,
            Error::Unsupported { .. } => io::ErrorKind::Unsupported,
            Error::Forked => io::ErrorKind::Other,
            Error::Closed => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

/// A refused registration: the error, and the file object and the data that were not registered.
///
/// Converts to an [`Error`] or an [`io::Error`] with `?`, which drops file object and data.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, Interest};
/// use std::os::unix::net::UnixStream;
/// use std::sync::Arc;
///
/// # fn main() -> std::io::Result<()> {
/// let shared = Arc::new(UnixStream::pair()?.0);
/// let mut selector = DefaultSelector::new()?;
/// selector.register(Arc::clone(&shared), Interest::READ, "first")?;
/// let refused = selector.register(shared, Interest::READ, "second").unwrap_err();
/// assert_eq!(refused.data, "second");
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct RegisterError<F, T> {
    /// Why the registration was refused.
    pub error: Error,
    /// The file object, unchanged.
    pub fileobj: F,
    /// The data, unchanged.
    pub data: T,
}

impl<F, T> fmt::Debug for RegisterError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<F, T> fmt::Display for RegisterError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F, T> error::Error for RegisterError<F, T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

impl<F, T> From<RegisterError<F, T>> for Error {
    fn from(refused: RegisterError<F, T>) -> Self {
        refused.error
    }
}

impl<F, T> From<RegisterError<F, T>> for io::Error {
    fn from(refused: RegisterError<F, T>) -> Self {
        refused.error.into()
    }
}

/// A failed [`Selector::extract_if`](crate::Selector::extract_if): the error, and the sources that were
/// unregistered before it.
///
/// Converts to an [`Error`] or an [`io::Error`] with `?`, which drops the sources.
///
/// # Examples
///
/// ```
/// use selectors::{DefaultSelector, ExtractError, Interest};
/// use std::os::unix::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, _theirs) = UnixStream::pair()?;
/// let mut selector = DefaultSelector::new()?;
/// selector.register(ours, Interest::READ, "idle")?;
/// let idle = selector.extract_if(|key| *key.data == "idle").unwrap_or_else(
///     |ExtractError { error, extracted, .. }| {
///         eprintln!("{error}");
///         extracted
///     },
/// );
/// assert_eq!(idle.len(), 1);
/// # Ok(())
/// # }
/// ```
#[non_exhaustive]
pub struct ExtractError<F, T> {
    /// Why a source could not be unregistered. It stays registered.
    pub error: Error,
    /// The file objects and data of the sources that were.
    pub extracted: Vec<(F, T)>,
}

impl<F, T> fmt::Debug for ExtractError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, extracted } = self;
        let mut debug = f.debug_struct("ExtractError");
        debug.field("error", error).field("extracted", &extracted.len()).finish()
    }
}

impl<F, T> fmt::Display for ExtractError<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<F, T> error::Error for ExtractError<F, T> {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.error.source()
    }
}

impl<F, T> From<ExtractError<F, T>> for Error {
    fn from(failed: ExtractError<F, T>) -> Self {
        failed.error
    }
}

impl<F, T> From<ExtractError<F, T>> for io::Error {
    fn from(failed: ExtractError<F, T>) -> Self {
        failed.error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_descriptor() {
        let token = Token::new(3, 1);
        let bad = Interest::from_bits_retain(0x80);
        for (error, message) in [
            (Error::Forked, "the selector was inherited through fork(2): call after_fork first"),
            (
                Error::InvalidInterest { fd: 7, interest: bad },
                "unknown bits in interest 0x80 for descriptor 7",
            ),
            (
                Error::AlreadyRegistered { fd: 7, token },
                "descriptor 7 is already registered as Token(3v1)",
            ),
            (Error::NotRegistered { token }, "no source is registered as Token(3v1)"),
            (
                Error::DescriptorOutOfRange { fd: 1024, limit: 1023 },
                "descriptor 1024 is above 1023, the highest this backend can watch",
            ),
            (
                Error::Unsupported { feature: "edge-triggered mode", fd: Some(7) },
                "edge-triggered mode is not supported by this backend (descriptor 7)",
            ),
            (
                Error::os(
                    "register",
                    7 as RawSource,
                    io::Error::from(io::ErrorKind::PermissionDenied),
                ),
                "cannot register descriptor 7: permission denied",
            ),
            (
                Error::os("wait", None, io::Error::from(io::ErrorKind::OutOfMemory)),
                "cannot wait: out of memory",
            ),
            (Error::Closed, "the selector was dropped"),
        ] {
            assert_eq!(error.to_string(), message);
        }
    }

    #[test]
    fn the_errno_survives_the_conversion_to_io_error() {
        let refused = RegisterError {
            error: Error::os("register", 7 as RawSource, io::Error::from_raw_os_error(9)),
            fileobj: (),
            data: (),
        };
        assert_eq!(io::Error::from(refused).raw_os_error(), Some(9));
        let kind = |error: Error| io::Error::from(error).kind();
        let token = Token::new(3, 1);
        assert_eq!(kind(Error::NotRegistered { token }), io::ErrorKind::NotFound);
        assert_eq!(kind(Error::AlreadyRegistered { fd: 7, token }), io::ErrorKind::AlreadyExists);
        assert_eq!(kind(Error::Unsupported { feature: "", fd: None }), io::ErrorKind::Unsupported);
        let interest = Interest::from_bits_retain(8);
        assert_eq!(kind(Error::InvalidInterest { fd: 7, interest }), io::ErrorKind::InvalidInput);
        let out_of_range = Error::DescriptorOutOfRange { fd: 7, limit: 6 };
        assert_eq!(kind(out_of_range), io::ErrorKind::InvalidInput);
        assert_eq!(kind(Error::Forked), io::ErrorKind::Other);
        assert_eq!(kind(Error::Closed), io::ErrorKind::NotConnected);
    }

    #[test]
    fn a_refused_registration_reads_as_its_error() {
        use error::Error as _;

        let refused = RegisterError {
            error: Error::os("register", 7 as RawSource, io::Error::from_raw_os_error(9)),
            fileobj: (),
            data: (),
        };
        assert_eq!(refused.to_string(), refused.error.to_string());
        let cause =
            |error: &dyn error::Error| error.source()?.downcast_ref::<io::Error>()?.raw_os_error();
        assert_eq!((cause(&refused.error), cause(&refused)), (Some(9), Some(9)));
        assert!(Error::Forked.source().is_none());
        let debug = format!("{refused:?}");
        assert!(debug.starts_with("RegisterError { error: Os {"), "{debug}");
    }

    #[test]
    fn a_failed_extraction_reads_as_its_error() {
        let failed = ExtractError {
            error: Error::os("unregister", 7 as RawSource, io::Error::from_raw_os_error(9)),
            extracted: vec![((), ()), ((), ())],
        };
        assert_eq!(failed.to_string(), failed.error.to_string());
        let cause = error::Error::source(&failed).and_then(|cause| cause.downcast_ref());
        assert_eq!(cause.and_then(io::Error::raw_os_error), Some(9));
        let debug = format!("{failed:?}");
        assert!(debug.starts_with("ExtractError { error: Os {"), "{debug}");
        assert!(debug.ends_with("extracted: 2 }"), "{debug}");
        assert_eq!(io::Error::from(failed).raw_os_error(), Some(9));
    }
}
