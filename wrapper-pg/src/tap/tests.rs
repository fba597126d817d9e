use super::*;
use wrapper_core::TransactionOutcome;
use wrapper_core::driver::TransactionStatus;

use super::script::{Script, message, parameter, query, ready, startup, tag};

fn tap() -> Tap<()> {
    Tap::new((), Arc::new(Probe::default()))
}

fn started() -> Tap<()> {
    Script::started(&[("TimeZone", "Etc/UTC")]).into_tap()
}

#[derive(Debug, PartialEq)]
struct Seen {
    status: TransactionStatus,
    outstanding: u64,
    ends: u32,
    commits: bool,
    parameters: Vec<Parameter>,
}

fn seen(tap: &Tap<()>, mark: &Mark) -> Seen {
    Seen {
        status: tap.probe.status(),
        outstanding: tap.probe.outstanding(),
        ends: tap.probe.ends(),
        commits: tap.probe.committed_since(mark),
        parameters: tap.probe.parameters(),
    }
}

#[test]
fn a_whole_session_gives_the_same_at_every_split() {
    let mut written = startup();
    written.extend(message(b'p', b"secret\0"));
    written.extend(query("BEGIN"));
    written.extend(message(b'P', b"s0\0INSERT INTO t VALUES ($1)\0\0\0"));
    written.extend(message(b'D', b"Ss0\0"));
    written.extend(message(b'S', b""));
    written.extend(query("COMMIT"));
    written.extend(query("BEGIN"));
    let mut read = message(b'R', &[0, 0, 0, 3]);
    read.extend(message(b'R', &[0, 0, 0, 0]));
    read.extend(parameter("TimeZone", "Etc/UTC"));
    read.extend(message(b'K', &[0; 8]));
    read.extend(ready(b'I'));
    read.extend(tag("BEGIN"));
    read.extend(parameter("TimeZone", "Europe/Paris"));
    read.extend(ready(b'T'));
    read.extend(message(b'1', b""));
    read.extend(message(b'T', &[0; 300]));
    read.extend(ready(b'T'));
    read.extend(message(b'D', &[b'Z'; 700]));
    read.extend(tag("COMMIT"));
    read.extend(ready(b'I'));

    let run = |write_at: usize, read_at: usize| {
        let mut tap = tap();
        let mark = tap.probe.mark();
        tap.on_written(&written[..write_at]);
        tap.on_written(&written[write_at..]);
        tap.on_read(&read[..read_at]);
        tap.on_read(&read[read_at..]);
        seen(&tap, &mark)
    };
    let whole = run(0, 0);
    assert_eq!(whole.status, TransactionStatus::Open, "the last BEGIN is not answered");
    assert_eq!((whole.outstanding, whole.ends, whole.commits), (1, 1, true));
    assert_eq!(whole.parameters[0].settled, "Europe/Paris");
    for at in 0..written.len() {
        assert_eq!(run(at, 0), whole, "written split at {at}");
    }
    for at in 0..read.len() {
        assert_eq!(run(0, at), whole, "read split at {at}");
    }
    // Byte by byte.
    let mut tap = tap();
    let mark = tap.probe.mark();
    written.chunks(1).for_each(|byte| tap.on_written(byte));
    read.chunks(1).for_each(|byte| tap.on_read(byte));
    assert_eq!(seen(&tap, &mark), whole);
}

#[test]
fn the_lone_tls_answer_is_not_a_message() {
    let ask = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let mut refused = tap();
    refused.on_written(&ask);
    refused.on_read(b"N");
    refused.on_written(&startup());
    refused.on_read(&ready(b'I'));
    assert_eq!(refused.probe.status(), TransactionStatus::Idle);

    let mut accepted = tap();
    accepted.on_written(&ask);
    accepted.on_read(b"S");
    assert_eq!(accepted.mode, Mode::Off);
    accepted.on_read(&ready(b'T'));
    assert_eq!(accepted.probe.status(), TransactionStatus::Unknown);

    let mut direct = tap();
    direct.on_written(&[0x16, 0x03, 0x01]);
    assert_eq!(direct.mode, Mode::Off);
}

