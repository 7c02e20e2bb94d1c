//! The pages of the book: every example in them is a doc test.

#[doc = include_str!("../../docs/book/src/supervision.md")]
mod supervision {}

#[doc = include_str!("../../docs/book/src/coming-from-otp.md")]
mod coming_from_otp {}

#[doc = include_str!("../../docs/book/src/migrations.md")]
mod migrations {}

#[doc = include_str!("../../docs/book/src/boot-and-stop.md")]
mod boot_and_stop {}

#[doc = include_str!("../../docs/book/src/readiness-and-drain.md")]
mod readiness_and_drain {}
