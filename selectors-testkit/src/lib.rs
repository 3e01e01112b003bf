//! selectors-testkit
