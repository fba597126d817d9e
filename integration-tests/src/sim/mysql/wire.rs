//! Packets: reading them, writing them in order, and the change to TLS.
//!
//! What may not live here: what the packets mean.

use std::io;

use mysql_common::constants::{CapabilityFlags, StatusFlags};
use mysql_common::io::BufMutExt;
use mysql_common::packets::{ErrPacket, ServerError, SqlState};
use mysql_common::proto::MySerialize;
use pgwire::tokio::TlsAcceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::error::number_and_state;
use crate::sim::error::SqlError;
use crate::sim::sql::mysql::variables::MAX_ALLOWED_PACKET;

/// A packet of this length goes on in the next one.
const FULL: usize = 0xff_ff_ff;

/// The server's end of a connection.
pub(super) struct Wire {
    /// `None` while TLS is negotiated.
    stream: Option<Either<TcpStream, TlsStream<TcpStream>>>,
    /// Number of the next packet.
    number: u8,
    out: Vec<u8>,
    answering: bool,
    /// What both sides can do; nothing before the login packet.
    pub(super) abilities: CapabilityFlags,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        let abilities = CapabilityFlags::empty();
        Wire { stream: Some(Either::Left(stream)), number: 0, out: Vec::new(), answering: false, abilities }
    }

    /// Whether a command has been read and not been answered.
    pub(super) fn is_answering(&self) -> bool {
        self.answering
    }

    pub(super) fn is_secure(&self) -> bool {
        matches!(self.stream, Some(Either::Right(_)))
    }

    /// Lets the kernel answer the client with a reset once the connection is dropped.
    pub(super) fn reset_when_closed(&self) {
        let stream = match &self.stream {
            Some(Either::Left(stream)) => stream,
            Some(Either::Right(stream)) => stream.get_ref().0,
            None => return,
        };
        // Closed already, it needs no reset.
        stream.set_zero_linger().ok();
    }

    /// Goes on under TLS.
    ///
    /// # Cancellation
    /// The connection is closed.
    pub(super) async fn secure(&mut self, acceptor: &TlsAcceptor) -> io::Result<()> {
        match self.stream.take() {
            Some(Either::Left(stream)) => {
                self.stream = Some(Either::Right(acceptor.accept(stream).await?));
                Ok(())
            }
            _ => Err(io::Error::other("the connection has TLS already")),
        }
    }

    /// Reads one packet, of however many parts.
    ///
    /// # Errors
    /// Those of the connection, and [`io::ErrorKind::InvalidData`] for a packet that is too large.
    ///
    /// # Cancellation
    /// A packet may be read in part: the connection is of no use any more.
    pub(super) async fn read(&mut self) -> io::Result<Vec<u8>> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut payload = Vec::new();
        loop {
            let mut header = [0; 4];
            stream.read_exact(&mut header).await?;
            let [a, b, c, number] = header;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            self.number = number.wrapping_add(1);
            let start = payload.len();
            if start + length > MAX_ALLOWED_PACKET {
                return Err(io::ErrorKind::InvalidData.into());
            }
            payload.resize(start + length, 0);
            stream.read_exact(&mut payload[start..]).await?;
            if length < FULL {
                return Ok(payload);
            }
        }
    }

    /// Reads a command, which begins a new count of packets.
    pub(super) async fn read_command(&mut self) -> io::Result<Vec<u8>> {
        self.answering = false;
        let read = self.read().await;
        self.answering = read.is_ok();
        read
    }

    /// Puts a packet behind those that wait to be sent.
    pub(super) fn put(&mut self, payload: &[u8]) {
        let mut rest = payload;
        loop {
            let (part, after) = rest.split_at(rest.len().min(FULL));
            self.out.put_u24_le(part.len() as u32);
            self.out.push(self.number);
            self.out.extend_from_slice(part);
            self.number = self.number.wrapping_add(1);
            rest = after;
            if part.len() < FULL {
                return;
            }
        }
    }

    pub(super) fn put_packet(&mut self, packet: &impl MySerialize) {
        let mut payload = Vec::new();
        packet.serialize(&mut payload);
        self.put(&payload);
    }

    /// OK: rows affected, the number generated for the first of them (0 for none), and the state of the session.
    pub(super) fn put_ok(&mut self, affected: u64, insert_id: u64, status: StatusFlags) {
        let mut payload = vec![0x00];
        payload.put_lenenc_int(affected);
        payload.put_lenenc_int(insert_id);
        payload.extend_from_slice(&status.bits().to_le_bytes());
        payload.extend_from_slice(&[0, 0]); // no warnings
        self.put(&payload);
    }

    /// The end of a list of columns, which new clients do without.
    pub(super) fn put_end_of_columns(&mut self, status: StatusFlags) {
        if !self.abilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
            self.put_eof(status);
        }
    }

    /// The end of a list of rows, which for new clients is a kind of OK.
    pub(super) fn put_end_of_rows(&mut self, status: StatusFlags) {
        if !self.abilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
            return self.put_eof(status);
        }
        let [low, high] = status.bits().to_le_bytes();
        self.put(&[0xfe, 0, 0, low, high, 0, 0]);
    }

    fn put_eof(&mut self, status: StatusFlags) {
        let [low, high] = status.bits().to_le_bytes();
        self.put(&[0xfe, 0, 0, low, high]);
    }

    /// ERR; `reads_only` is whether the server takes no writes, which tells two errors apart.
    pub(super) fn put_error(&mut self, error: &SqlError, reads_only: bool) {
        let (number, state) = number_and_state(error, reads_only);
        // Nothing but the number and the text is understood before the login.
        let state =
            self.abilities.contains(CapabilityFlags::CLIENT_PROTOCOL_41).then(|| SqlState::new(*state));
        let message = error.message.as_bytes();
        self.put_packet(&ErrPacket::Error(ServerError::new(number, state, message)));
    }

    /// Sends what waits.
    ///
    /// # Cancellation
    /// Packets may be sent in part: the connection is of no use any more.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // Dropped midway, it shall not be sent again.
        let out = std::mem::take(&mut self.out);
        stream.write_all(&out).await?;
        stream.flush().await
    }
}
