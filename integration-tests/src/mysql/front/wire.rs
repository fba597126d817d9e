//! Packets on their way through: the greeting, the change to TLS, commands up, answers down.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mysql_common::constants::{CapabilityFlags, Command};
use rustls::pki_types::ServerName;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter,
};
use tokio::net::TcpStream;

use super::rename::Renamer;
use super::rewrite::{Metadata, Outcome};
use super::tls::Tls;
use crate::mysql::conf::IMITATED_VERSION;

/// Longer statements are not looked at: none of the metadata's is.
const LONGEST: usize = 1 << 20;

/// Length of the packet by which a client asks for TLS.
const TLS_REQUEST: usize = 32;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Carries one connection until either side ends it.
pub(super) async fn relay(
    mut client: TcpStream,
    mut server: TcpStream,
    metadata: &Metadata,
    tls: Option<&Tls>,
) -> io::Result<()> {
    let mut first = [0];
    let greeting = tokio::select! {
        biased;
        greeting = Packet::read(&mut server) => greeting?,
        // A client speaks only after the greeting: this is its end.
        _ = client.peek(&mut first) => return Ok(()),
    };
    Packet { payload: greet(greeting.payload, tls.is_some()), ..greeting }.write(&mut client).await?;
    let answer = Packet::read(&mut client).await?;
    answer.write(&mut server).await?;
    match tls {
        Some(tls) if answer.payload.len() == TLS_REQUEST => {
            let client = tls.acceptor.accept(client).await?;
            let name = ServerName::IpAddress(server.peer_addr()?.ip().into());
            let server = tls.connector.connect(name, server).await?;
            carry(client, server, metadata).await
        }
        _ => carry(client, server, metadata).await,
    }
}

async fn carry(client: impl Stream, server: impl Stream, metadata: &Metadata) -> io::Result<()> {
    let (client_read, client_write) = tokio::io::split(client);
    let (server_read, server_write) = tokio::io::split(server);
    // Whether the next answer is that to `SHOW REPLICA STATUS`.
    let rename = AtomicBool::new(false);
    let up = commands(BufReader::new(client_read), BufWriter::new(server_write), metadata, &rename);
    let down = answers(BufReader::new(server_read), BufWriter::new(client_write), &rename);
    tokio::select! {
        biased;
        ended = down => ended,
        ended = up => ended,
    }
}

