//! The endpoint from outside: a small tree, real sockets on 127.0.0.1, and a client that sees every
//! byte. What waits for something waits for an event; a test that hangs fails after a while.

mod boot;
mod client;
mod connections;
mod drain;
mod errors;
mod frames;
mod going_away;
mod grpc;
mod http2;
mod probes;
mod service;
mod tls;
mod websocket;
