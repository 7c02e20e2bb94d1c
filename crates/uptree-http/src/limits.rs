//! What a client may cost: in time and in memory, in one place. How long a body may be is a setting
//! ([`BodyLimit`](crate::limit::BodyLimit)); how long a stop may take is the drain's.
//!
//! A client that is slow costs what its connection weighs, and that for so long; it holds up nobody.
//! A handler is held up where it waits for a body, and a response where it waits to be taken.

use std::time::Duration;

/// From the first byte of a request's header to its last.
pub(crate) const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// A connection on which nothing has been asked yet is closed after this, or at the latest after
/// twice as long.
pub(crate) const SILENT_LIMIT: Duration = Duration::from_secs(60);

/// A connection on which nothing has been asked for so long is closed: later than any load
/// balancer before it does so (AWS's after 60 s, Google's after 600 s), for who closes an idle
/// connection first is not who sends a request on it.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(620);

/// How long nothing of a request's body may come while its handler waits for it.
pub(crate) const BODY_PAUSE: Duration = Duration::from_secs(30);

/// A connection that has taken nothing of what is written to it for so long is closed, or at the
/// latest after twice as long.
pub(crate) const TAKE_PAUSE: Duration = Duration::from_secs(60);

/// From the opening of a connection to the end of TLS's handshake.
#[cfg_attr(
    not(feature = "tls"),
    expect(dead_code, reason = "looked at by the feature")
)]
pub(crate) const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// After so long without a word the system asks whether a peer is still there, and every
/// [`KEEPALIVE_INTERVAL`] from then on: of one that vanished, nothing else tells a connection on
/// which it is the client's turn, such as a websocket.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

/// See [`KEEPALIVE`].
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The most that is buffered of a connection, each way; of HTTP/2's responses, for each stream. A
/// header of HTTP/1.1 has to fit in; it may have 100 fields, which is HTTP's own limit.
pub(crate) const BUFFER: usize = 64 * 1024;

/// How many idle connections are closed at a time when no other can be accepted.
pub(crate) const ROOM: usize = 64;

/// How many streams an HTTP/2 client may have at a time.
pub(crate) const STREAMS: u32 = 200;

/// The longest header of an HTTP/2 request, its fields unpacked: there may be as many as streams.
pub(crate) const STREAM_HEADER: u32 = 16 * 1024;

/// How many streams a client may have begun and taken back before anybody looks at them.
pub(crate) const TAKEN_BACK: usize = 20;

/// How many streams may be refused for what the client does wrong before it is shown the door.
pub(crate) const REFUSED: usize = 100;

/// How often a connection may read, one time after the other, before others have their turn. tokio
/// itself lets it do so 128 times: that is a hundred thousand small frames of HTTP/2, and with a few
/// such clients nobody else is served for half a second.
pub(crate) const READS: u8 = 2;
