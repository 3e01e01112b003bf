//! Drives the executor over every backend.
#![cfg(unix)]

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use selectors::BackendKind;
use selectors_examples::executor::{Executor, run};

const LONG: Duration = Duration::from_secs(60);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn client(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(LONG)).unwrap();
    client
}

#[test]
fn many_clients_are_echoed_to() {
    for backend in BackendKind::available() {
        let (listener, address) = listener();
        let clients = thread::spawn(move || {
            thread::scope(|scope| {
                for number in 0..20_u8 {
                    scope.spawn(move || {
                        let mut client = client(address);
                        for round in 0..20 {
                            let sent = [number, round];
                            client.write_all(&sent).unwrap();
                            let mut received = [0; 2];
                            client.read_exact(&mut received).unwrap();
                            assert_eq!(received, sent);
                        }
                    });
                }
            });
        });
        let served = Arc::new(AtomicU32::new(0));
        let all = Arc::clone(&served);
        let result: io::Result<()> = run(backend, 2, |executor: Executor| async move {
            let listener = executor.socket(listener)?;
            for _ in 0..20 {
                let client = executor.socket(listener.accept().await?.0)?;
                let served = Arc::clone(&served);
                executor.spawn(async move {
                    let mut buffer = [0; 64];
                    while let Ok(count @ 1..) = client.read(&mut buffer).await {
                        client.write_all(&buffer[..count]).await.unwrap();
                    }
                    served.fetch_add(1, Ordering::Release);
                });
            }
            while served.load(Ordering::Acquire) < 20 {
                executor.sleep(Duration::from_millis(1)).await;
            }
            Ok(())
        })
        .unwrap();
        result.unwrap();
        clients.join().unwrap();
        assert_eq!(all.load(Ordering::Acquire), 20, "{backend}");
    }
}

#[test]
fn a_socket_does_not_block_the_worker() {
    let (listener, address) = listener();
    let (done, is_done) = mpsc::channel::<()>();
    // Whoever blocks in accept(2) goes on after a while, and fails.
    let rescue = thread::spawn(move || {
        let late = is_done.recv_timeout(LONG) == Err(mpsc::RecvTimeoutError::Timeout);
        late.then(|| client(address))
    });
    let accepted: io::Result<bool> = run(BackendKind::default(), 1, |executor| async move {
        let listener = executor.socket(listener)?;
        let accepted = executor.timeout(Duration::from_millis(1), listener.accept()).await;
        Ok(accepted.is_some())
    })
    .unwrap();
    drop(done);
    assert!(!accepted.unwrap());
    assert!(rescue.join().unwrap().is_none());
}

#[test]
fn one_task_reads_while_another_writes() {
    const SIZE: usize = 4 << 20;
    for backend in BackendKind::available() {
        let (listener, address) = listener();
        // Sends what it gets only after it has sent all of its own.
        let peer = thread::spawn(move || {
            let mut peer = client(address);
            let mut sender = peer.try_clone().unwrap();
            let sending = thread::spawn(move || {
                sender.write_all(&vec![1; SIZE]).unwrap();
                sender.shutdown(Shutdown::Write).unwrap();
            });
            let mut received = Vec::new();
            peer.read_to_end(&mut received).unwrap();
            sending.join().unwrap();
            received.len()
        });
        let read = run(backend, 2, |executor: Executor| async move {
            let listener = executor.socket(listener)?;
            let stream = Arc::new(executor.socket(listener.accept().await?.0)?);
            let (written, writer) = (Arc::new(AtomicBool::new(false)), Arc::clone(&stream));
            let done = Arc::clone(&written);
            executor.spawn(async move {
                writer.write_all(&vec![2; SIZE]).await.unwrap();
                drop(writer);
                done.store(true, Ordering::Release);
            });
            let (mut read, mut buffer) = (0, vec![0; 65_536]);
            loop {
                match stream.read(&mut buffer).await? {
                    0 => break,
                    count => read += count,
                }
            }
            while !written.load(Ordering::Acquire) {
                executor.sleep(Duration::from_millis(1)).await;
            }
            io::Result::Ok(read)
        });
        assert_eq!(read.unwrap().unwrap(), SIZE, "{backend}");
        assert_eq!(peer.join().unwrap(), SIZE, "{backend}");
    }
}