#[test]
fn a_begin_that_is_on_its_way_counts_as_open() {
    let mut tap = started();
    assert_eq!(tap.probe.status(), TransactionStatus::Idle);
    tap.probe.announce("begin");
    assert_eq!(tap.probe.status(), TransactionStatus::Open, "queued to the driver");
    tap.on_written(&query("begin"));
    assert_eq!(tap.probe.status(), TransactionStatus::Open, "written");
    tap.on_read(&ready(b'T'));
    tap.on_written(&query("ROLLBACK"));
    assert_eq!(tap.probe.status(), TransactionStatus::Open);
    tap.on_read(&[tag("ROLLBACK"), ready(b'I')].concat());
    assert_eq!(tap.probe.status(), TransactionStatus::Idle);
    // One that was not announced does not make up for a later one that was.
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    tap.on_written(&query("ROLLBACK"));
    tap.on_read(&ready(b'I'));
    tap.probe.announce("BEGIN");
    assert_eq!(tap.probe.status(), TransactionStatus::Open);
}

#[test]
fn a_prepared_begin_counts_when_it_is_bound() {
    let mut tap = started();
    tap.on_written(&[message(b'P', b"s1\0BEGIN\0\0\0"), message(b'S', b"")].concat());
    tap.on_read(&ready(b'I'));
    assert_eq!(tap.probe.status(), TransactionStatus::Idle);
    let bind = message(b'B', b"\0s1\0\0\0\0\0\0\0");
    tap.on_written(&[bind.clone(), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat());
    assert_eq!(tap.probe.status(), TransactionStatus::Open);
    tap.on_read(&ready(b'I'));
    // Closed, the name means nothing any more.
    tap.on_written(&[message(b'C', b"Ss1\0"), message(b'S', b"")].concat());
    tap.on_read(&ready(b'I'));
    tap.on_written(&[bind, message(b'S', b"")].concat());
    assert_eq!(tap.probe.status(), TransactionStatus::Idle);
}

#[test]
fn outcomes_of_a_loss() {
    // Nothing written.
    let tap = started();
    let mark = tap.probe.mark();
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::NotSent);

    // An autocommit write in flight.
    let mut tap = started();
    let mark = tap.probe.mark();
    tap.on_written(&query("INSERT"));
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::MayHaveApplied);

    // A write inside a transaction; then its commit, queued and written.
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    let mark = tap.probe.mark();
    tap.on_written(&query("INSERT"));
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::RolledBack);
    let mark = tap.probe.mark();
    tap.on_written(&query("COMMIT")[..4]);
    // Half a header does nothing: what is lost is the transaction.
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::RolledBack);
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    let mark = tap.probe.mark();
    tap.on_written(&query("COMMIT"));
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::MayHaveApplied);

    // A write behind a rollback that was on its way runs on its own.
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    tap.on_written(&query("ROLLBACK"));
    let mark = tap.probe.mark();
    tap.on_written(&query("INSERT"));
    tap.on_read(&[tag("ROLLBACK"), ready(b'I')].concat());
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::MayHaveApplied);

    // A write behind a begin that was on its way is part of the transaction.
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    let mark = tap.probe.mark();
    tap.on_written(&query("INSERT"));
    assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::RolledBack);
}

#[test]
fn a_commit_that_rolled_back_is_told_by_its_tag() {
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&[tag("BEGIN"), ready(b'T')].concat());
    let since = tap.probe.ends();
    tap.on_written(&query("oops"));
    tap.on_read(&[message(b'E', b"..."), ready(b'E')].concat());
    assert_eq!(tap.probe.status(), TransactionStatus::Failed);
    let mark = tap.probe.mark();
    tap.on_written(&query("COMMIT"));
    assert_eq!(tap.probe.committed_after(since), None);
    tap.on_read(&[tag("ROLLBACK"), ready(b'I')].concat());
    assert!(!tap.probe.committed_since(&mark));
    assert_eq!(tap.probe.committed_after(since), Some(false));
}

#[test]
fn an_error_fails_the_transaction_before_the_status_comes() {
    let mut tap = started();
    tap.on_written(&query("oops"));
    tap.on_read(&message(b'E', b"..."));
    assert_eq!(tap.probe.status(), TransactionStatus::Idle);
    tap.on_read(&ready(b'I'));
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    tap.on_written(&query("oops"));
    tap.on_read(&message(b'E', b"..."));
    assert_eq!(tap.probe.status(), TransactionStatus::Failed);
}

