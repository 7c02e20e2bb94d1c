//! Clients that mean harm: meanwhile probes are answered, and memory stays where it is.
//!
//! The attackers run on the machine that is attacked, and as fast as they can. So what counts is how
//! long a probe takes in the middle; on a machine with nothing else to do it is the longest too.

mod bodies;
mod connections;
mod flood;
mod headers;
mod http2;
mod victim;
