//! A selector that other threads change while one waits.

mod core;
mod handles;
mod handoff;
#[cfg(all(test, loom))]
mod models;
mod selector;
mod slots;
mod wait;

// After `selector`, because rustdoc lists a type's methods in the order of the modules.
mod select;

mod lookup;

pub use self::handles::{Registrar, Source};
pub use self::selector::SharedSelector;