#[test]
fn rollback_to_a_savepoint_ends_nothing() {
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    tap.on_written(&query("ROLLBACK TO a"));
    tap.on_read(&[tag("ROLLBACK"), ready(b'T')].concat());
    assert_eq!(tap.probe.ends(), 0);
    tap.on_written(&query("COMMIT"));
    tap.on_read(&[tag("COMMIT"), ready(b'I')].concat());
    assert_eq!(tap.probe.committed_after(0), Some(true));
}

#[test]
fn a_parameter_of_a_transaction_settles_only_with_it() {
    let mut tap = started();
    tap.on_written(&query("BEGIN"));
    tap.on_read(&ready(b'T'));
    tap.on_read(&[parameter("TimeZone", "Asia/Tokyo"), ready(b'T')].concat());
    assert_eq!(tap.probe.parameters()[0].settled, "Etc/UTC");
    tap.on_read(&[tag("ROLLBACK"), parameter("TimeZone", "Etc/UTC"), ready(b'I')].concat());
    assert_eq!(tap.probe.parameters()[0].settled, "Etc/UTC");
}

#[test]
fn the_sync_that_a_copy_swallows_is_not_waited_for() {
    let mut tap = started();
    let execute = [message(b'B', b"\0s9\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")];
    tap.on_written(&execute.concat());
    tap.on_read(&message(b'G', &[0, 0, 0]));
    assert_eq!(tap.probe.outstanding(), 0);
    tap.on_written(&[message(b'd', b"1\n"), message(b'c', b""), message(b'S', b"")].concat());
    assert_eq!(tap.probe.outstanding(), 1);
    tap.on_read(&[tag("COPY 1"), ready(b'I')].concat());
    assert_eq!(tap.probe.outstanding(), 0);
}

#[test]
fn the_end_of_a_copy_is_recognised() {
    let stray = [message(b'f', b"\0"), message(b'S', b""), query("SELECT 1")].concat();
    let tap = started();
    assert_eq!(tap.frontend.copy_end(&stray), Some((0, 11)));
    assert_eq!(tap.frontend.copy_end(&stray[..10]), None);
    let first = query("SELECT 1");
    assert_eq!(tap.frontend.copy_end(&first), None);
    assert_eq!(tap.frontend.copy_end(&[&first[..], &stray].concat()), Some((first.len(), 11)));
    let mut inside = started();
    inside.on_written(&first[..9]);
    assert_eq!(inside.frontend.copy_end(&[&first[9..], &stray].concat()), Some((first.len() - 9, 11)));
}

/// A `copy_in` that is dropped before the server has answered: its end is held until the answer tells whether there is
/// a COPY that it ends.
#[tokio::test]
async fn the_end_of_a_copy_waits_for_the_answer() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let execute =
        [message(b'B', b"\0s9\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let end = [message(b'f', b"\0"), message(b'S', b"")].concat();
    let both = [&execute[..], &end].concat();
    let accepted = message(b'G', &[0, 0, 0]);
    let refused = [message(b'E', b"SERROR\0C42501\0\0"), ready(b'I')].concat();
    for (answer, sent) in [(accepted, both.clone()), (refused, execute.clone())] {
        let (inner, mut server) = tokio::io::duplex(4096);
        let mut tap = Tap::new(inner, Default::default());
        tap.on_written(&startup());
        tap.on_read(&[message(b'R', &[0, 0, 0, 0]), ready(b'I')].concat());
        assert_eq!(tap.write(&both).await.unwrap(), execute.len());
        {
            let mut held = std::pin::pin!(tap.write(&end));
            let early = std::future::poll_fn(|cx| std::task::Poll::Ready(held.as_mut().poll(cx).is_ready()));
            assert!(!early.await, "written before the answer");
        }
        server.write_all(&answer).await.unwrap();
        let mut read = vec![0; answer.len()];
        tap.read_exact(&mut read).await.unwrap();
        assert_eq!(tap.write(&end).await.unwrap(), end.len());
        drop(tap);
        let mut written = Vec::new();
        server.read_to_end(&mut written).await.unwrap();
        assert_eq!(written, sent);
    }
}

#[test]
fn nonsense_turns_the_tap_off() {
    let mut tap = started();
    tap.on_read(&[b'X', 0, 0, 0, 1]);
    assert_eq!(tap.mode, Mode::Off);
}

#[test]
fn a_commit_under_a_long_name_counts_when_it_is_bound() {
    let name = "n".repeat(40);
    let bind = message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes());
    let bind = [bind, message(b'S', b"")].concat();
    for at in 0..bind.len() {
        let mut tap = started();
        tap.on_written(&query("BEGIN"));
        tap.on_read(&ready(b'T'));
        let mark = tap.probe.mark();
        tap.on_written(&bind[..at]);
        tap.on_written(&bind[at..]);
        assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::RolledBack, "nothing says COMMIT");
        tap.on_read(&ready(b'T'));
        tap.on_written(&message(b'P', format!("{name}\0COMMIT\0\0\0").as_bytes()));
        tap.on_written(&message(b'S', b""));
        tap.on_read(&ready(b'T'));
        let mark = tap.probe.mark();
        tap.on_written(&bind[..at]);
        tap.on_written(&bind[at..]);
        assert_eq!(tap.probe.outcome_of_loss(&mark), TransactionOutcome::MayHaveApplied, "split at {at}");
    }
}

