//! How to write programs with this library, one page for each subject.
//!
//! Read [`first_loop`] and [`back_pressure`] first; the other pages can be read in any order.

#[doc = include_str!("guide/first_loop.md")]
pub mod first_loop {}

#[doc = include_str!("guide/back_pressure.md")]
pub mod back_pressure {}

#[doc = include_str!("guide/connecting.md")]
pub mod connecting {}

#[doc = include_str!("guide/file_objects.md")]
pub mod file_objects {}

#[doc = include_str!("guide/timers.md")]
pub mod timers {}

#[doc = include_str!("guide/signals.md")]
pub mod signals {}

#[doc = include_str!("guide/threads.md")]
pub mod threads {}

#[doc = include_str!("guide/fork.md")]
pub mod fork {}

#[doc = include_str!("guide/modes.md")]
pub mod modes {}

#[doc = include_str!("guide/backends.md")]
pub mod backends {}

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/coming_from.md")]
pub mod coming_from {}

#[doc = include_str!("guide/surprises.md")]
pub mod surprises {}
