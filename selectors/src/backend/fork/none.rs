//! Where there is no fork(2).

pub(crate) fn generation() -> u32 {
    0
}

pub(crate) fn watch() -> u32 {
    0
}