#[test]
fn what_is_cancelled_can_be_tried_again() {
    for backend in BackendKind::available() {
        let (listener, address) = listener();
        let mut peer = client(address);
        // It answers after it was asked, so the reads before that have timed out.
        let answering = thread::spawn(move || {
            let mut asked = [0; 3];
            peer.read_exact(&mut asked).unwrap();
            peer.write_all(b"then").unwrap();
            peer
        });
        let outcome = run(backend, 1, |executor: Executor| async move {
            let listener = executor.socket(listener)?;
            let stream = executor.socket(listener.accept().await?.0)?;
            let mut buffer = [0; 8];
            for _ in 0..3 {
                let read = stream.read(&mut buffer);
                assert!(executor.timeout(Duration::from_millis(5), read).await.is_none());
            }
            stream.write_all(b"now").await?;
            let count = executor.timeout(LONG, stream.read(&mut buffer)).await.unwrap()?;
            io::Result::Ok(buffer[..count].to_vec())
        });
        assert_eq!(outcome.unwrap().unwrap(), b"then", "{backend}");
        answering.join().unwrap();
    }
}

#[test]
fn no_timer_is_early_and_they_come_in_order() {
    for backend in BackendKind::available() {
        let start = Instant::now();
        let order = run(backend, 2, |executor: Executor| async move {
            let order = Arc::new(std::sync::Mutex::new(Vec::new()));
            for millis in [30, 10, 20] {
                let (timers, order) = (executor.clone(), Arc::clone(&order));
                executor.spawn(async move {
                    timers.sleep(Duration::from_millis(millis)).await;
                    assert!(start.elapsed() >= Duration::from_millis(millis));
                    order.lock().unwrap().push(millis);
                });
            }
            while order.lock().unwrap().len() < 3 {
                executor.sleep(Duration::from_millis(1)).await;
            }
            order
        });
        let mut order = order.unwrap().lock().unwrap().clone();
        // Two workers may finish the last two in either order on a busy machine.
        order.sort_unstable();
        assert_eq!(order, [10, 20, 30], "{backend}");
    }
}

/// Whoever has it is not dropped yet.
struct Held(Arc<AtomicU32>);

impl Held {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[test]
fn what_still_waits_at_the_end_is_dropped() {
    for backend in BackendKind::available() {
        let (listener, address) = listener();
        let mut peer = client(address);
        let held = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&held);
        let result: io::Result<()> = run(backend, 2, |executor: Executor| async move {
            let listener = executor.socket(listener)?;
            let stream = executor.socket(listener.accept().await?.0)?;
            let (timers, waiting) = (executor.clone(), Arc::new(AtomicU32::new(0)));
            let (reading, sleeping) = (Arc::clone(&waiting), Arc::clone(&waiting));
            let (first, second) = (Held::new(&count), Held::new(&count));
            executor.spawn(async move {
                reading.fetch_add(1, Ordering::Release);
                let _ = stream.read(&mut [0]).await;
                drop(first);
            });
            executor.spawn(async move {
                sleeping.fetch_add(1, Ordering::Release);
                timers.sleep(LONG).await;
                drop(second);
            });
            while waiting.load(Ordering::Acquire) < 2 {
                executor.sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(count.load(Ordering::Acquire), 2);
            Ok(())
        })
        .unwrap();
        result.unwrap();
        assert_eq!(held.load(Ordering::Acquire), 0, "{backend}");
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "{backend}: the socket is closed, too");
    }
}

#[test]
fn what_is_wrong_with_the_command_line_is_one_line() {
    support::refuses("async-echo", env!("CARGO_BIN_EXE_async-echo"), &support::WRONG_SERVING);
}

#[test]
fn it_serves_more_clients_than_descriptors() {
    support::serves_more_clients_than_descriptors(env!("CARGO_BIN_EXE_async-echo"));
}
