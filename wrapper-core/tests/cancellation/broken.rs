//! Operations with one mistake each, which the enumerator must find, and where.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use wrapper_core::driver::DriverConnection;
use wrapper_core::session::Operation;
use wrapper_core::testkit::{Answer, DropPoint, FakeConnection, Statement, What, enumerate_cancellations};

use super::{enumerate, slow, soon, world};

#[tokio::test(start_paused = true)]
async fn a_transaction_that_stays_open() {
    let poisoned = enumerate(async |(_, client)| {
        let transaction = client.begin(1).await.unwrap().left_open_when_dropped();
        transaction.run(&Statement::append(2)).await.unwrap();
        transaction.commit(3).await.unwrap();
    })
    .await
    .unwrap_err();
    assert!(matches!(poisoned.at, DropPoint::Polled(_)), "{poisoned}");
    assert!(poisoned.what.contains("transaction"), "{poisoned}");
}

#[tokio::test(start_paused = true)]
async fn a_setting_that_is_not_put_back() {
    let poisoned = enumerate(async |(_, client)| {
        client.run(&Statement::set(1, "application_name", "mine")).await.unwrap();
        client.run(&Statement::append(2)).await.unwrap();
        client.run(&Statement::set(3, "application_name", "stage")).await.unwrap();
    })
    .await
    .unwrap_err();
    assert!(poisoned.what.contains("the session's value application_name is Some(\"mine\")"), "{poisoned}");
}

/// A driver's queue of answers, read by whoever asks next: who leaves before his answer leaves it to the next one.
#[derive(Debug, Default)]
struct Queue(Mutex<VecDeque<tokio::task::JoinHandle<wrapper_core::Result<Answer>>>>);

struct Mixed<'a>(&'a Queue, Statement);

impl Operation<FakeConnection> for Mixed<'_> {
    type Out = Answer;
    async fn run(&self, connection: &Arc<FakeConnection>) -> wrapper_core::Result<Answer> {
        let (connection, statement) = (Arc::clone(connection), self.1.clone());
        let asked = tokio::spawn(async move { connection.run(&statement).await });
        self.0.0.lock().unwrap().push_back(asked);
        std::future::poll_fn(|cx| {
            let mut queue = self.0.0.lock().unwrap();
            match std::pin::Pin::new(queue.front_mut().unwrap()).poll(cx) {
                Poll::Ready(answer) => {
                    queue.pop_front();
                    Poll::Ready(answer.unwrap())
                }
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer() {
    let poisoned = enumerate_cancellations(
        async || (world().await, Queue::default()),
        async |((_, client), queue)| {
            let call = wrapper_core::plugin::Call::new("mixed");
            client.session().call(&call, &Mixed(queue, Statement::append(1))).await
        },
        async |((_, client), queue), _| {
            let call = wrapper_core::plugin::Call::new("mixed");
            let answer = client.session().call(&call, &Mixed(&queue, Statement::read(2))).await;
            match answer.map(|answer| answer.statement) {
                Ok(2) => Ok(()),
                other => Err(format!("a stale answer: {other:?}")),
            }
        },
    )
    .await
    .unwrap_err();
    assert!(poisoned.what.contains("stale answer: Ok(1)"), "{poisoned}");
}

#[tokio::test(start_paused = true)]
async fn a_count_that_is_not_taken_back() {
    let poisoned = enumerate(async |(stage, client)| {
        // Given back by hand after the wait, instead of by a guard.
        let permit = std::mem::ManuallyDrop::new(stage.core().cluster().budget().permit().await.unwrap());
        client.run(&slow(Statement::read(1))).await.unwrap();
        drop(std::mem::ManuallyDrop::into_inner(permit));
    })
    .await
    .unwrap_err();
    assert_eq!(poisoned.at, DropPoint::Polled(1), "{poisoned}");
    assert!(poisoned.what.contains("permits of monitors after the shutdown: 1"), "{poisoned}");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_nobody_ends() {
    let poisoned = enumerate(async |(_, client)| {
        let session = Arc::clone(client.session());
        tokio::spawn(async move {
            let statement = Statement::read(1);
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let _ = session.load().connection.run(&statement).await;
            }
        });
    })
    .await
    .unwrap_err();
    assert!(poisoned.what.contains("sockets of sessions that were dropped: 1"), "{poisoned}");
    assert!(poisoned.what.contains("leases of sessions that were dropped: 1"), "{poisoned}");
    assert!(poisoned.what.contains("circles of references"), "{poisoned}");
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_that_goes_to_one_who_has_left() {
    /// Hands a turn to the first who waits, and forgets it when he has left.
    #[derive(Debug, Default)]
    struct Turns {
        free: Mutex<bool>,
        waiting: Mutex<VecDeque<tokio::sync::oneshot::Sender<()>>>,
    }
    impl Turns {
        async fn take(&self) {
            let (sender, granted) = tokio::sync::oneshot::channel();
            {
                let mut free = self.free.lock().unwrap();
                if std::mem::take(&mut *free) {
                    return;
                }
                self.waiting.lock().unwrap().push_back(sender);
            }
            let _ = granted.await;
        }
        fn give(&self) {
            let mut waiting = self.waiting.lock().unwrap();
            while let Some(next) = waiting.pop_front() {
                // Wrong only for one who has been woken and has not looked yet.
                if next.send(()).is_ok() {
                    return;
                }
            }
            *self.free.lock().unwrap() = true;
        }
    }
    let poisoned = enumerate_cancellations(
        async || {
            let turns = Arc::new(Turns::default());
            let giver = Arc::clone(&turns);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                giver.give();
            });
            turns
        },
        async |turns| turns.take().await,
        async |turns, at| {
            if matches!(at, DropPoint::Ended(_)) {
                return Ok(());
            }
            let next = soon()
                .run("the next turn", async {
                    turns.take().await;
                    Ok(())
                })
                .await;
            next.map_err(|error| error.to_string())
        },
    )
    .await
    .unwrap_err();
    assert_eq!(poisoned.at, DropPoint::Woken(1));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_end() {
    let poisoned = enumerate(async |_| std::future::pending::<()>().await).await.unwrap_err();
    assert!(poisoned.what.contains("does not end"), "{poisoned}");
    let busy = enumerate(async |_| {
        std::future::poll_fn(|cx: &mut Context<'_>| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        })
        .await;
    })
    .await
    .unwrap_err();
    assert!(busy.what.contains("10000 polls"), "{busy}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_broken_without_a_word() {
    let poisoned = enumerate(async |(_, client)| {
        let connection = Arc::clone(&client.session().load().connection);
        connection.run(&Statement::new(1, What::Begin)).await.unwrap();
        let _ = connection.fetch_text("no such question", soon()).await;
        connection.run(&Statement::new(2, What::Rollback)).await.unwrap();
    })
    .await
    .unwrap_err();
    assert!(poisoned.what.contains("transaction") || poisoned.what.contains("refuses"), "{poisoned}");
}
