use std::time::Duration;

use tokio::io::AsyncReadExt;

use super::*;

const GREETING: [u8; 6] = [2, 0, 0, 0, 10, 0];

/// A server that greets as its protocol has it, and gives every message back.
async fn echo(protocol: Protocol) -> MessageGate {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.into_split();
                match protocol {
                    Protocol::Postgres => drop(frame::startup(&mut read, &mut tokio::io::sink()).await?),
                    Protocol::MySql => write.write_all(&GREETING).await?,
                }
                loop {
                    let message = protocol.message(&mut read).await?;
                    write.write_all(&message).await?;
                }
                #[allow(unreachable_code, reason = "says what the task gives")]
                io::Result::Ok(())
            });
        }
    });
    MessageGate::before(upstream, protocol).await.unwrap()
}

async fn open(gate: &MessageGate, protocol: Protocol) -> TcpStream {
    let mut stream = TcpStream::connect(gate.address()).await.unwrap();
    match protocol {
        Protocol::Postgres => {
            stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), b'N', "no TLS");
            stream.write_all(&[0, 0, 0, 8, 0, 3, 0, 0]).await.unwrap();
        }
        Protocol::MySql => {
            let mut greeting = [0; 6];
            stream.read_exact(&mut greeting).await.unwrap();
            assert_eq!(greeting, GREETING);
        }
    }
    stream
}

/// How many messages come, until none comes for a moment.
async fn answers(stream: &mut TcpStream, protocol: Protocol, message: &[u8]) -> usize {
    let mut count = 0;
    let wait = Duration::from_millis(100);
    while let Ok(read) = tokio::time::timeout(wait, protocol.message(stream)).await {
        assert_eq!(read.unwrap(), message);
        count += 1;
    }
    count
}

async fn lets_as_many_messages_pass_as_it_was_told(protocol: Protocol, message: &[u8]) {
    for sender in [Sender::Server, Sender::Client] {
        let gate = echo(protocol).await;
        let mut stream = open(&gate, protocol).await;
        stream.write_all(message).await.unwrap();
        assert_eq!(answers(&mut stream, protocol, message).await, 1);
        let before = gate.passed(sender);
        gate.hold_after(sender, 2);
        for _ in 0..4 {
            stream.write_all(message).await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(5), gate.held()).await.unwrap();
        assert_eq!(answers(&mut stream, protocol, message).await, 2, "{sender:?}");
        assert_eq!(gate.passed(sender), before + 2, "{sender:?}");
        gate.open();
        assert_eq!(answers(&mut stream, protocol, message).await, 2, "{sender:?}");
        assert_eq!(gate.passed(sender), before + 4, "{sender:?}");
    }
}

#[tokio::test]
async fn lets_as_many_messages_of_postgresql_pass_as_it_was_told_on_either_side() {
    lets_as_many_messages_pass_as_it_was_told(Protocol::Postgres, &[b'Q', 0, 0, 0, 6, 1, 2]).await;
}

#[tokio::test]
async fn lets_as_many_packets_of_mysql_pass_as_it_was_told_on_either_side() {
    lets_as_many_messages_pass_as_it_was_told(Protocol::MySql, &[2, 0, 0, 0, 1, 2]).await;
}
