//! selectors-sys
