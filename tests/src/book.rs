//! The pages of the book: every example in them is a doc test.

#[doc = include_str!("../../docs/book/src/supervision.md")]
mod supervision {}

#[doc = include_str!("../../docs/book/src/coming-from-otp.md")]
mod coming_from_otp {}

#[doc = include_str!("../../docs/book/src/migrations.md")]
mod migrations {}
