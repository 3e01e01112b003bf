//! Rows: a backend with a defect, and the cases that reject it.

use std::io;

use selectors::backend::{Backend, Deferred, Epoll, Poll, Select};

use super::defect::Defect;

/// A backend with a defect, and the cases that reject it.
pub(crate) struct Row {
    /// The path of its test, including the name of the crate.
    pub(crate) path: &'static str,
    /// What the backend does wrong.
    pub(crate) defect: &'static str,
    /// The rule that it breaks.
    pub(crate) rule: &'static str,
    /// The correct backend that it wraps.
    pub(crate) beneath: fn() -> io::Result<Box<dyn Backend + Send>>,
    pub(crate) make: fn() -> Box<dyn Defect>,
    /// The cases, single ones and groups.
    pub(crate) caught_by: &'static [&'static [&'static str]],
}

impl Row {
    /// The name of its test.
    pub(crate) fn test(&self) -> &'static str {
        self.path.split_once("::").map_or(self.path, |(_, test)| test)
    }

    pub(crate) fn cases(&self) -> impl Iterator<Item = &'static str> {
        self.caught_by.iter().flat_map(|group| group.iter().copied())
    }
}

/// The cases of random programs.
pub(crate) const RANDOM: &[&str] = &[
    "ready_1_random_programs",
    "mode_5_random_programs_of_all_modes",
    "close_5_random_programs_that_close",
];

/// The cases of files that are always ready.
pub(crate) const FILES: &[&str] = &[
    "ready_11_a_regular_file_is_always_ready",
    "ready_11_a_directory_is_always_ready",
    "ready_11_the_null_device_is_always_ready",
];

pub(crate) fn epoll() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Epoll::new()?))
}

pub(crate) fn poll() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Poll::new()?))
}

pub(crate) fn deferred() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Deferred::new(Poll::new()?)))
}

pub(crate) fn select() -> io::Result<Box<dyn Backend + Send>> {
    Ok(Box::new(Select::new()?))
}

/// The rows of one family of rules, each with a test:
///
/// ```text
/// "RULE" name_of_the_test "what the backend does"
///     the_right_backend the_defect =>
///         cases that catch it, and [GROUPS] of them;
/// ```
macro_rules! rows {
    ($($rule:literal $test:ident $defect:literal $beneath:ident $make:expr =>
       $($case:ident)* $([$($group:ident)+])?;)+) => {
        pub(crate) const ROWS: &[Row] = &[$(Row {
            path: concat!(module_path!(), "::tests::", stringify!($test)),
            defect: $defect,
            rule: $rule,
            beneath: $beneath,
            make: || Box::new($make),
            caught_by: &[&[$(stringify!($case)),*] $(, $($group),+)?],
        }),+];

        mod tests {
            $(
                #[test]
                fn $test() {
                    $crate::check_in_a_process_of_its_own(
                        concat!(module_path!(), "::", stringify!($test)),
                    );
                }
            )+
        }
    };
}

pub(crate) use rows;
