//! Where a message ends, in the protocols of PostgreSQL and of MySQL.
//!
//! What may not live here: anything that looks at more of a message than its length, and the few bytes that say what a
//! PostgreSQL client's first message is.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Codes that stand in the place of a protocol version in a PostgreSQL client's first message.
const CANCEL: u32 = 80_877_102;
const TLS: [u32; 2] = [80_877_103, 80_877_104];

/// Longer messages are not sent by any test; more would be a length read at a wrong place. The longest packet of MySQL
/// is shorter.
const LONGEST: usize = 64 * 1024 * 1024;

/// Whose messages they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Postgres,
    MySql,
}

impl Protocol {
    /// Reads one message. PostgreSQL: a type, the length that counts itself, the rest. MySQL: the length of the rest,
    /// a sequence number, the rest.
    pub(super) async fn message(self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
        match self {
            Self::Postgres => read(from, &mut [0; 5], |head| be(&head[1..]).checked_sub(4)).await,
            Self::MySql => {
                let length = |head: &[u8]| {
                    Some(head[..3].iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte)))
                };
                read(from, &mut [0; 4], length).await
            }
        }
    }
}

/// What a PostgreSQL client says first.
#[derive(Debug)]
pub(super) struct First {
    pub(super) message: Vec<u8>,
    /// It asks to cancel: nothing comes after it, and its connection ends by the server's close.
    pub(super) cancels: bool,
}

/// Reads a PostgreSQL client's first message, which has no type; wishes for TLS are declined.
pub(super) async fn startup(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<First> {
    loop {
        let message = read(from, &mut [0; 4], |head| be(head).checked_sub(4)).await?;
        let code = message.get(4..8).map_or(0, be);
        if !TLS.iter().any(|tls| *tls as usize == code) {
            return Ok(First { cancels: code == CANCEL as usize, message });
        }
        to.write_all(b"N").await?;
    }
}

/// Reads a head, and as much as it says.
async fn read(
    from: &mut (impl AsyncRead + Unpin),
    head: &mut [u8],
    length: impl Fn(&[u8]) -> Option<usize>,
) -> io::Result<Vec<u8>> {
    from.read_exact(head).await?;
    let Some(length) = length(head).filter(|length| *length <= LONGEST) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a message that begins with {head:?}"),
        ));
    };
    let mut message = vec![0; head.len() + length];
    message[..head.len()].copy_from_slice(head);
    from.read_exact(&mut message[head.len()..]).await?;
    Ok(message)
}

fn be(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |all, byte| all << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_end_where_their_protocol_says() {
        let long = [&[0xff, 0xff, 0xff, 7][..], &vec![9; 0xff_ffff]].concat();
        let cases: [(Protocol, &[u8]); 5] = [
            (Protocol::Postgres, &[b'Q', 0, 0, 0, 6, 1, 2]),
            (Protocol::Postgres, &[b'S', 0, 0, 0, 4]),
            (Protocol::MySql, &[2, 0, 0, 255, 1, 2]),
            // What ends a sequence of packets of the greatest length.
            (Protocol::MySql, &[0, 0, 0, 8]),
            (Protocol::MySql, &long),
        ];
        for (protocol, message) in cases {
            let two = [message, message].concat();
            let mut from = two.as_slice();
            for _ in 0..2 {
                assert_eq!(protocol.message(&mut from).await.unwrap(), message);
            }
            let end = protocol.message(&mut from).await.unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[tokio::test]
    async fn a_length_that_cannot_be_is_refused() {
        for head in [[b'Q', 0, 0, 0, 3], [b'Q', 255, 0, 0, 0]] {
            let refused = Protocol::Postgres.message(&mut head.as_slice()).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        }
    }

    #[tokio::test]
    async fn a_first_message_that_cancels_is_the_only_one() {
        let mut asked = [&[0, 0, 0, 8, 4, 210, 22, 47][..], &[0, 0, 0, 8, 4, 210, 22, 46]].concat();
        asked.push(0);
        let mut declined = Vec::new();
        let first = startup(&mut asked.as_slice(), &mut declined).await.unwrap();
        assert_eq!((first.cancels, declined.as_slice()), (true, &b"N"[..]));
    }
}