#[test]
fn a_parameter_that_is_too_long_is_passed_over_whole_and_in_pieces() {
    let mut read = parameter("name", &"x".repeat(20_000));
    read.extend(parameter("TimeZone", "Asia/Tokyo"));
    read.extend(ready(b'I'));
    for size in [1, 3_000, 17_000, read.len()] {
        let mut tap = started();
        read.chunks(size).for_each(|piece| tap.on_read(piece));
        let names: Vec<_> = tap.probe.parameters().into_iter().map(|one| (one.name, one.settled)).collect();
        assert_eq!(names, [("TimeZone".to_owned(), "Asia/Tokyo".to_owned())], "pieces of {size}");
    }
}

/// Sessions made of every kind of message, cut at random, beside the same ones uncut.
#[test]
fn random_sessions_give_the_same_however_they_are_cut() {
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..300 {
        let (mut written, mut read) = (Vec::new(), Vec::new());
        for _ in 0..random.usize(1..30) {
            let name =
                choice(&mut random, &["s0", "s1", "", "a name that is longer than any of the driver's"]);
            let sql =
                choice(&mut random, &["BEGIN", "COMMIT", "SELECT 1", "/* c */ ROLLBACK", "INSERT; END"]);
            match random.u8(0..8) {
                0 => written.extend(query(sql)),
                1 => written.extend(message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())),
                2 => written.extend(message(b'B', format!("\0{name}\0\0\0\0\0\0\0").as_bytes())),
                3 => written.extend(message(b'C', format!("S{name}\0").as_bytes())),
                4 => written.extend(message(b'd', &[b'S'; 50])),
                5 => written.extend(message(b'c', b"")),
                6 => written.extend(message(b'E', b"\0\0\0\0\0")),
                _ => written.extend(message(b'S', b"")),
            }
            match random.u8(0..8) {
                0 => read.extend(tag("COMMIT")),
                1 => read.extend(tag("ROLLBACK")),
                2 => read.extend(tag("PREPARE TRANSACTION and more than that")),
                3 => read.extend(parameter("TimeZone", sql)),
                4 => read.extend(message(b'E', b"S")),
                5 => read.extend(message(b'G', &[0, 0, 0])),
                6 => read.extend(message(b'D', &[b'Z'; 90])),
                _ => read.extend(ready(choice(&mut random, b"ITE"))),
            }
        }
        let mut cut = |bytes: &[u8]| -> Vec<Vec<u8>> {
            let mut pieces = Vec::new();
            let mut rest = bytes;
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(random.usize(1..=rest.len().min(40)));
                pieces.push(piece.to_vec());
                rest = behind;
            }
            pieces
        };
        let (mut whole, mut pieces) = (started(), started());
        let (one, other) = (whole.probe.mark(), pieces.probe.mark());
        whole.on_written(&written);
        cut(&written).iter().for_each(|piece| pieces.on_written(piece));
        let lost = |tap: &Tap<()>, mark: &Mark| tap.probe.outcome_of_loss(mark);
        assert_eq!(lost(&whole, &one), lost(&pieces, &other), "round {round}");
        whole.on_read(&read);
        cut(&read).iter().for_each(|piece| pieces.on_read(piece));
        assert_eq!(seen(&whole, &one), seen(&pieces, &other), "round {round}");
        assert_eq!(whole.mode, pieces.mode, "round {round}");
        assert_eq!(whole.probe.is_copying_in(), pieces.probe.is_copying_in(), "round {round}");
    }
}

fn choice<T: Copy>(random: &mut fastrand::Rng, among: &[T]) -> T {
    among[random.usize(0..among.len())]
}