/// Hands commands on to the server, with the text of statements rewritten.
async fn commands(
    mut from: BufReader<impl AsyncRead + Unpin>,
    mut to: impl AsyncWrite + Unpin,
    metadata: &Metadata,
    rename: &AtomicBool,
) -> io::Result<()> {
    loop {
        let (length, number) = header(&mut from).await?;
        // Each command begins a new count of packets; logins and files sent by the client go on with one.
        let kind = if number == 0 { from.fill_buf().await?.first().copied() } else { None };
        let is_text = kind == Some(Command::COM_QUERY as u8) || kind == Some(Command::COM_STMT_PREPARE as u8);
        if is_text && length <= LONGEST {
            let mut payload = vec![0; length];
            from.read_exact(&mut payload).await?;
            let outcome = match payload.get(1..).map(std::str::from_utf8) {
                Some(Ok(sql)) => metadata.rewrite(sql),
                _ => Outcome::Unchanged,
            };
            match outcome {
                Outcome::Unchanged => {}
                Outcome::Renamed => rename.store(kind == Some(Command::COM_QUERY as u8), Ordering::Release),
                Outcome::Changed(sql) => {
                    payload.truncate(1);
                    payload.extend_from_slice(sql.as_bytes());
                }
            }
            Packet { number, payload }.put(&mut to).await?;
        } else {
            pass(&mut from, &mut to, length, number).await?;
        }
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}

/// Hands answers on to the client.
async fn answers(
    mut from: BufReader<impl AsyncRead + Unpin>,
    mut to: impl AsyncWrite + Unpin,
    rename: &AtomicBool,
) -> io::Result<()> {
    let mut renamer = Renamer::default();
    loop {
        let (length, number) = header(&mut from).await?;
        if number == 1 && rename.swap(false, Ordering::AcqRel) {
            renamer.begin();
        }
        if renamer.is_active() {
            let mut payload = vec![0; length];
            from.read_exact(&mut payload).await?;
            let payload = renamer.packet(payload)?;
            Packet { number, payload }.put(&mut to).await?;
        } else {
            pass(&mut from, &mut to, length, number).await?;
        }
        if from.buffer().is_empty() {
            to.flush().await?;
        }
    }
}

/// Makes the greeting that of a MySQL server which offers nothing that would hide statements from the front.
fn greet(mut payload: Vec<u8>, with_tls: bool) -> Vec<u8> {
    let Some(end) = payload.iter().position(|byte| *byte == 0).filter(|_| payload.first() == Some(&10))
    else {
        // An error instead of a greeting.
        return payload;
    };
    // Behind the version: connection id, first part of the scramble, filler; then the abilities in two halves with
    // character set and status between them, the scramble's length, filler, MariaDB's own abilities.
    let low = end + 1 + 4 + 8 + 1;
    let high = low + 2 + 1 + 2;
    let own = high + 2 + 1 + 6;
    if payload.len() < own + 4 {
        return payload;
    }
    let halves = [payload[low], payload[low + 1], payload[high], payload[high + 1]];
    let mut abilities = CapabilityFlags::from_bits_truncate(u32::from_le_bytes(halves));
    // MariaDB leaves this one out, by which clients know it.
    abilities.insert(CapabilityFlags::CLIENT_LONG_PASSWORD);
    abilities.remove(CapabilityFlags::CLIENT_COMPRESS | CapabilityFlags::CLIENT_ZSTD_COMPRESSION_ALGORITHM);
    abilities.remove(CapabilityFlags::CLIENT_QUERY_ATTRIBUTES);
    if !with_tls {
        abilities.remove(CapabilityFlags::CLIENT_SSL);
    }
    let [a, b, c, d] = abilities.bits().to_le_bytes();
    payload[low..low + 2].copy_from_slice(&[a, b]);
    payload[high..high + 2].copy_from_slice(&[c, d]);
    payload[own..own + 4].fill(0);
    payload.splice(1..end, IMITATED_VERSION.bytes());
    payload
}

/// One packet that is held whole.
#[derive(Debug)]
struct Packet {
    number: u8,
    payload: Vec<u8>,
}

impl Packet {
    async fn read(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let (length, number) = header(from).await?;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await?;
        Ok(Self { number, payload })
    }

    async fn put(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let [a, b, c, _] = (self.payload.len() as u32).to_le_bytes();
        to.write_all(&[a, b, c, self.number]).await?;
        to.write_all(&self.payload).await
    }

    async fn write(&self, to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let [a, b, c, _] = (self.payload.len() as u32).to_le_bytes();
        let all = [&[a, b, c, self.number], &self.payload[..]].concat();
        to.write_all(&all).await?;
        to.flush().await
    }
}

async fn header(from: &mut (impl AsyncRead + Unpin)) -> io::Result<(usize, u8)> {
    let mut header = [0; 4];
    from.read_exact(&mut header).await?;
    let [a, b, c, number] = header;
    Ok((u32::from_le_bytes([a, b, c, 0]) as usize, number))
}

/// Hands a packet on without holding it.
async fn pass(
    from: &mut (impl AsyncBufRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    length: usize,
    number: u8,
) -> io::Result<()> {
    let [a, b, c, _] = (length as u32).to_le_bytes();
    to.write_all(&[a, b, c, number]).await?;
    let mut left = length;
    while left > 0 {
        let piece = from.fill_buf().await?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let part = piece.len().min(left);
        to.write_all(&piece[..part]).await?;
        from.consume(part);
        left -= part;
    }
    Ok(())
}
