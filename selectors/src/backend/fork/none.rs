//! For systems without fork(2).

pub(crate) use super::generation::{generation, is_ours};

pub(crate) fn watch() -> u32 {
    generation()
}
